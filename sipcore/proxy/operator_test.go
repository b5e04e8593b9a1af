package proxy

import (
	"testing"
	"time"

	"holdline/fsm/pb"
)

// cut has an operator end call 1.
func (w *world) cut() {
	w.t.Helper()
	if r := w.cl.apply(&pb.Command{Op: &pb.Command_CutCall{CutCall: &pb.CutCall{Call: 1}}}); r.Code != pb.Code_OK {
		w.t.Fatal(r)
	}
}

// second is the core's look at what is overdue, each second.
func (w *world) second() {
	w.t.Helper()
	w.overdue(w.cl.m.Now())
}

// endedFor checks that the call has ended for good, with one record.
func (w *world) endedFor(cdr string) {
	w.t.Helper()
	w.cdrs(cdr)
	w.pass(2 * time.Minute)
	w.take()
	w.second()
	w.want()
	w.cdrs(cdr)
	if w.cl.m.Call(1).Active() || w.s.Len() != 0 || len(w.s.hanging) != 0 {
		w.t.Errorf("%v, %d transactions, %d calls left", w.cl.m.Call(1).State, w.s.Len(), len(w.s.hanging))
	}
}

// TestOperatorEndsCall: an operator ends an established call: a BYE to either side that says why, and the record says who did it. A phone that does not answer keeps
// the call from ending for as long as a transaction lasts.
func TestOperatorEndsCall(t *testing.T) {
	for _, answers := range []bool{true, false} {
		w := newTestCall(t)
		w.timed("c1", "1800")
		w.cut()
		w.second()
		byes := w.want(alice.addr+" BYE sip:alice@"+alice.addr, bob.addr+" BYE sip:bob@"+bob.addr)
		for _, b := range byes {
			if got := header(b, "Reason"); len(got) != 1 || got[0] != byOperator {
				t.Errorf("Reason %q", got)
			}
		}
		w.second()
		w.want() // they are under way
		w.in(1, alice.addr, alice.answer(byes[0], 200))
		if answers {
			w.in(1, bob.addr, bob.answer(byes[1], 481)) // he has hung up long ago
		} else {
			w.cdrs()
			w.pass(33 * time.Second)
			w.take()
		}
		w.endedFor("1 operator 200 alice@example.com>bob@example.com")
	}
}

// TestOperatorEndsRefreshedCall: a refresh that is committed after the operator's wish does not put it off.
func TestOperatorEndsRefreshedCall(t *testing.T) {
	w := newTestCall(t)
	_, ok := w.timed("c1", "1800")
	w.cl.ms += 900_000
	w.hold = true
	w.in(1, alice.addr, alice.request("UPDATE", "sip:bob@"+bob.addr, "c1", 2, "up", header(ok, "To")[0], routeSet(ok, true)...))
	up := w.want(bob.addr + " UPDATE sip:bob@" + bob.addr)[0]
	w.in(1, bob.addr, bob.answer(up, 200, "Session-Expires: 1800"))
	w.cut()
	w.hold = false
	w.commit()
	w.want(alice.addr + " 200 X")
	w.second()
	w.want(alice.addr+" BYE sip:alice@"+alice.addr, bob.addr+" BYE sip:bob@"+bob.addr)
}

// TestOperatorEndsRingingCall: one that rings is cancelled, and its caller gets 487.
func TestOperatorEndsRingingCall(t *testing.T) {
	w := newTestCall(t)
	_, invite := w.ringing("c1")
	w.cut()
	w.second()
	cancel := w.want(bob.addr + " CANCEL sip:bob@" + bob.addr)[0]
	if got := header(cancel, "Reason"); len(got) != 1 || got[0] != byOperator {
		t.Errorf("Reason %q", got)
	}
	w.second()
	w.want() // it is under way
	if n := w.s.opt.Stats.HangUps.Load(); n != 1 {
		t.Errorf("%d calls ended", n)
	}
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.want(alice.addr + " 200 OK")
	w.in(1, bob.addr, bob.answer(cancel, 200))
	w.in(1, bob.addr, bob.answer(invite, 487))
	w.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 487 X")
	w.endedFor("1 operator 487 alice@example.com>bob@example.com")
}

// TestOperatorEndsSilentCall: a phone that has not answered yet gets the CANCEL with its first response (RFC 3261 §9.1).
func TestOperatorEndsSilentCall(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	invite := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.cut()
	w.second()
	w.want()
	w.in(1, bob.addr, bob.answer(invite, 180))
	w.want(bob.addr+" CANCEL sip:bob@"+bob.addr, alice.addr+" 180 X")
	w.pass(33 * time.Second) // and does not answer that either
	w.take()
	w.endedFor("1 operator 487 alice@example.com>bob@example.com")
}

// TestOperatorEndsCancelledCall: what the caller's CANCEL asks for is not sent before it is on record, and once.
func TestOperatorEndsCancelledCall(t *testing.T) {
	w := newTestCall(t)
	_, invite := w.ringing("c1")
	w.hold = true
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.cut()
	w.second()
	w.want()
	w.hold = false
	w.commit()
	w.want(alice.addr+" 200 OK", bob.addr+" CANCEL sip:bob@"+bob.addr)
	w.second()
	w.want()
	w.in(1, bob.addr, bob.answer(invite, 487))
	w.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 487 X")
	w.endedFor("1 operator 487 alice@example.com>bob@example.com")
}

// TestOperatorEndsForkedCall: all phones are cancelled, those of lower q never ring.
func TestOperatorEndsForkedCall(t *testing.T) {
	w, inv1, inv2 := forked(t)
	w.in(1, bob.addr, bob.answer(inv1, 180))
	w.in(1, bob2.addr, bob2.answer(inv2, 180))
	w.take()
	w.cut()
	w.second()
	if m := w.byReceiver(); starts(m[bob.addr]) != "CANCEL" || starts(m[bob2.addr]) != "CANCEL" {
		t.Fatalf("sent %v", m)
	}
	w.in(1, bob.addr, bob.answer(inv1, 486))
	w.in(1, bob2.addr, bob2.answer(inv2, 487))
	if m := w.byReceiver(); len(m[carol.addr]) != 0 || starts(m[alice.addr]) != "487" {
		t.Errorf("sent %v", m)
	}
}

// TestOperatorEndsAnsweringCall: a phone that answers as it is cancelled is connected (RFC 3261 §16.7 step 5), and hung up a second later.
func TestOperatorEndsAnsweringCall(t *testing.T) {
	w := newTestCall(t)
	_, invite := w.ringing("c1")
	w.cut()
	w.second()
	cancel := w.want(bob.addr + " CANCEL sip:bob@" + bob.addr)[0]
	w.in(1, bob.addr, bob.answer(invite, 200))
	ok := w.want(alice.addr + " 200 X")[0]
	w.in(1, bob.addr, bob.answer(cancel, 200))
	w.in(1, alice.addr, alice.request("ACK", "sip:bob@"+bob.addr, "c1", 1, "c1ack", header(ok, "To")[0], routeSet(ok, true)...))
	w.want(bob.addr + " ACK sip:bob@" + bob.addr)
	w.second()
	byes := w.want(alice.addr+" BYE sip:alice@"+alice.addr, bob.addr+" BYE sip:bob@"+bob.addr)
	w.in(1, alice.addr, alice.answer(byes[0], 200))
	w.in(1, bob.addr, bob.answer(byes[1], 200))
	w.endedFor("1 operator 200 alice@example.com>bob@example.com")
}

// TestOperatorEndsCallOverTakeover: the box that owns the call fails between the operator's command and what it would have done. The next one does it.
func TestOperatorEndsCallOverTakeover(t *testing.T) {
	for _, seen := range []bool{false, true} { // by the former owner
		w := newTestCall(t)
		w.timed("c1", "1800")
		w.cut()
		if seen {
			w.second()
		}
		n := w.moved()
		n.rearm()
		n.second()
		byes := n.want(alice.addr+" BYE sip:alice@"+alice.addr, bob.addr+" BYE sip:bob@"+bob.addr)
		n.in(1, alice.addr, alice.answer(byes[0], 200))
		n.in(1, bob.addr, bob.answer(byes[1], 200))
		n.endedFor("1 operator 200 alice@example.com>bob@example.com")

		w = newTestCall(t)
		_, first := w.ringing("c1")
		w.cut()
		if seen {
			w.second()
		}
		n = w.moved()
		n.rearm()
		again := n.want(bob.addr + " INVITE sip:bob@" + bob.addr)[0]
		if again != first {
			t.Error("another INVITE")
		}
		n.second()
		n.want()
		n.in(1, bob.addr, bob.answer(again, 180)) // the callee repeats itself
		cancel := n.take()[0].data
		if got := header(cancel, "Reason"); starts([]string{cancel}) != "CANCEL" || len(got) != 1 || got[0] != byOperator {
			t.Fatalf("no CANCEL with a reason: %s", cancel)
		}
		n.in(1, bob.addr, bob.answer(again, 487))
		n.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 487 X")
		n.endedFor("1 operator 487 alice@example.com>bob@example.com")
	}
}

// TestOperatorEndsLateCall: where nobody saw to the wish for more than its minute, no phone rings anew when the call is taken up.
func TestOperatorEndsLateCall(t *testing.T) {
	w := newTestCall(t)
	w.ringing("c1")
	w.cut()
	w.outage(2 * time.Minute)
	n := w.moved()
	n.rearm()
	n.want(bob.addr+" CANCEL sip:bob@"+bob.addr, alice.addr+" 487 Request Terminated")
	n.cdrs("1 operator 487 alice@example.com>bob@example.com")
}

// TestOperatorEndsUntakenCall: a call that could not be taken up for lack of room is when there is some.
func TestOperatorEndsUntakenCall(t *testing.T) {
	w := newTestCall(t)
	_, first := w.ringing("c1")
	n := w.moved() // and has no room: no rearm
	n.cut()
	n.second()
	n.want(bob.addr + " INVITE sip:bob@" + bob.addr)
	n.in(1, bob.addr, bob.answer(first, 487))
	n.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 487 X")
	n.cdrs("1 operator 487 alice@example.com>bob@example.com")
}

// TestOperatorEndsCallWithoutLeader: what is kept of a call goes into its record first, then its end.
func TestOperatorEndsCallWithoutLeader(t *testing.T) {
	w := newTestCall(t)
	_, invite := w.ringing("c1")
	w.noLeader = true
	w.in(1, bob.addr, bob.answer(invite, 200))
	w.want(alice.addr + " 200 X")
	w.cut() // it is the first that is committed
	w.overdue(w.cl.m.Now())
	w.want()
	w.noLeader = false
	w.pass(time.Second)
	w.catchUp(true)
	w.take()
	w.second()
	w.want(alice.addr+" BYE sip:alice@"+alice.addr, bob.addr+" BYE sip:bob@"+bob.addr)
}
