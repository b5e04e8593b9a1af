package proxy

import (
	"slices"
	"testing"
	"time"

	"holdline/fsm/pb"
)

// newLaterCall is a test's world in which calls are recorded after the fact.
func newLaterCall(t *testing.T) *world {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	cl.apply(&pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: SettingCommit, Value: CommitAfter}}})
	return newWorld(t, cl)
}

func (w *world) catchUp(all bool) {
	w.t.Helper()
	w.s.CatchUp(w.v, w.now, all)
	w.commit()
}

func (w *world) committed(want ...string) {
	w.t.Helper()
	if !slices.Equal(w.log, want) {
		w.t.Errorf("committed %v, want %v", w.log, want)
	}
	w.log = nil
}

// TestRecordedAfterTheEnd: a short call waits for nothing, and one command makes its CDR.
func TestRecordedAfterTheEnd(t *testing.T) {
	w := newLaterCall(t)
	w.hold = true // nothing submitted is applied: whatever waits for the log stands still
	_, ok := w.call("c1")
	w.pass(2 * time.Second)
	w.catchUp(false)
	w.bye("c1", ok)
	w.committed()
	w.catchUp(false)
	w.committed("CatchUpCall")
	w.cdrs("1 bye-caller 200 alice@example.com>bob@example.com")
	if d := w.cl.m.CDRs(0, 1)[0].DurationMs; d != 2000 {
		t.Errorf("it lasted %d ms", d)
	}
	w.nothingLeft()
	if n := w.stats.Unreplicated.Load(); n != 0 {
		t.Errorf("%d steps are counted as unreplicated for lack of a leader", n)
	}
}

func (w *world) nothingLeft() {
	w.t.Helper()
	if n := w.stats.BehindBytes.Load(); n != 0 || len(w.s.behind) != 0 || len(w.s.later) != 0 || w.stats.Behind.Load() != 0 {
		w.t.Errorf("%d calls, %d bytes are left, %d wait", len(w.s.behind), n, len(w.s.later))
	}
}

// TestRecordedWhenOld: a call that goes on is recorded when it is five seconds old, ringing or answered, and what comes then later
// still waits for nothing. It moves with its group from there on.
func TestRecordedWhenOld(t *testing.T) {
	w := newLaterCall(t)
	_, ok := w.call("c1")
	w.pass(4 * time.Second)
	w.catchUp(false)
	w.committed()
	w.pass(time.Second)
	w.catchUp(false)
	w.committed("CatchUpCall")
	if n := w.cl.m.Counts(); n.Calls != 1 {
		t.Errorf("%+v", n)
	}
	w.nothingLeft()
	n := w.moved()
	n.rearm()
	n.bye("c1", ok)
	n.committed()
	n.catchUp(false)
	n.committed("CatchUpCall")
	n.cdrs("1 bye-caller 200 alice@example.com>bob@example.com")
	n.nothingLeft()
}

// TestRingingRecordedWhenOld: a new owner takes a ringing call up that was recorded after the fact.
func TestRingingRecordedWhenOld(t *testing.T) {
	w := newLaterCall(t)
	_, invite := w.ringing("c1")
	w.catchUp(true) // as before a planned move
	w.committed("CatchUpCall")
	n := w.moved()
	n.rearm()
	n.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)
	n.in(1, bob.addr, bob.answer(invite, 200))
	n.want(alice.addr + " 200 X")
}

// TestRecordedWithoutLeader: what was to be recorded after the fact becomes late when there is no leader, and says so.
func TestRecordedWithoutLeader(t *testing.T) {
	w := newLaterCall(t)
	_, ok := w.call("c1")
	w.bye("c1", ok)
	w.noLeader = true
	w.catchUp(false)
	if w.stats.Behind.Load() != 1 {
		t.Error("nobody is told that the call is not recorded")
	}
	w.leaderBack()
	w.cdrs("1 bye-caller 200 alice@example.com>bob@example.com")
	w.nothingLeft()
}
