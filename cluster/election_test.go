package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// A leader's heartbeats come from beatFollowers, raft's own being slower; who leads no more has its timeouts back.
func TestLeaderBeats(t *testing.T) {
	l := newLab(t, 3).formed()
	at := l.leader()
	leader := l.node(at).engine.Load()
	ordinary := timings["fast"]
	l.until("the leader's own heartbeats are the second line", func() bool {
		return leader.raft.ReloadableConfig().HeartbeatTimeout == leadTimeout
	})
	follower := l.node((at + 1) % 3).engine.Load()
	if got := follower.raft.ReloadableConfig().HeartbeatTimeout; got != ordinary.heartbeat {
		t.Errorf("heartbeat timeout of a follower: %v, want %v", got, ordinary.heartbeat)
	}

	// Raft's own, at random after 20 to 40 ms, would be fewer than this.
	before, began := leader.verify.count.Load(), time.Now()
	heard := map[time.Time]bool{}
	l.until("thirty heartbeats", func() bool {
		heard[follower.raft.LastContact()] = true
		return leader.verify.count.Load() >= before+30
	})
	if took := time.Since(began); took > 60*leaderBeat {
		t.Errorf("thirty heartbeats in %v", took)
	}
	if len(heard) < 10 {
		t.Errorf("a follower was heard of %d times meanwhile", len(heard))
	}

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := leader.transferLeadership(ctx); err != nil {
		t.Fatal(err)
	}
	l.until("the former leader has a follower's timeouts", func() bool {
		rc := leader.raft.ReloadableConfig()
		return leader.raft.State() == raft.Follower && rc.HeartbeatTimeout == ordinary.heartbeat && rc.ElectionTimeout == ordinary.election
	})
}
