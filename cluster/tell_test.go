package cluster

import (
	"slices"
	"testing"
	"time"

	"holdline/fsm/pb"
)

// TestFollowerIsToldAtOnce: on an idle cluster a follower hears of the commit of its own write, and of a read index, long before raft
// would tell it: that takes CommitTimeout, 50 ms, or up to twice as long.
func TestFollowerIsToldAtOnce(t *testing.T) {
	const tries, most = 21, 35 * time.Millisecond
	l := newLab(t, 3).formed()
	follower := l.nodes[(l.leader()+1)%3].engine.Load()
	var writes, reads []time.Duration
	for range tries {
		began := time.Now()
		r, err := follower.submitter.SubmitWait(t.Context(), putSetting("told", began.String()))
		if err != nil || r.Code != pb.Code_OK {
			t.Fatalf("%v, %v", r, err)
		}
		writes = append(writes, time.Since(began))
		leader := l.nodes[l.leader()].engine.Load()
		if _, err := leader.submitter.SubmitWait(t.Context(), putSetting("told", "by the leader")); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		if err := follower.ReadIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		reads = append(reads, time.Since(began))
	}
	slices.Sort(writes)
	slices.Sort(reads)
	t.Logf("median: a write %v, a read index %v", writes[tries/2], reads[tries/2])
	if writes[tries/2] > most || reads[tries/2] > most {
		t.Errorf("writes %v, read indexes %v: their medians must be below %v", writes, reads, most)
	}
}
