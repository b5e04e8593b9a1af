package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// tcpPhone is a registration over a connection.
type tcpPhone struct {
	user, contact, remote, instance string
	conn                            uint64
}

func (p tcpPhone) flow() transport.Flow {
	return transport.Flow{Group: 1, Proto: pb.Transport_TCP, Port: 5060, Remote: netip.MustParseAddrPort(p.remote), Conn: p.conn}
}

// over registers p and has the shard hear of it, as the core does.
func (w *world) over(p tcpPhone) {
	w.t.Helper()
	b := &pb.Binding{Contact: p.contact, Q: 1000, Flow: p.flow().PB(), Instance: p.instance}
	if p.instance != "" {
		b.RegId = 1
	}
	aor := p.user + "@example.com"
	r := w.cl.apply(&pb.Command{Op: &pb.Command_Register{Register: &pb.Register{
		Aor: aor, CallId: fmt.Sprint("reg", p.conn), Cseq: 1, Txn: fmt.Append(nil, p.conn), Group: 1, Changes: []*pb.BindingChange{{ExpiresS: 3600, Binding: b}},
	}}})
	if r.Code != pb.Code_OK {
		w.t.Fatalf("register: %v %s", r.Code, r.Error)
	}
	w.s.Rebound(w.v, w.now, aor)
	w.commit()
}

// lost tells the shard that a message did not get through.
func (w *world) lost(s sent) {
	w.t.Helper()
	var m wire.Msg
	if err := m.Scan([]byte(s.data)); err != nil {
		w.t.Fatal(err)
	}
	x, ok := ParseUndelivered(&m)
	if !ok {
		w.t.Fatalf("nobody waits for an answer to\n%s", s.data)
	}
	x.Conn = s.to.Conn
	w.s.Undeliverable(w.v, w.now, x)
	w.commit()
}

// sentTo takes the only message sent and checks where it went and how it begins.
func (w *world) sentTo(p tcpPhone, start string) sent {
	w.t.Helper()
	got := w.take()
	if len(got) != 1 || got[0].to != p.flow() || !strings.HasPrefix(got[0].data, start+" ") {
		w.t.Fatalf("sent %d: %+v\nwant %s to %+v", len(got), got, start, p.flow())
	}
	return got[0]
}

func (w *world) noneWaits() {
	w.t.Helper()
	for aor, n := range w.awaited {
		if n != 0 {
			w.t.Errorf("%d still wait for %s", n, aor)
		}
	}
}

var (
	bobTCP  = tcpPhone{user: "bob", contact: "sip:bob@10.0.0.32:5060", remote: "10.0.0.32:40001", conn: 71}
	bobBack = tcpPhone{user: "bob", contact: "sip:bob@10.0.0.32:5060", remote: "10.0.0.32:40002", conn: 72}
)

// tcpCall is an established call from alice, over UDP, to a phone of bob's; what alice sends in it is made by say.
func tcpCall(t *testing.T, callee tcpPhone) (w *world, say func(method string, cseq int) string) {
	t.Helper()
	w = newWorld(t, newCluster(t))
	w.over(callee)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "i", ""))
	invite := w.take()[1]
	if invite.to != callee.flow() {
		t.Fatalf("INVITE to %+v", invite.to)
	}
	w.in(1, callee.remote, bob.answer(invite.data, 200))
	ok := w.want(alice.addr + " 200 X")[0]
	to, routes := header(ok, "To")[0], routeSet(ok, true)
	say = func(method string, cseq int) string {
		return alice.request(method, callee.contact, "c1", cseq, fmt.Sprint(method, cseq), to, routes...)
	}
	w.in(1, alice.addr, say("ACK", 1))
	w.sentTo(callee, "ACK")
	return w, say
}

// TestByeWaits: the phone's connection is gone; the BYE waits until it has registered again, and has the same branch then.
func TestByeWaits(t *testing.T) {
	w, say := tcpCall(t, bobTCP)
	w.movedAt = w.now
	w.in(1, alice.addr, say("BYE", 2))
	first := w.sentTo(bobTCP, "BYE")
	w.lost(first)
	w.lost(first) // told twice
	w.pass(9 * time.Second)
	if got := w.takeBut100(); len(got) != 0 || w.awaited["bob@example.com"] != 1 {
		t.Fatalf("sent %v, waits %v", got, w.awaited)
	}
	w.over(bobBack)
	again := w.sentTo(bobBack, "BYE")
	if again.data != first.data {
		t.Errorf("sent at first:\n%s\nthen:\n%s", first.data, again.data)
	}
	w.lost(first) // late: it goes another way by now
	w.in(1, bobBack.remote, bob.answer(again.data, 200))
	w.want(alice.addr + " 200 X")
	if c := w.cl.m.Call(1); c.State != pb.CallState_CALL_ENDED {
		t.Errorf("call: %v", c.State)
	}
	w.noneWaits()
}

// TestWaitInVain: what the sender hears when the phone stays away, and when.
func TestWaitInVain(t *testing.T) {
	for _, c := range []struct {
		method, answer string
		moved          bool
		wait           time.Duration
	}{
		{"BYE", "481 Call/Transaction Does Not Exist", true, 10 * time.Second},
		{"INFO", "500 Server Internal Error", true, 10 * time.Second},
		{"INFO", "500 Server Internal Error", false, time.Second},
		{"INVITE", "500 Server Internal Error", false, time.Second},
	} {
		t.Run(fmt.Sprint(c.method, c.wait), func(t *testing.T) {
			w, say := tcpCall(t, bobTCP)
			if c.moved {
				w.movedAt = w.now
			}
			w.in(1, alice.addr, say(c.method, 2))
			w.lost(w.sentTo(bobTCP, c.method))
			w.pass(c.wait - 20*time.Millisecond)
			if got := w.takeBut100(); len(got) != 0 {
				t.Fatalf("too early: %v", got)
			}
			w.pass(40 * time.Millisecond)
			w.want(alice.addr + " " + c.answer)
			w.noneWaits()
		})
	}
}

// TestInviteWaits: a call to a phone that is about to come back goes out when it does, under its new Contact; and fails if it does not.
func TestInviteWaits(t *testing.T) {
	for _, back := range []bool{true, false} {
		w := newWorld(t, newCluster(t))
		w.over(bobTCP)
		w.movedAt = w.now
		w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "i", ""))
		w.lost(w.take()[1])
		w.pass(time.Second)
		if !back {
			w.pass(9100 * time.Millisecond)
			w.want(alice.addr + " 480 Temporarily Unavailable")
			w.noneWaits()
			continue
		}
		other := bobBack
		other.contact = "sip:bob@10.0.0.32:40002"
		w.over(other)
		invite := w.sentTo(other, "INVITE "+other.contact)
		w.in(1, other.remote, bob.answer(invite.data, 200))
		ok := w.want(alice.addr + " 200 X")[0]
		w.in(1, alice.addr, alice.request("BYE", other.contact, "c1", 2, "b", header(ok, "To")[0], routeSet(ok, true)...))
		w.sentTo(other, "BYE")
		w.noneWaits()
	}
}

// TestLaterInDialog: long after the phone has come back the requests of its dialogs go over its present connection at once, ACKs too.
func TestLaterInDialog(t *testing.T) {
	for name, back := range map[string]tcpPhone{
		"same Contact":                          bobBack,
		"another Contact, same instance":        {user: "bob", contact: "sip:bob@10.0.0.32:40002", remote: "10.0.0.77:40002", conn: 72, instance: "urn:uuid:1"},
		"another Contact, no instance, one NAT": {user: "bob", contact: "sip:bob@10.0.0.32:40002", remote: "10.0.0.32:40002", conn: 72},
	} {
		t.Run(name, func(t *testing.T) {
			before := bobTCP
			before.instance = back.instance
			w, say := tcpCall(t, before)
			w.over(back)
			w.in(1, alice.addr, say("INVITE", 2))
			got := w.take()
			if len(got) == 1 && got[0].to == before.flow() { // this is how it is found out
				w.lost(got[0])
				got = w.take()
			}
			if len(got) != 1 || got[0].to != back.flow() {
				t.Fatalf("re-INVITE: %+v", got)
			}
			w.in(1, back.remote, bob.answer(got[0].data, 200))
			w.want(alice.addr + " 200 X")
			w.in(1, alice.addr, say("ACK", 2))
			w.sentTo(back, "ACK")
			w.in(1, alice.addr, say("BYE", 3))
			w.sentTo(back, "BYE")
			w.noneWaits()
		})
	}
}

// TestOtherPhonesAreLeftAlone: with two phones under one AoR nothing meant for one goes to the other.
func TestOtherPhonesAreLeftAlone(t *testing.T) {
	before := bobTCP
	before.instance = "urn:uuid:1"
	w, say := tcpCall(t, before)
	desk := tcpPhone{user: "bob", contact: "sip:bob@10.0.0.44:5060", remote: "10.0.0.32:50000", conn: 90, instance: "urn:uuid:2"}
	w.over(desk)
	w.in(1, alice.addr, say("BYE", 2))
	w.lost(w.sentTo(before, "BYE"))
	desk.remote, desk.conn = "10.0.0.32:50001", 91
	w.over(desk)
	if got := w.take(); len(got) != 0 {
		t.Fatalf("went to another phone: %+v", got)
	}
	back := tcpPhone{user: "bob", contact: "sip:bob@10.0.0.99:1", remote: "10.0.0.99:40002", conn: 72, instance: "URN:uuid:1"}
	w.over(back)
	w.sentTo(back, "BYE")
	w.noneWaits()
}

// TestCallerFollowed: the caller is the phone whose connection is gone; who that is stands in the call's record.
func TestCallerFollowed(t *testing.T) {
	w := newTestCall(t)
	caller := tcpPhone{user: "alice", contact: "sip:alice@" + alice.addr, remote: "10.0.0.31:40001", conn: 81}
	w.over(caller)
	invite := strings.Replace(alice.request("INVITE", "sip:bob@example.com", "c1", 1, "i", ""), "SIP/2.0/UDP", "SIP/2.0/TCP", 1)
	w.receiveFrom(caller.flow(), invite)
	w.commit()
	out := w.take()[1].data
	w.in(1, bob.addr, bob.answer(out, 200))
	w.take()
	w.in(1, bob.addr, bob.request("BYE", caller.contact, "c1", 1, "b", header(out, "From")[0], routeSet(out, false)...))
	w.lost(w.sentTo(caller, "BYE"))
	caller.remote, caller.conn = "10.0.0.31:40002", 82
	w.over(caller)
	w.sentTo(caller, "BYE")
	w.noneWaits()
}

// TestMovedFlow: what went over a connection of a group that has moved is sent again: nobody else will.
func TestMovedFlow(t *testing.T) {
	w, say := tcpCall(t, bobTCP)
	w.in(1, alice.addr, say("BYE", 2))
	w.sentTo(bobTCP, "BYE")
	w.s.Moved(w.v, w.now, 2)
	w.want()
	w.s.Moved(w.v, w.now, 1)
	w.lost(w.sentTo(bobTCP, "BYE"))
	w.over(bobBack)
	w.sentTo(bobBack, "BYE")
	w.noneWaits()
}

// TestCancelWaits: a phone rings when its connection goes; the CANCEL stops it when it has come back.
func TestCancelWaits(t *testing.T) {
	w := newWorld(t, newCluster(t))
	w.over(bobTCP)
	w.movedAt = w.now
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "i", ""))
	invite := w.take()[1]
	w.in(1, bobTCP.remote, bob.answer(invite.data, 180))
	w.take()
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "i", ""))
	got := w.take()
	w.lost(got[len(got)-1])
	w.over(bobBack)
	w.sentTo(bobBack, "CANCEL")
	w.in(1, bobBack.remote, bob.answer(invite.data, 487))
	got = w.take()
	if len(got) != 2 || !strings.HasPrefix(got[0].data, "ACK ") || got[0].to != bobBack.flow() || !strings.HasPrefix(got[1].data, "SIP/2.0 487") {
		t.Errorf("%+v", got)
	}
	w.noneWaits()
}

// TestTooManyWait: beyond the bound requests fail at once, as without waiting.
func TestTooManyWait(t *testing.T) {
	w, say := tcpCall(t, bobTCP)
	w.full = true
	w.in(1, alice.addr, say("INFO", 2))
	w.lost(w.sentTo(bobTCP, "INFO"))
	w.want(alice.addr + " 500 Server Internal Error")
	if n := w.stats.WaitsRefused.Load(); n != 1 {
		t.Errorf("counted %d", n)
	}
}

// TestTwoDeadConnections: a phone with two registered connections that are both gone is not tried for ever.
func TestTwoDeadConnections(t *testing.T) {
	w, say := tcpCall(t, bobTCP)
	second := bobBack
	second.contact = "sip:bob@10.0.0.32:40002"
	w.over(second)
	w.in(1, alice.addr, say("INFO", 2))
	w.lost(w.sentTo(bobTCP, "INFO"))
	w.lost(w.sentTo(second, "INFO"))
	w.want()
	w.pass(1100 * time.Millisecond)
	w.want(alice.addr + " 500 Server Internal Error")
	w.noneWaits()
}
