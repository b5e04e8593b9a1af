package proxy

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// outage is d in which no node ran: FSM time stands still.
func (w *world) outage(d time.Duration) {
	w.t.Helper()
	w.now += int64(d)
	w.cl.index++
	b, err := proto.Marshal(&pb.Entry{TimeMs: w.cl.ms, OutageMs: d.Milliseconds()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.cl.m.Apply(w.cl.index, b)
}

// TestRingingThroughOutage: a call that rang when the power went for a minute is taken up; one whose time was over meanwhile rings nobody anew.
func TestRingingThroughOutage(t *testing.T) {
	for _, c := range []struct {
		off  time.Duration
		late bool
	}{{time.Minute, false}, {4 * time.Minute, false}, {5 * time.Minute, true}, {9 * time.Hour, true}} {
		t.Run(c.off.String(), func(t *testing.T) {
			w := newTestCall(t)
			w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
			inv := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
			w.in(1, bob.addr, bob.answer(inv, 180))
			w.want(alice.addr + " 180 X")
			w.outage(c.off)
			n := w.moved()
			n.rearm()
			if !c.late {
				n.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)
				n.in(1, bob.addr, bob.answer(inv, 200))
				n.want(alice.addr + " 200 X")
				n.cdrs()
				return
			}
			cancel := n.want(bob.addr+" CANCEL sip:bob@"+bob.addr, alice.addr+" 408 Request Timeout")[0]
			if header(cancel, "Via")[0] != header(inv, "Via")[0] || header(cancel, "CSeq")[0] != "1 CANCEL" {
				t.Errorf("CANCEL:\n%s\nof:\n%s", cancel, inv)
			}
			n.cdrs("1 lost 408 alice@example.com>bob@example.com")
			n.in(1, alice.addr, alice.request("ACK", "sip:bob@example.com", "c1", 1, "c1", header(inv, "To")[0]+";tag=x"))
			n.in(1, bob.addr, bob.answer(cancel, 200))
			n.in(1, bob.addr, bob.answer(inv, 487))
			n.want(bob.addr + " ACK sip:bob@" + bob.addr)
			n.pass(time.Minute)
			n.want()
			n.cdrs("1 lost 408 alice@example.com>bob@example.com")
			if n.s.Len() != 0 {
				t.Errorf("%d transactions left", n.s.Len())
			}
			n2 := n.moved()
			n2.rearm()
			n2.want()
		})
	}
}

// TestForgottenThroughOutage: a phone that knows nothing of the call any more is left in peace.
func TestForgottenThroughOutage(t *testing.T) {
	w, _, _ := forked(t)
	w.outage(time.Hour)
	n := w.moved()
	n.rearm()
	m := n.byReceiver()
	if starts(m[bob.addr]) != "CANCEL" || starts(m[bob2.addr]) != "CANCEL" || len(m[carol.addr]) != 0 || starts(m[alice.addr]) != "408" {
		t.Fatalf("sent %v", m)
	}
	n.in(1, bob.addr, bob.answer(m[bob.addr][0], 481))
	n.in(1, bob2.addr, bob2.answer(m[bob2.addr][0], 481))
	n.pass(2 * time.Minute)
	if m := n.byReceiver(); len(m[bob.addr])+len(m[bob2.addr])+len(m[carol.addr]) != 0 || n.s.Len() != 0 {
		t.Errorf("sent %v; %d transactions left", m, n.s.Len())
	}
	n.cdrs("1 lost 408 alice@example.com>bob@example.com")
}

// TestCancelledThroughOutage: the caller had given up. Half a minute later the phone may have forgotten that it was called, and an INVITE would ring it anew.
func TestCancelledThroughOutage(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	inv := w.take()[1].data
	w.in(1, bob.addr, bob.answer(inv, 180))
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.take()
	w.outage(time.Minute)
	n := w.moved()
	n.rearm()
	n.want(bob.addr+" CANCEL sip:bob@"+bob.addr, alice.addr+" 487 Request Terminated")
	n.in(1, bob.addr, bob.answer(inv, 487))
	n.want(bob.addr + " ACK sip:bob@" + bob.addr)
	n.cdrs("1 cancelled 487 alice@example.com>bob@example.com")
}

// TestAnsweredThroughOutage: who lost hears it all the same, without an INVITE.
func TestAnsweredThroughOutage(t *testing.T) {
	w, inv1, _ := forked(t)
	w.in(1, bob.addr, bob.answer(inv1, 200))
	w.outage(time.Minute)
	n := w.moved()
	n.rearm()
	if cancel := n.want(bob2.addr + " CANCEL sip:bob@" + bob2.addr)[0]; !strings.Contains(cancel, "Call completed elsewhere") {
		t.Errorf("CANCEL:\n%s", cancel)
	}
	n.cdrs()
}

// TestFailedThroughOutage: nobody waits any more for the final of a call that failed before.
func TestFailedThroughOutage(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.in(1, bob.addr, bob.answer(w.take()[1].data, 486))
	w.outage(time.Minute)
	n := w.moved()
	n.rearm()
	n.want()
}

// TestAnsweredBeforeItIsEnded: the last owner's answer is entered after the new one has looked at the record: the call is not ended.
func TestAnsweredBeforeItIsEnded(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.take()
	w.outage(time.Hour)
	n := w.moved()
	n.hold = true
	n.rearm()
	n.cl.apply(&pb.Command{Op: &pb.Command_CatchUpCall{CatchUpCall: &pb.CatchUpCall{Call: 1, Home: 1, Epoch: 1, Steps: []*pb.CallStep{
		{Step: &pb.CallStep_AnswerCall{AnswerCall: &pb.AnswerCall{Call: 1, Home: 1, Epoch: 1, ToTag: "bob-tag"}}},
	}}}})
	n.commit()
	n.cdrs()
	if c := n.cl.m.Call(1); c.State != pb.CallState_CALL_ANSWERED {
		t.Errorf("call: %v", c.State)
	}
}
