package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdline/fsm/pb"
)

// ourVIP is where requests of diverted calls come from, and go to.
const ourVIP = "10.0.0.101:5060"

// toUs hands the proxy what it has sent to itself, until nothing of that is left.
func (w *world) toUs() {
	w.t.Helper()
	for range 100 {
		i := slices.IndexFunc(w.sent, func(s sent) bool { return s.to.Remote.String() == ourVIP })
		if i < 0 {
			return
		}
		s := w.sent[i]
		w.sent = slices.Delete(w.sent, i, i+1)
		if s.to.Group != 1 {
			w.t.Fatalf("sent from VIP group %d to that of group 1:\n%s", s.to.Group, s.data)
		}
		w.in(1, ourVIP, s.data)
	}
	w.t.Fatal("it sends to itself without end")
}

// at is in, followed by what it has the proxy send to itself.
func (w *world) at(p phone, text string) {
	w.t.Helper()
	w.in(1, p.addr, text)
	w.toUs()
}

// diverting is a call of alice's to bob, whose phone answers 302.
func diverting(t *testing.T, cl *cluster, contact string, headers ...string) *world {
	t.Helper()
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	w := newWorld(t, cl)
	w.divert(contact, headers...)
	return w
}

// callBob is alice's call to bob, as his phone gets it.
func (w *world) callBob() (invite string) {
	w.t.Helper()
	w.at(alice, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	return w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
}

func (w *world) divert(contact string, headers ...string) {
	w.t.Helper()
	invite := w.callBob()
	w.at(bob, bob.answer(invite, 302, append([]string{"Contact: " + contact}, headers...)...))
}

func (w *world) set(name, value string) {
	w.t.Helper()
	r := w.cl.apply(&pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: name, Value: value}}})
	if r.Code != pb.Code_OK {
		w.t.Fatal(r)
	}
	w.reconfigured()
}

// TestRedirectFollowed: a call that bob's phone sends on to carol rings there, and the dialog between alice, behind a NAT, and carol does all that a dialog does.
func TestRedirectFollowed(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	cl.register("carol@example.com", "sip:carol@192.168.1.9:5060", carol.addr, 2, 1000) // behind a NAT as well
	w := newWorld(t, cl)
	w.at(alice, strings.ReplaceAll(alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""), alice.addr, "192.168.1.7:5060"))
	invite := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.at(bob, bob.answer(invite, 302, `Contact: <sip:carol@10.0.0.101>;q=0.5, <sip:somebody@elsewhere.example>`, `Diversion: <sip:bob@example.com>;reason="user-busy"`))
	got := w.want(bob.addr+" ACK sip:bob@"+bob.addr, carol.addr+" INVITE sip:carol@192.168.1.9:5060")[1]
	if d := header(got, "Diversion"); !slices.Equal(d, []string{"<sip:bob@example.com>;reason=user-busy;counter=1"}) {
		t.Errorf("Diversion %q", d)
	}
	if r := header(got, "Route"); len(r) != 0 {
		t.Errorf("our Route went on: %q", r)
	}
	w.at(carol, carol.answer(got, 180))
	w.want(alice.addr + " 180 X")
	w.at(carol, carol.answer(got, 200))
	ok := w.want(alice.addr + " 200 X")[0]
	nat := func(s string) string { return strings.ReplaceAll(s, alice.addr, "192.168.1.7:5060") }
	to, from := header(ok, "To")[0], header(got, "From")[0]
	w.at(alice, nat(alice.request("ACK", "sip:carol@192.168.1.9:5060", "c1", 1, "ack", to, routeSet(ok, true)...)))
	w.want(carol.addr + " ACK sip:carol@192.168.1.9:5060")
	w.at(carol, carol.request("INVITE", "sip:alice@192.168.1.7:5060", "c1", 7, "re", from, routeSet(got, false)...))
	re := w.want(alice.addr + " INVITE sip:alice@192.168.1.7:5060")[0]
	w.at(alice, alice.answer(re, 200))
	w.want(carol.addr + " 200 X")
	w.at(alice, nat(alice.request("BYE", "sip:carol@192.168.1.9:5060", "c1", 2, "bye", to, routeSet(ok, true)...)))
	bye := w.want(carol.addr + " BYE sip:carol@192.168.1.9:5060")[0]
	w.at(carol, carol.answer(bye, 200))
	w.want(alice.addr + " 200 X")
	for n, origin := range map[uint64]string{1: "alice@example.com", 2: "bob@example.com"} {
		if c := cl.m.Call(n); c.State != pb.CallState_CALL_ENDED || c.FinalStatus != 200 || c.Origin != origin {
			t.Errorf("call %d of %s: %v, %d", n, c.Origin, c.State, c.FinalStatus)
		}
	}
	if n := w.stats.Redirects.Load(); n != 1 {
		t.Errorf("%d redirects", n)
	}
}

// TestRedirectOutside: the gateway is told who answers for the call, which is not who calls.
func TestRedirectOutside(t *testing.T) {
	w := diverting(t, newCluster(t), "<sip:0123@example.com;user=phone?Subject=x>")
	got := w.want(bob.addr+" ACK sip:bob@"+bob.addr, gw1.addr+" INVITE sip:123@"+gw1.addr)[1]
	if uri := w.cl.m.Call(1).Legs[0].Target.URI; uri != "sip:0123@example.com;user=phone" { // what the phone wants put into the INVITE (§19.1.5) is not for others to choose
		t.Errorf("diverted to %s", uri)
	}
	if id := header(got, "P-Asserted-Identity"); !slices.Equal(id, []string{"<sip:bob@example.com>"}) {
		t.Errorf("P-Asserted-Identity %q", id)
	}
	if d := header(got, "Diversion"); !slices.Equal(d, []string{"<sip:bob@example.com>;reason=unknown;counter=1"}) {
		t.Errorf("Diversion %q", d)
	}
	if c := w.cl.m.Call(2); c.Pool != "gw" || c.Origin != "bob@example.com" {
		t.Errorf("call of %s to pool %s", c.Origin, c.Pool)
	}
	w.at(gw1, gw1.answer(got, 486))
	w.want(gw1.addr+" ACK sip:123@"+gw1.addr, alice.addr+" 486 X") // what counts is how it went there, not the 302
}

func TestRedirectCancelled(t *testing.T) {
	cl := newCluster(t)
	cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
	w := diverting(t, cl, "<sip:carol@example.com>")
	got := w.want(bob.addr+" ACK sip:bob@"+bob.addr, carol.addr+" INVITE sip:carol@"+carol.addr)[1]
	w.at(carol, carol.answer(got, 180))
	w.take()
	w.at(alice, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.want(alice.addr+" 200 OK", carol.addr+" CANCEL sip:carol@"+carol.addr)
	w.at(carol, carol.answer(got, 487))
	w.want(carol.addr+" ACK sip:carol@"+carol.addr, alice.addr+" 487 X")
}

// TestRedirectAsItIsCancelled: a CANCEL that comes while the redirection is being committed ends the call there.
func TestRedirectAsItIsCancelled(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	w := newWorld(t, cl)
	invite := w.callBob()
	w.hold = true
	w.at(bob, bob.answer(invite, 302, "Contact: <sip:carol@example.com>"))
	w.at(alice, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.want()
	w.hold = false
	w.commit()
	w.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 200 OK", alice.addr+" 487 Request Terminated")
}

// TestRedirectRelayed: what is not to be followed reaches the caller as it is.
func TestRedirectRelayed(t *testing.T) {
	for name, c := range map[string]struct{ contact, setting string }{
		"elsewhere":         {"<sip:carol@elsewhere.example>", ""},
		"nobody":            {"<sip:example.com>", ""},
		"secure":            {"<sips:carol@example.com>", ""},
		"mail":              {"<mailto:carol@example.com>", ""},
		"long":              {"<sip:" + strings.Repeat("1", 300) + "@example.com>", ""},
		"by setting":        {"<sip:carol@example.com>", RedirectsRelay},
		"number by setting": {"<sip:0123@example.com>", RedirectsUsers},
	} {
		t.Run(name, func(t *testing.T) {
			cl := newCluster(t)
			cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
			w := newWorld(t, cl)
			if c.setting != "" {
				w.set(SettingRedirects, c.setting)
			}
			w.divert(c.contact)
			final := w.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 302 X")[1]
			if got := header(final, "Contact"); !slices.Equal(got, []string{c.contact}) {
				t.Errorf("Contact %q", got)
			}
		})
	}
	t.Run("asked for securely", func(t *testing.T) { // §16.7 step 4
		w := newWorld(t, newCluster(t))
		w.cl.registerOver(pb.Transport_TLS, bob)
		w.in(1, alice.addr, alice.request("INVITE", "sips:bob@example.com", "c1", 1, "c1", ""))
		invite := w.takeBut100()[0]
		w.receiveFrom(invite.to, bob.answer(invite.data, 302, "Contact: <sip:carol@example.com>"))
		w.commit()
		if got := w.byReceiver(); starts(got[alice.addr]) != "302" {
			t.Errorf("sent %v", got)
		}
	})
	t.Run("another kind", func(t *testing.T) { // 305 and 380 name no other user
		cl := newCluster(t)
		cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
		w := newWorld(t, cl)
		invite := w.callBob()
		w.at(bob, bob.answer(invite, 380, "Contact: <sip:carol@example.com>"))
		w.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 380 X")
	})
	t.Run("cancelled", func(t *testing.T) {
		cl := newCluster(t)
		cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
		w := newWorld(t, cl)
		invite := w.callBob()
		w.at(alice, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
		w.want(alice.addr + " 200 OK")
		w.at(bob, bob.answer(invite, 302, "Contact: <sip:carol@example.com>"))
		w.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 302 X")
	})
	t.Run("gateway", func(t *testing.T) {
		w := newWorld(t, newCluster(t))
		w.at(alice, alice.request("INVITE", "sip:0123@example.com", "c1", 1, "c1", ""))
		invite := w.want(alice.addr+" 100 Trying", gw1.addr+" INVITE sip:123@"+gw1.addr)[1]
		w.at(gw1, gw1.answer(invite, 302, "Contact: <sip:bob@example.com>"))
		w.want(gw1.addr+" ACK sip:123@"+gw1.addr, alice.addr+" 302 X")
	})
}

// TestRedirectUsers: with the setting users a call may go on to another user.
func TestRedirectUsers(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
	w := newWorld(t, cl)
	w.set(SettingRedirects, RedirectsUsers)
	w.divert("<sip:carol@example.com>")
	w.want(bob.addr+" ACK sip:bob@"+bob.addr, carol.addr+" INVITE sip:carol@"+carol.addr)
}

// TestRedirectLoop: users who divert to each other end by loop detection, those who divert along a chain by its length.
func TestRedirectLoop(t *testing.T) {
	cl := newCluster(t)
	cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
	w := diverting(t, cl, "<sip:carol@example.com>")
	got := w.want(bob.addr+" ACK sip:bob@"+bob.addr, carol.addr+" INVITE sip:carol@"+carol.addr)[1]
	w.at(carol, carol.answer(got, 302, "Contact: <sip:bob@example.com>"))
	w.want(carol.addr+" ACK sip:carol@"+carol.addr, alice.addr+" 482 Loop Detected")
}

func TestRedirectChain(t *testing.T) {
	cl := newCluster(t)
	for i := range 9 {
		name := fmt.Sprintf("u%d", i)
		cl.apply(&pb.Command{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: &pb.User{Aor: name + "@example.com", Ha1Md5: make([]byte, 16)}}}})
		cl.register(name+"@example.com", "sip:"+name+"@"+bob.addr, bob.addr, 1, 1000)
	}
	w := newWorld(t, cl)
	w.at(alice, alice.request("INVITE", "sip:u0@example.com", "c1", 1, "c1", ""))
	rang := 0
	for range 9 {
		got := w.byReceiver()
		if len(got[alice.addr]) > 0 && starts(got[alice.addr]) == "302" {
			break
		}
		invites := slices.DeleteFunc(got[bob.addr], func(m string) bool { return !strings.HasPrefix(m, "INVITE ") })
		if len(invites) != 1 {
			t.Fatalf("sent %v", got)
		}
		rang++
		w.at(bob, bob.answer(invites[0], 302, fmt.Sprintf("Contact: <sip:u%d@example.com>", rang)))
	}
	if rang != 1+maxDiversions {
		t.Errorf("%d phones were called", rang)
	}
}

// TestRedirectUnderPressure: a diverted call has been let in, and is not turned away half-way.
func TestRedirectUnderPressure(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
	w := newWorld(t, cl)
	invite := w.callBob()
	w.s.opt.Admission.pressure.Store(2 * one)
	w.at(bob, bob.answer(invite, 302, "Contact: <sip:carol@example.com>"))
	w.want(bob.addr+" ACK sip:bob@"+bob.addr, carol.addr+" INVITE sip:carol@"+carol.addr)
}

// TestRedirectBehindAdvertised: with a public address in Record-Route (1:1 NAT) what the cluster sends to itself goes to its own one.
func TestRedirectBehindAdvertised(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
	w := newWorld(t, cl)
	w.v, _ = NewView(cl.m.Config(), []Group{{1, []VIP{{Addr: testGroups[0].VIPs[0].Addr, Advertise: "198.51.100.1"}}}}, nil)
	w.divert("<sip:carol@example.com>")
	got := w.want(bob.addr+" ACK sip:bob@"+bob.addr, carol.addr+" INVITE sip:carol@"+carol.addr)[1]
	if rr := header(got, "Record-Route"); len(rr) != 2 || !strings.HasPrefix(rr[0], "<sip:198.51.100.1:5060;") || !strings.HasPrefix(rr[1], "<sip:198.51.100.1:5060;") {
		t.Fatalf("Record-Route %q", rr)
	}
	w.at(carol, carol.answer(got, 200))
	ok := w.want(alice.addr + " 200 X")[0]
	w.at(alice, alice.request("ACK", "sip:carol@"+carol.addr, "c1", 1, "ack", header(ok, "To")[0], routeSet(ok, true)...))
	w.want(carol.addr + " ACK sip:carol@" + carol.addr)
	w.at(alice, alice.request("INFO", "sip:carol@"+carol.addr, "c1", 2, "info", header(ok, "To")[0], routeSet(ok, true)...))
	w.want(carol.addr + " INFO sip:carol@" + carol.addr)
	for n := uint64(1); n <= 2; n++ { // our own BYEs
		w.s.Overdue(w.v, w.now, cl.m.Call(n), 1, cl.m.Call(n).DeadlineMs+sessionSlack)
		w.toUs()
		byes := w.byReceiver()
		if len(byes) != 2 || starts(byes[alice.addr]) != "BYE" || starts(byes[carol.addr]) != "BYE" {
			t.Errorf("call %d: sent %v", n, byes)
		}
	}
}

// TestRedirectInFork: while the redirection is not on record the call waits for it, whatever the other phone answers; and goes no further when that has taken it.
func TestRedirectInFork(t *testing.T) {
	for name, status := range map[string]int{"other busy": 486, "other answers": 200, "other declines": 603} {
		t.Run(name, func(t *testing.T) {
			cl := newCluster(t)
			cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
			cl.register("bob@example.com", "sip:bob@"+bob2.addr, bob2.addr, 1, 1000)
			cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
			w := newWorld(t, cl)
			w.at(alice, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
			m := w.byReceiver()
			w.hold = true
			w.at(bob, bob.answer(m[bob.addr][0], 302, "Contact: <sip:carol@example.com>"))
			w.want() // not even the ACK
			w.at(bob2, bob2.answer(m[bob2.addr][0], status))
			w.hold = false
			w.commit()
			w.toUs()
			got := w.byReceiver()
			called, final := starts(got[carol.addr]), starts(got[alice.addr])
			want := map[int][2]string{486: {"INVITE", ""}, 200: {"", "200"}, 603: {"", "603"}}[status]
			if called != want[0] || final != want[1] || starts(got[bob.addr]) != "ACK" {
				t.Errorf("sent %v", got)
			}
		})
	}
}

// TestRedirectTakenUp: the new owner goes on where the call was sent, and acknowledges the redirection when it comes again.
func TestRedirectTakenUp(t *testing.T) {
	for name, committed := range map[string]bool{"ringing": true, "not sent on yet": false} {
		t.Run(name, func(t *testing.T) {
			cl := newCluster(t)
			cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
			cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
			w := newWorld(t, cl)
			invite := w.callBob()
			moved := bob.answer(invite, 302, "Contact: <sip:carol@example.com>")
			w.in(1, bob.addr, moved)
			first := ""
			if committed {
				w.toUs()
				first = w.want(bob.addr+" ACK sip:bob@"+bob.addr, carol.addr+" INVITE sip:carol@"+carol.addr)[1]
			}
			n := w.moved()
			n.rearm()
			n.toUs()
			got := n.byReceiver()
			if len(got[bob.addr]) != 0 || starts(got[carol.addr]) != "INVITE" {
				t.Fatalf("sent %v", got)
			}
			again := got[carol.addr][0]
			if committed && header(again, "Via")[0] != header(first, "Via")[0] {
				t.Errorf("carol is called by another branch: %s, %s", header(again, "Via")[0], header(first, "Via")[0])
			}
			n.at(bob, moved)
			n.want(bob.addr + " ACK sip:bob@example.com") // to where it was called is not on record any more
			n.at(carol, carol.answer(again, 200))
			ok := n.want(alice.addr + " 200 X")[0]
			n.at(alice, alice.request("BYE", "sip:carol@"+carol.addr, "c1", 2, "bye", header(ok, "To")[0], routeSet(ok, true)...))
			n.want(carol.addr + " BYE sip:carol@" + carol.addr)
		})
	}
}

// TestRedirectCancelledTakenUp: a new owner that finds the call being cancelled cancels it where it was sent on to.
func TestRedirectCancelledTakenUp(t *testing.T) {
	cl := newCluster(t)
	cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
	w := diverting(t, cl, "<sip:carol@example.com>")
	invite := w.want(bob.addr+" ACK sip:bob@"+bob.addr, carol.addr+" INVITE sip:carol@"+carol.addr)[1]
	w.at(carol, carol.answer(invite, 180))
	w.take()
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", "")) // and the node is lost
	n := w.moved()
	n.rearm()
	n.toUs()
	again := n.byReceiver()[carol.addr]
	if starts(again) != "INVITE" || header(again[0], "Via")[0] != header(invite, "Via")[0] {
		t.Fatalf("carol got %q", again)
	}
	n.at(carol, carol.answer(again[0], 180))
	if got := n.byReceiver(); starts(got[carol.addr]) != "CANCEL" {
		t.Fatalf("sent %v", got)
	}
	n.at(carol, carol.answer(again[0], 487))
	if got := n.byReceiver(); starts(got[carol.addr]) != "ACK" || starts(got[alice.addr]) != "487" {
		t.Errorf("sent %v", got)
	}
}

// TestRedirectWithoutLeader: it is followed when nothing can be committed, too, and entered afterwards.
func TestRedirectWithoutLeader(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
	w := newWorld(t, cl)
	w.noLeader = true
	w.divert("<sip:carol@example.com>")
	got := w.want(bob.addr+" ACK sip:bob@"+bob.addr, carol.addr+" INVITE sip:carol@"+carol.addr)[1]
	w.at(carol, carol.answer(got, 200))
	w.want(alice.addr + " 200 X")
	w.noLeader = false
	for range 10 {
		w.pass(time.Second)
		w.s.CatchUp(w.v, w.now, true)
		w.commit()
	}
	for n := uint64(1); n <= 2; n++ {
		if c := cl.m.Call(n); c == nil || c.State != pb.CallState_CALL_ANSWERED {
			t.Errorf("call %d: %+v", n, c)
		}
	}
}

// TestRedirectTwice: two phones of a user that send a call on to the same number make one call there.
func TestRedirectTwice(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	cl.register("bob@example.com", "sip:bob@"+bob2.addr, bob2.addr, 1, 1000)
	w := newWorld(t, cl)
	w.at(alice, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	m := w.byReceiver()
	w.at(bob, bob.answer(m[bob.addr][0], 302, "Contact: <sip:0123@example.com>"))
	got := w.want(bob.addr+" ACK sip:bob@"+bob.addr, gw1.addr+" INVITE sip:123@"+gw1.addr)[1]
	w.at(bob2, bob2.answer(m[bob2.addr][0], 302, "Contact: <sip:0123@example.com>"))
	w.want(bob2.addr + " ACK sip:bob@" + bob2.addr)
	w.at(gw1, gw1.answer(got, 404))
	w.want(gw1.addr+" ACK sip:123@"+gw1.addr, alice.addr+" 480 Temporarily Unavailable")
}

// TestRedirectCrowded: a diverted call needs room as any.
func TestRedirectCrowded(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
	w := newWorld(t, cl)
	invite := w.callBob()
	w.s.room, w.s.opt.MaxCells = 0, 1
	w.at(bob, bob.answer(invite, 302, "Contact: <sip:carol@example.com>"))
	if got := w.byReceiver(); len(got[carol.addr]) != 0 || len(got[alice.addr]) != 1 {
		t.Errorf("sent %v", got)
	}
}

// TestRedirectCalleeRoutes: the record of the call that was sent on says that its callee is reached through the call that it became.
func TestRedirectCalleeRoutes(t *testing.T) {
	cl := newCluster(t)
	cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 2, 1000)
	w := diverting(t, cl, "<sip:carol@example.com>")
	got := w.want(bob.addr+" ACK sip:bob@"+bob.addr, carol.addr+" INVITE sip:carol@"+carol.addr)[1]
	w.at(carol, carol.answer(got, 200))
	for n, want := range map[uint64]int{1: 2, 2: 0} { // two, for the inner call leaves by another VIP (RFC 5658)
		if r := cl.m.Call(n).Legs[0].Routes; strings.Count(r, "<sip:") != want {
			t.Errorf("call %d: Route %q", n, r)
		}
	}
}
