package proxy

import (
	"strings"
	"testing"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
)

// moved is a fresh node over the same replicated state, which takes groups 1 and 2 over under epoch 2.
func (w *world) moved() *world {
	w.t.Helper()
	n := newWorld(w.t, w.cl)
	n.now = w.now
	for g := range n.epochs {
		n.epochs[g] = 2
		w.cl.apply(&pb.Command{Op: &pb.Command_Takeover{Takeover: &pb.Takeover{Group: g, Epoch: 2, Node: "11111111-1111-1111-1111-111111111111"}}})
	}
	return n
}

// rearm takes up all calls, as the core does once the takeover is applied.
func (w *world) rearm() {
	for g, e := range w.epochs {
		w.cl.m.CallsOf(g, func(c *fsm.Call) bool {
			w.s.Rearm(w.v, w.now, c, e)
			return true
		})
	}
	if !w.hold {
		w.commit()
	}
}

// TestAnsweredBeforeTakenUp: a call is answered, and hung up, while the new owner of its group finds no raft leader to take it up with. Its record has both afterwards, and
// nobody's phone rings again.
func TestAnsweredBeforeTakenUp(t *testing.T) {
	for name, hangUp := range map[string]bool{"hung up": true, "stands": false} {
		t.Run(name, func(t *testing.T) {
			w := newTestCall(t)
			_, invite := w.ringing("c1")
			n := newWorld(t, w.cl)
			n.now, n.noLeader, n.untaken = w.now, true, true
			for g := range n.epochs {
				n.epochs[g] = 2
			}
			n.in(1, bob.addr, bob.answer(invite, 200))
			ok := n.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr, alice.addr+" 200 X")[2]
			n.in(1, bob.addr, bob.answer(invite, 200)) // repeated
			n.want(alice.addr + " 200 X")
			n.in(1, alice.addr, alice.request("ACK", "sip:bob@"+bob.addr, "c1", 1, "ack", header(ok, "To")[0], routeSet(ok, true)...))
			n.want(bob.addr + " ACK sip:bob@" + bob.addr)
			n.pass(7 * time.Second)
			n.take()
			if hangUp {
				n.bye("c1", ok)
			}
			for g := range n.epochs {
				w.cl.apply(&pb.Command{Op: &pb.Command_Takeover{Takeover: &pb.Takeover{Group: g, Epoch: 2, Node: "11111111-1111-1111-1111-111111111111"}}})
			}
			n.noLeader, n.untaken = false, false
			n.rearm()
			n.leaderBack()
			n.want()
			n.pass(time.Minute)
			n.want()
			switch row := n.cl.m.Call(1); {
			case hangUp:
				n.cdrs("1 bye-caller 200 alice@example.com>bob@example.com")
			case row.State != pb.CallState_CALL_ANSWERED:
				t.Errorf("%+v", row)
			}
		})
	}
}

func TestTakeoverEstablished(t *testing.T) {
	w := newTestCall(t)
	invite, ok := w.call("c1")
	to := header(ok, "To")[0]
	n := w.moved()
	n.rearm()
	n.want()
	// re-INVITE by the callee, then BYE by the caller: no state but the token.
	from := header(invite, "From")[0]
	n.in(1, bob.addr, bob.request("INVITE", "sip:alice@"+alice.addr, "c1", 1, "re", from, routeSet(invite, false)...))
	re := n.want(alice.addr + " INVITE sip:alice@" + alice.addr)[0]
	n.in(1, alice.addr, alice.answer(re, 200))
	n.want(bob.addr + " 200 X")
	n.in(1, bob.addr, bob.request("ACK", "sip:alice@"+alice.addr, "c1", 1, "reack", from, routeSet(invite, false)...))
	n.want(alice.addr + " ACK sip:alice@" + alice.addr)
	n.in(1, alice.addr, alice.request("BYE", "sip:bob@"+bob.addr, "c1", 2, "bye", to, routeSet(ok, true)...))
	bye := n.want(bob.addr + " BYE sip:bob@" + bob.addr)[0]
	n.in(1, bob.addr, bob.answer(bye, 200))
	n.want(alice.addr + " 200 X")
	if c := n.cl.m.Call(1); c.State != pb.CallState_CALL_ENDED {
		t.Errorf("call: %v", c.State)
	}
}

// TestTakeoverOfRetransmittedInvite: the INVITE comes again to a node that has never seen it; the callee must see the
// same branch.
func TestTakeoverOfRetransmittedInvite(t *testing.T) {
	for name, committed := range map[string]bool{"committed": true, "not committed": false} {
		t.Run(name, func(t *testing.T) {
			w := newTestCall(t)
			w.hold = !committed
			req := alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "")
			w.in(1, alice.addr, req)
			var branch string
			if committed {
				branch = header(w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1], "Via")[0]
			} else {
				w.want() // 100 not before the commit
			}
			n := w.moved()
			n.in(1, alice.addr, req)
			got := n.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
			if b := header(got, "Via")[0]; committed && b != branch {
				t.Errorf("branch %s, was %s", b, branch)
			}
			n.in(1, bob.addr, bob.answer(got, 200))
			n.want(alice.addr + " 200 X")
			if n.cl.m.Counts().CallRows != 1 {
				t.Errorf("%d calls", n.cl.m.Counts().CallRows)
			}
			// What the old owner has in flight is refused.
			w.commit()
			w.want()
			if w.s.Len() != 0 && !committed {
				t.Error("the old owner goes on")
			}
		})
	}
}

func TestTakeoverRinging(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	first := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.in(1, bob.addr, bob.answer(first, 180))
	w.want(alice.addr + " 180 X")
	n := w.moved()
	n.rearm()
	again := n.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	if again != first {
		t.Errorf("INVITE after the takeover:\n%s\nbefore:\n%s", again, first)
	}
	n.in(1, bob.addr, bob.answer(again, 180))
	n.want(alice.addr + " 180 X")
	n.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
	n.want(alice.addr+" 200 OK", bob.addr+" CANCEL sip:bob@"+bob.addr)
	n.in(1, bob.addr, bob.answer(again, 487))
	n.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 487 X")
}

func TestTakeoverCancelling(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	first := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.in(1, bob.addr, bob.answer(first, 180))
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.want(alice.addr+" 180 X", alice.addr+" 200 OK", bob.addr+" CANCEL sip:bob@"+bob.addr)
	n := w.moved()
	n.rearm()
	again := n.want(bob.addr + " INVITE sip:bob@" + bob.addr)[0]
	if again != first {
		t.Error("another INVITE")
	}
	n.in(1, bob.addr, bob.answer(again, 180)) // the callee repeats itself: now it is cancelled
	out := n.take()
	if len(out) == 0 || !strings.HasPrefix(out[0].data, "CANCEL ") {
		t.Fatalf("no CANCEL: %+v", out)
	}
	n.in(1, bob.addr, bob.answer(again, 487))
	n.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 487 X")
	n.pass(time.Second)
	if got := n.want(alice.addr + " 487 X"); len(got) != 1 { // unacknowledged: Timer G
		t.Fatal()
	}
	n.in(1, alice.addr, alice.request("ACK", "sip:bob@example.com", "c1", 1, "c1", header(again, "To")[0]+";tag=bob-tag"))
	n.pass(60 * time.Second)
	n.want()
	if n.s.Len() != 0 {
		t.Errorf("%d transactions left", n.s.Len())
	}
}

func TestTakeoverUnacknowledgedFinal(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	inv := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.in(1, bob.addr, bob.answer(inv, 486))
	final := w.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 486 X")[1]
	n := w.moved()
	n.rearm()
	if again := n.want(alice.addr + " 486 X")[0]; again != final {
		t.Errorf("final after the takeover:\n%s\nbefore:\n%s", again, final)
	}
	// The last owner may have died before its ACK: whoever owns the call now acknowledges the callee's repetition, and does not
	// relay it: the caller has its own.
	n.in(1, bob.addr, bob.answer(inv, 486))
	ack := n.want(bob.addr + " ACK sip:bob@example.com")[0]
	if header(ack, "Via")[0] != header(inv, "Via")[0] || header(ack, "To")[0] != header(bob.answer(inv, 486), "To")[0] || header(ack, "CSeq")[0] != "1 ACK" {
		t.Errorf("ACK:\n%s", ack)
	}
}

// TestStatelessResponse: a response to a request that another node forwarded is relayed by its branch, but not one
// whose Via below was tampered with.
func TestStatelessResponse(t *testing.T) {
	w := newTestCall(t)
	invite, _ := w.call("c1")
	n := w.moved()
	ok := bob.answer(invite, 200)
	n.in(1, bob.addr, ok)
	n.want(alice.addr + " 200 X")
	n.in(1, bob.addr, strings.Replace(ok, "received=10.0.0.31", "received=10.0.0.66", 1))
	n.want()
	if n.stats.StrayResponses.Load() != 1 {
		t.Error("not counted")
	}
}

// TestStaleOwner: a thawed owner does nothing through the new one.
func TestStaleOwner(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.take()
	delete(w.epochs, 1)
	w.pass(time.Second) // Timer A is due
	w.want()
	if w.s.Len() != 0 {
		t.Error("the transaction lives on without the lease")
	}
}

// TestTakeoverAnswerInFlight: the last owner passed the 200 on but did not get to commit the answer. The caller's ACK
// must not reach the callee before the new owner has.
func TestTakeoverAnswerInFlight(t *testing.T) {
	for name, rearmed := range map[string]bool{"calls taken up": true, "not yet": false} {
		t.Run(name, func(t *testing.T) {
			w, inv, request := newAnswering(t)
			ack := request("ACK", 1, "ack")
			n := w.moved()
			n.settling = !rearmed
			if rearmed {
				n.rearm()
				n.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)
			}
			n.in(1, alice.addr, ack)
			n.want()
			if !rearmed {
				n.in(1, bob.addr, bob.answer(inv, 200)) // too early: its answer could not be recorded
				n.want()
				n.settling = false
				n.rearm()
				n.take()
			}
			n.in(1, bob.addr, bob.answer(inv, 200))
			n.want(alice.addr + " 200 X")
			n.in(1, alice.addr, ack)
			n.want(bob.addr + " ACK sip:bob@" + bob.addr)
			if c := n.cl.m.Call(1); c.State != pb.CallState_CALL_ANSWERED {
				t.Errorf("call: %v", c.State)
			}
		})
	}
}

// TestTakeoverCancelBeforeCalls: a CANCEL that comes long before the last owner's calls are known is not told that there is no such
// call: when it is repeated, there is.
func TestTakeoverCancelBeforeCalls(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	inv := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.in(1, bob.addr, bob.answer(inv, 180))
	w.want(alice.addr + " 180 X")
	n := w.moved()
	n.settling = true
	n.pass(10 * time.Second)
	cancel := alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", "")
	n.in(1, alice.addr, cancel)
	n.want()
	n.settling = false
	n.rearm()
	n.take()
	n.in(1, bob.addr, bob.answer(inv, 180))
	n.take()
	n.in(1, alice.addr, cancel)
	n.want(alice.addr+" 200 OK", bob.addr+" CANCEL sip:bob@"+bob.addr)
}

// TestTakeoverByeInFlight: the 200 to a BYE that the last owner forwarded is not relayed by its branch alone, or the
// call would never end in the records.
func TestTakeoverByeInFlight(t *testing.T) {
	w := newTestCall(t)
	_, ok := w.call("c1")
	req := alice.request("BYE", "sip:bob@"+bob.addr, "c1", 2, "bye", header(ok, "To")[0], routeSet(ok, true)...)
	w.in(1, alice.addr, req)
	bye := w.want(bob.addr + " BYE sip:bob@" + bob.addr)[0]
	n := w.moved()
	n.in(1, bob.addr, bob.answer(bye, 200))
	n.want()
	n.in(1, alice.addr, req)
	if again := n.want(bob.addr + " BYE sip:bob@" + bob.addr)[0]; again != bye {
		t.Errorf("BYE after the takeover:\n%s\nbefore:\n%s", again, bye)
	}
	n.in(1, bob.addr, bob.answer(bye, 200))
	n.want(alice.addr + " 200 X")
	if c := n.cl.m.Call(1); c.State != pb.CallState_CALL_ENDED {
		t.Errorf("call: %v", c.State)
	}
}

// TestTakeoverAfterAFailedGateway: the first gateway's 503 is on record and the second one has its INVITE when the node dies. Its
// successor asks the second again, under its branch, and acknowledges the 503 that the first repeats.
func TestTakeoverAfterAFailedGateway(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:0555@example.com", "c1", 1, "c1", ""))
	first := w.take()[1]
	asked := first.to.Remote.String()
	gw := phone{"gw", asked}
	w.in(1, asked, gw.answer(first.data, 503))
	var second sent
	for _, x := range w.take() {
		if strings.HasPrefix(x.data, "INVITE ") {
			second = x
		}
	}
	if second.data == "" || second.to.Remote == first.to.Remote {
		t.Fatalf("the second gateway was not asked: %+v", second)
	}
	n := w.moved()
	n.rearm()
	again := n.want(alice.addr+" 100 Trying", second.to.Remote.String()+" INVITE sip:555@"+second.to.Remote.String())[1]
	if again != second.data {
		t.Error("another INVITE")
	}
	n.in(1, asked, gw.answer(first.data, 503))
	n.want(asked + " ACK sip:555@" + asked)
}

// TestTakeoverLosersCancelled: who has not been told yet that the call was answered elsewhere hears it from the new owner.
func TestTakeoverLosersCancelled(t *testing.T) {
	w, inv1, inv2 := forked(t)
	w.in(1, bob.addr, bob.answer(inv1, 200)) // the second phone has said nothing yet: its CANCEL waits
	w.want(alice.addr + " 200 X")
	n := w.moved()
	n.rearm()
	if again := n.want(bob2.addr + " INVITE sip:bob@" + bob2.addr)[0]; header(again, "Via")[0] != header(inv2, "Via")[0] {
		t.Error("another INVITE")
	}
	n.in(1, bob2.addr, bob2.answer(inv2, 180))
	cancel := n.want(bob2.addr + " CANCEL sip:bob@" + bob2.addr)[0]
	if len(header(cancel, "Reason")) == 0 {
		t.Error("no Reason")
	}
	n.in(1, bob2.addr, bob2.answer(inv2, 487))
	n.want(bob2.addr + " ACK sip:bob@" + bob2.addr)
	n.pass(70 * time.Second)
	if c := n.cl.m.Call(1); c.State != pb.CallState_CALL_ANSWERED || n.s.Len() != 0 {
		t.Errorf("call %v, %d transactions left", c.State, n.s.Len())
	}
}

// TestTakeoverCancellingNamed: a gateway that is known by name is cancelled, too, once its name is looked up.
func TestTakeoverCancellingNamed(t *testing.T) {
	w := namedGateway(t)
	w.resolved(target("10.2.0.1:5060"))
	w.in(1, "10.2.0.1:5060", gw1.answer(w.take()[0].data, 180))
	w.in(1, alice.addr, alice.request("CANCEL", "sip:0123@example.com", "c1", 1, "c1", ""))
	w.take()
	n := w.moved()
	n.rearm()
	n.want()
	n.resolved(target("10.2.0.1:5060"))
	again := n.want("10.2.0.1:5060 INVITE sip:123@trunk.example.net")[0]
	n.in(1, "10.2.0.1:5060", gw1.answer(again, 180))
	if m := n.byReceiver(); starts(m["10.2.0.1:5060"]) != "CANCEL" {
		t.Fatalf("sent %v", m)
	}
	n.in(1, "10.2.0.1:5060", gw1.answer(again, 487))
	n.want("10.2.0.1:5060 ACK sip:123@trunk.example.net", alice.addr+" 487 X")
}

// TestTakeoverDeclined: a 6xx has ended the search: the new owner calls nobody else, and cancels who still rings.
func TestTakeoverDeclined(t *testing.T) {
	w, inv1, inv2 := forked(t)
	w.in(1, bob2.addr, bob2.answer(inv2, 180))
	w.in(1, bob.addr, bob.answer(inv1, 603))
	w.take()
	n := w.moved()
	n.rearm()
	m := n.byReceiver()
	if starts(m[bob2.addr]) != "INVITE" || len(m[carol.addr]) != 0 || len(m[bob.addr]) != 0 {
		t.Fatalf("sent %v", m)
	}
	n.in(1, bob2.addr, bob2.answer(inv2, 180))
	if m := n.byReceiver(); starts(m[bob2.addr]) != "CANCEL" {
		t.Fatalf("sent %v", m)
	}
	n.in(1, bob2.addr, bob2.answer(inv2, 487))
	n.want(bob2.addr+" ACK sip:bob@"+bob2.addr, alice.addr+" 603 Decline")
}

// TestTakeoverOfStaleCell: what is left of an earlier ownership, under an epoch that is over, does not stand in the way when the group comes back.
func TestTakeoverOfStaleCell(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	first := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	for epoch := uint64(2); epoch <= 3; epoch++ { // another node's, then this one's again
		w.cl.apply(&pb.Command{Op: &pb.Command_Takeover{Takeover: &pb.Takeover{Group: 1, Epoch: epoch, Node: "11111111-1111-1111-1111-111111111111"}}})
	}
	w.epochs[1] = 3
	w.rearm()
	again := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	if again != first {
		t.Error("another INVITE")
	}
	w.in(1, bob.addr, bob.answer(again, 200))
	w.want(alice.addr + " 200 X")
	if c := w.cl.m.Call(1); c.State != pb.CallState_CALL_ANSWERED {
		t.Errorf("the answer is not recorded: %v", c.State)
	}
}

// TestFinalOfAnAttemptOfBefore: what an address of a gateway's name says that the last owner had tried, and this one has not, is not the caller's final while the
// gateway is being called at another.
func TestFinalOfAnAttemptOfBefore(t *testing.T) {
	cl := newCluster(t)
	for _, name := range []string{"gw1", "gw2"} {
		cl.apply(&pb.Command{Op: &pb.Command_RemoveMember{RemoveMember: &pb.RemoveMember{Pool: "gw", Name: name}}})
	}
	cl.putGateway("named", "gw.far.example")
	w := newWorld(t, cl)
	w.in(1, alice.addr, alice.request("INVITE", "sip:0123@example.com", "c1", 1, "c1", ""))
	w.resolved(target(gw1.addr), target(gw2.addr))
	w.take()
	w.pass(5 * time.Second)
	var second string
	for _, s := range w.take() {
		if s.to.Remote.String() == gw2.addr {
			second = s.data
		}
	}
	n := w.moved()
	n.rearm()
	n.resolved(target(gw1.addr), target(gw2.addr))
	n.want(alice.addr+" 100 Trying", gw1.addr+" INVITE sip:123@gw.far.example")
	n.in(1, gw2.addr, gw2.answer(second, 486))
	n.want()
}
