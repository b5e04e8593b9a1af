package cluster

import (
	"flag"
	"fmt"
	runtimemetrics "runtime/metrics"
	"strings"
	"testing"
	"time"

	"holdline/cluster/api"
)

var (
	million       = flag.Bool("million", false, "rejoin at 1 000 000 registrations and 100 000 calls (takes minutes and 10 GB)")
	registrations = flag.Int("registrations", 50_000, "rejoin at so many, and a tenth as many calls")
	rejoinStall   = flag.Duration("rejoin-stall", time.Second, "longest commit that the others may see while it catches up")
)

// doctorsState is what doctor says of the replicated state.
func doctorsState(t *testing.T, n *Node) api.Check {
	t.Helper()
	for _, c := range n.engine.Load().doctorState(t.Context()) {
		return c
	}
	return api.Check{}
}

// A node that was away while tens of thousands of phones registered comes back by snapshot, while the others are busy. They commit as
// before meanwhile, and in the end all hold the same, record for record. It is a process of its own, as on its box; the others share one with the
// writers.
func TestRejoinUnderLoad(t *testing.T) {
	registrations := *registrations
	if *million {
		registrations = 1_000_000
	}
	calls, patience := registrations/10, max(time.Minute, time.Duration(registrations)*300*time.Microsecond)
	l := newLab(t, 3).formed()
	l.vip()
	l.addDomain(0, "example.com")
	away := (l.leader() + 1) % 3
	l.kill(away)
	at := time.Now()
	leader := l.grow(registrations, calls)
	other := 3 - leader - away
	l.wait(patience, "the other node has the new state", func() bool { return l.holds(other, registrations, calls) })
	t.Logf("two nodes hold %d registrations and %d calls after %v", registrations, calls, time.Since(at).Round(time.Millisecond))

	w := l.write("before", 2, []int{leader, other}, 8, registrations)
	time.Sleep(2 * time.Second) // of load, to compare with what comes
	before, failed := w.end()
	w = l.write("meanwhile", 1<<20, []int{leader, other}, 8, registrations)
	began, term, index := time.Now(), l.nodes[leader].engine.Load().raft.CurrentTerm(), l.nodes[leader].engine.Load().raft.CommitIndex()
	l.restartAlone(away)
	l.wait(patience, "a node that takes the state in does not count", func() bool {
		return says(api.HANo, fmt.Sprintf("the next loss ends service: n%d is catching up", away+1))(l.ha(l.nodes[other]))
	})
	l.wait(patience, "it has caught up", func() bool {
		e := l.nodes[leader].engine.Load()
		there, ok := e.infoOf(e.machine.Config().NodeByName(fmt.Sprintf("n%d", away+1)).GetNumber())
		return ok && there.Applied >= index && there.Applied+100 > e.raft.CommitIndex()
	})
	took := time.Since(began)
	delays, failedMeanwhile := w.end()
	terms := l.nodes[leader].engine.Load().raft.CurrentTerm() - term
	t.Logf("commits before: %s", delaysText(before))
	t.Logf("it caught up in %v; commits of the others meanwhile: %s; terms of leadership begun %d; live heap of the two and the test %d MB",
		took.Round(time.Millisecond), delaysText(delays), terms, heapLive()>>20)
	if worst := delays[len(delays)-1]; worst > *rejoinStall {
		t.Errorf("the others stalled for %v", worst)
	}
	if *million && terms > 0 { // on a machine that is kept busy by others a smaller run proves nothing of the kind
		t.Errorf("leadership changed %d times", terms)
	}
	if failed = append(failed, failedMeanwhile...); len(failed) > 0 {
		t.Errorf("%d writes failed, the first: %s", len(failed), failed[0])
	}
	for _, i := range []int{leader, other} {
		l.until("HA: yes", func() bool { return l.ha(l.nodes[i]).Level == api.HAYes })
	}
	c := doctorsState(t, l.nodes[other])
	t.Log(c.Detail)
	if c.Result != api.CheckOK || !strings.Contains(c.Detail, "n1, n2, n3") {
		t.Errorf("states: %+v", c)
	}
}

func (l *lab) holds(node, registrations, calls int) bool {
	c := l.nodes[node].engine.Load().machine.Counts()
	return c.Bindings >= registrations && c.Calls >= calls
}

// wait is until with a patience of its own.
func (l *lab) wait(patience time.Duration, what string, ok func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func delaysText(d []time.Duration) string {
	if len(d) == 0 {
		return "none"
	}
	at := func(percent int) time.Duration {
		return d[min(len(d)*percent/100, len(d)-1)].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("%d, p50 %v, p99 %v, worst %v", len(d), at(50), at(99), at(100))
}

func heapLive() uint64 {
	s := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runtimemetrics.Read(s)
	return s[0].Value.Uint64()
}

// Doctor must be able to say that a node differs.
func TestDifferentStatesAreTold(t *testing.T) {
	c := compareSums(map[string]stateSum{"n1": {Index: 7, Sum: "a"}, "n2": {Index: 7, Sum: "b"}, "n3": {Index: 7, Sum: "a"}})
	if c.Result != api.CheckFail || !strings.Contains(c.Detail, "n1 a, n2 b, n3 a") {
		t.Errorf("%+v", c)
	}
}
