package proxy

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"holdline/sipcore/resolve"
)

// refused hands the shard the ICMP error about a message: hard from the host itself, else from a router on the way. It quotes what
// a Linux host does.
func (w *world) refused(msg, remote string, hard bool) {
	w.t.Helper()
	x, ok := ParseUnreachable([]byte(msg[:min(len(msg), 520)]))
	if !ok {
		w.t.Fatalf("no request of ours is seen in\n%s", msg)
	}
	x.Remote, x.Hard = netip.MustParseAddrPort(remote), hard
	w.s.Unreachable(w.v, w.now, &x)
	if !w.hold {
		w.commit()
	}
}

// TestGatewayClosed: a gateway that refuses the INVITE costs no time; the next one has the call at once, and further calls go
// there.
func TestGatewayClosed(t *testing.T) {
	for name, hard := range map[string]bool{"port": true, "route": false} {
		t.Run(name, func(t *testing.T) {
			w, inv := gatewayCall(t)
			w.refused(inv, gw1.addr, hard)
			inv2 := w.want(gw2.addr + " INVITE sip:123@" + gw2.addr)[0]
			if c := w.cl.m.Call(1); c.Legs[0].Status != 503 {
				t.Errorf("the record says %d of the refused leg", c.Legs[0].Status)
			}
			w.refused(inv, gw1.addr, hard) // again, and too late
			w.want()
			w.in(1, gw2.addr, gw2.answer(inv2, 200))
			w.want(alice.addr + " 200 X")
			if gw, _ := w.dial("c2"); gw != gw2.addr {
				t.Errorf("the next call goes to %s, which is down", gw)
			}
			if n := w.stats.Unreachable.Load(); n != 1 {
				t.Errorf("counted %d", n)
			}
		})
	}
}

// TestGatewaysClosed: when all refuse, the caller hears of it at once.
func TestGatewaysClosed(t *testing.T) {
	w, inv := gatewayCall(t)
	w.refused(inv, gw1.addr, true)
	inv2 := w.want(gw2.addr + " INVITE sip:123@" + gw2.addr)[0]
	w.refused(inv2, gw2.addr, true)
	w.want(alice.addr + " 503 Service Unavailable")
}

// TestRefusedThenHeard: a gateway that refused and rings after all is called back.
func TestRefusedThenHeard(t *testing.T) {
	w, inv := gatewayCall(t)
	w.refused(inv, gw1.addr, true)
	w.want(gw2.addr + " INVITE sip:123@" + gw2.addr)
	w.in(1, gw1.addr, gw1.answer(inv, 180))
	w.want(gw1.addr + " CANCEL sip:123@" + gw1.addr)
}

// TestNamedClosed: the next address of a name is tried (RFC 3263 §4.3), and the closed one is left alone for a while.
func TestNamedClosed(t *testing.T) {
	w := namedGateway(t)
	both := []resolve.Target{target("10.2.0.1:5060"), target("10.2.0.2:5060")}
	w.resolved(both...)
	inv := w.want("10.2.0.1:5060 INVITE sip:123@trunk.example.net")[0]
	w.refused(inv, "10.2.0.1:5060", true)
	w.want("10.2.0.2:5060 INVITE sip:123@trunk.example.net")
}

// TestPhoneClosed: a phone whose port is closed is not there; one behind a network that is gone is, when a repetition says the same.
func TestPhoneClosed(t *testing.T) {
	call := func(t *testing.T) (*world, string) {
		w := newTestCall(t)
		w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
		return w, w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	}
	t.Run("port", func(t *testing.T) {
		w, inv := call(t)
		w.refused(inv, bob.addr, true)
		w.want(alice.addr + " 480 Temporarily Unavailable")
	})
	t.Run("route", func(t *testing.T) {
		w, inv := call(t)
		w.refused(inv, bob.addr, false)
		w.refused(inv, bob.addr, false) // of the same moment
		w.want()
		w.pass(500 * time.Millisecond)
		w.want(bob.addr + " INVITE sip:bob@" + bob.addr)
		w.refused(inv, bob.addr, false)
		w.want(alice.addr + " 480 Temporarily Unavailable")
	})
	t.Run("heard of", func(t *testing.T) {
		w, inv := call(t)
		w.in(1, bob.addr, bob.answer(inv, 180))
		w.want(alice.addr + " 180 X")
		w.refused(inv, bob.addr, true)
		w.want()
	})
	t.Run("forked", func(t *testing.T) {
		w, inv1, inv2 := forked(t)
		w.refused(inv1, bob.addr, true)
		w.want()
		w.in(1, bob2.addr, bob2.answer(inv2, 200))
		w.want(alice.addr + " 200 X")
	})
}

// TestForgedUnreachable: only an error about this very request, to where it went, is believed.
func TestForgedUnreachable(t *testing.T) {
	w, inv := gatewayCall(t)
	via := header(inv, "Via")[0]
	at := strings.Index(via, branchCookie) + branchLen - 3 // within the MAC
	forged := strings.Replace(inv, via, via[:at]+"AAA"+via[at+3:], 1)
	if forged == inv {
		forged = strings.Replace(inv, via, via[:at]+"BBB"+via[at+3:], 1)
	}
	w.refused(forged, gw1.addr, true)
	w.refused(inv, gw2.addr, true)
	w.want()
	for _, quoted := range []string{"", inv[:8], inv[:90], "ACK" + strings.TrimPrefix(inv, "INVITE"), gw1.answer(inv, 180), "INVITE\r\n\r\n"} {
		if x, ok := ParseUnreachable([]byte(quoted)); ok {
			t.Errorf("%.40q is taken for %+v", quoted, x)
		}
	}
}

// TestRefusedInDialog: one error does not end a dialog's request; a repetition's does, without ending the dialog.
func TestRefusedInDialog(t *testing.T) {
	w := newTestCall(t)
	_, ok := w.call("c1")
	to, routes := header(ok, "To")[0], routeSet(ok, true)
	w.in(1, alice.addr, alice.request("INFO", "sip:bob@"+bob.addr, "c1", 2, "info", to, routes...))
	info := w.want(bob.addr + " INFO sip:bob@" + bob.addr)[0]
	w.refused(info, bob.addr, true)
	w.want()
	w.pass(500 * time.Millisecond)
	w.want(bob.addr + " INFO sip:bob@" + bob.addr)
	w.refused(info, bob.addr, true)
	w.want(alice.addr + " 500 Server Internal Error")
	if n := w.cl.m.Counts().Calls; n != 1 {
		t.Errorf("%d calls in the records", n)
	}
}

// TestRefusedAfterTakeover: while a VIP has just moved, errors say nothing about the peers.
func TestRefusedAfterTakeover(t *testing.T) {
	w, inv := gatewayCall(t)
	w.acquired = w.now - int64(time.Second)
	w.refused(inv, gw1.addr, true)
	w.want()
	w.acquired = w.now - unsettled
	w.refused(inv, gw1.addr, true)
	w.want(gw2.addr + " INVITE sip:123@" + gw2.addr)
}

// TestRefusedCancel: a callee that is gone while it rings cannot hold up the caller's 487 for half a minute.
func TestRefusedCancel(t *testing.T) {
	w, inv := gatewayCall(t)
	w.in(1, gw1.addr, gw1.answer(inv, 180))
	w.want(alice.addr + " 180 X")
	w.in(1, alice.addr, alice.request("CANCEL", "sip:0123@example.com", "c1", 1, "c1", ""))
	cancel := w.want(alice.addr+" 200 OK", gw1.addr+" CANCEL sip:123@"+gw1.addr)[1]
	w.refused(cancel, gw1.addr, true)
	w.want()
	w.pass(500 * time.Millisecond)
	w.want(gw1.addr + " CANCEL sip:123@" + gw1.addr)
	w.refused(cancel, gw1.addr, true)
	w.want(alice.addr + " 487 Request Terminated")
}
