package proxy

import (
	"fmt"
	"testing"
	"time"

	"holdline/fsm/pb"
)

// age sets FSM time to that of the world, counted from start, and lets expire what is due.
func (w *world) age(start int64) {
	w.cl.ms = max(w.cl.ms, (w.now-start)/int64(time.Millisecond))
	w.cl.apply(&pb.Command{Op: &pb.Command_Expire{Expire: &pb.Expire{UpToMs: 1 << 60}}})
}

func (w *world) cdrs(want ...string) {
	w.t.Helper()
	var got []string
	for _, c := range w.cl.m.CDRs(0, 99) {
		got = append(got, fmt.Sprintf("%d %s %d %s>%s", c.Call, c.Cause, c.Status, c.Caller, c.Callee))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("CDRs %q, want %q", got, want)
	}
}

// ringing makes a call that rings.
func (w *world) ringing(callID string) (req, invite string) {
	w.t.Helper()
	req = alice.request("INVITE", "sip:bob@example.com", callID, 1, callID, "")
	w.in(1, alice.addr, req)
	invite = w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.in(1, bob.addr, bob.answer(invite, 180))
	w.want(alice.addr + " 180 X")
	return req, invite
}

// TestRingingForLong: a callee that repeats its 180 restarts Timer C each time; the record must not be taken for lost meanwhile.
func TestRingingForLong(t *testing.T) {
	w := newTestCall(t)
	start := w.now
	_, invite := w.ringing("c1")
	for range 8 {
		w.pass(time.Minute)
		w.take()
		w.in(1, bob.addr, bob.answer(invite, 180))
		w.want(alice.addr + " 180 X")
		w.age(start)
	}
	w.cdrs()
	w.in(1, bob.addr, bob.answer(invite, 200))
	if c := w.cl.m.Call(1); c.State != pb.CallState_CALL_ANSWERED {
		t.Errorf("call: %v", c.State)
	}
}

// TestNobodyServesIt: the node dies while a phone rings, nobody takes the call up, and its caller gives up.
func TestNobodyServesIt(t *testing.T) {
	w := newTestCall(t)
	start := w.now
	w.ringing("c1")
	w.now += int64(10 * time.Minute)
	w.age(start)
	w.cdrs("1 lost 0 alice@example.com>bob@example.com")
	w.age(start)
	w.cdrs("1 lost 0 alice@example.com>bob@example.com")
}

// TestTakenUpAndGivenUp: the new owner of a ringing call sees to its end although caller and callee are gone.
func TestTakenUpAndGivenUp(t *testing.T) {
	w := newTestCall(t)
	start := w.now
	w.ringing("c1")
	n := w.moved()
	n.rearm()
	n.pass(5 * time.Minute)
	n.age(start)
	n.cdrs("1 timed-out 408 alice@example.com>bob@example.com")
	if n.cl.m.Counts().Calls != 0 {
		t.Errorf("%+v", n.cl.m.Counts())
	}
}
