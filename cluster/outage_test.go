package cluster

import (
	"testing"
	"time"

	"holdline/fsm/pb"
)

// TestOutageIsCounted: after a time in which no node ran, calls that were being set up say how long that was, on every node alike. An election is none.
func TestOutageIsCounted(t *testing.T) {
	l := newLab(t, 3).formed()
	c := &caller{lab: l}
	c.do(&pb.Command{Op: &pb.Command_PutGroup{PutGroup: &pb.PutGroup{Group: &pb.Group{Vips: []*pb.Vip{{Prefix: "10.77.0.101/24"}}}}}})
	c.takeOver(0)
	call := c.do(&pb.Command{Op: &pb.Command_CreateCall{CreateCall: &pb.CreateCall{
		Key: []byte("k"), Home: 1, Epoch: c.epoch, CallId: "k", Invite: []byte("INVITE"), Targets: []*pb.Target{{Uri: "sip:b@192.0.2.1"}},
	}}}).Id
	outage := func(i int) int64 {
		e := l.nodes[i].engine.Load()
		if e == nil || e.machine.Call(call) == nil {
			return -1
		}
		return e.machine.Call(call).Outage()
	}
	counted := func(name string) (ms int64) {
		t.Helper()
		l.addDomain(l.leader(), name)
		for i := range l.nodes {
			l.until("it has what was committed", func() bool { return l.hasDomain(i, name) })
			if i > 0 && outage(i) != ms {
				t.Errorf("node %d counts %d ms, the first one %d", i+1, outage(i), ms)
			}
			ms = outage(i)
		}
		return ms
	}
	lost := l.leader()
	l.kill(lost)
	l.leader()
	l.restart(lost)
	if ms := counted("elected.example"); ms != 0 {
		t.Errorf("an election counts as %d ms without leader", ms)
	}
	for i := range l.nodes {
		l.kill(i)
	}
	off := time.Now()
	l.until("it is worth telling", func() bool { return time.Since(off) > outageLeast })
	for i := range l.nodes {
		l.restart(i)
	}
	first := counted("on.example")
	if took := time.Since(off).Milliseconds(); first < outageLeast.Milliseconds() || first > took+1500 { // the last entry may have been a second old
		t.Errorf("%d ms without leader, it was %v", first, took)
	}
	l.highlyAvailable()
	lost = l.leader()
	l.kill(lost)
	l.leader()
	l.restart(lost)
	if again := counted("elected-again.example"); again != first {
		t.Errorf("%d ms without leader, and after an election %d", first, again)
	}
	// Nodes that ran all the time go by what they applied last.
	e := l.nodes[0].engine.Load()
	for silence, want := range map[time.Duration]int64{0: 0, outageLeast - 1: 0, time.Hour: time.Hour.Milliseconds()} {
		if got := e.outage(silence); got != want {
			t.Errorf("silent for %v: %d ms", silence, got)
		}
	}
	if s := e.replica.silence(); s > 3*time.Second {
		t.Errorf("nothing was applied for %v", s)
	}
}
