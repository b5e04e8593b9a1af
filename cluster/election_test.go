package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"holdline/fsm/pb"
)

// A leader is heard by beatFollowers, raft's own heartbeats being the second line; who leads no more has a follower's timeouts back.
func TestLeaderBeats(t *testing.T) {
	// Raft's own heartbeats come after a second or two here: without others a leader is deposed within leaderLease.
	const mute = "mute"
	timings[mute] = raftTiming{10 * time.Second, 10 * time.Second, timings["fast"].look}
	t.Cleanup(func() { delete(timings, mute) })

	l := newLab(t, 3).formed()
	at := l.leader()
	leader, follower := l.node(at).engine.Load(), l.node((at+1)%3).engine.Load()
	timeouts := func(e *engine, want raftTiming) func() bool {
		return func() bool {
			rc := e.raft.ReloadableConfig()
			return rc.HeartbeatTimeout == want.heartbeat && rc.ElectionTimeout == want.election
		}
	}
	l.until("raft's own heartbeats are the second line", timeouts(leader, raftTiming{heartbeat: leadTimeout, election: leadTimeout}))
	l.until("followers have their timeouts", timeouts(follower, timings["fast"]))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := leader.transferLeadership(ctx); err != nil {
		t.Fatal(err)
	}
	l.until("the former leader has a follower's timeouts", func() bool {
		return leader.raft.State() == raft.Follower && timeouts(leader, timings["fast"])()
	})

	leader = l.node(l.leader()).engine.Load()
	leader.submitter.Submit(putSetting(settingTiming, mute), time.Second, func(*pb.Result, error) {})
	l.until("raft's own heartbeats hardly come", timeouts(leader, timings[mute]))
	term, before := leader.term(), leader.verify.count.Load()
	l.until("fifty heartbeats", func() bool { return leader.verify.count.Load() >= before+50 || leader.term() != term })
	if leader.term() != term || leader.raft.State() != raft.Leader {
		t.Errorf("deposed after %d heartbeats", leader.verify.count.Load()-before)
	}
}
