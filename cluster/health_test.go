package cluster

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestHealthOfAFormerLeader: a node that has just lost the leadership knows as much of a leader as the others do, and must not be
// ranked below them: it would give its addresses away.
func TestHealthOfAFormerLeader(t *testing.T) {
	l := newLab(t, 3).formed()
	l.highlyAvailable()
	e := l.nodes[l.leader()].engine.Load()
	done := make(chan error, 1)
	go func() { done <- e.raft.LeadershipTransfer().Error() }()
	for end := time.Now().Add(10 * time.Second); e.raft.State() == raft.Leader; {
		if time.Now().After(end) {
			t.Fatalf("leadership was not given away: %v", <-done)
		}
	}
	begun := time.Now()
	for heard := false; !heard && time.Since(begun) < silentPeer; { // until the next leader is heard of
		heard = time.Since(e.raft.LastContact()) < silentPeer
		if score := e.healthScore(); score != 0 {
			t.Fatalf("%v after it lost the leadership: score %d", time.Since(begun), score)
		}
	}
}
