package cluster

import (
	"cmp"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// Raft's followers look whether the leader was heard at random moments, one to three heartbeat timeouts after the last contact;
// none is elected before a majority have looked, and two that look at once split the vote. Here each looks at a moment of its own, earlier, so
// that calls are not held for longer than they must be (docs/decisions/0012-election-moments.md).
const (
	// electionStep is between the moments of two followers: more than between two heartbeats, for they may have heard different ones last.
	electionStep = 30 * time.Millisecond
	electionSlop = 5 * time.Millisecond
	idleLook     = 50 * time.Millisecond
)

// watchLeader makes raft look when the leader has been silent for as long as timings say.
func (e *engine) watchLeader() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var w leaderWatch
	for {
		select {
		case <-timer.C:
			timer.Reset(w.look(e, timingOf(e.machine.Config())))
		case <-e.ctx.Done():
			return
		}
	}
}

// leaderWatch is one silence of the leader.
type leaderWatch struct {
	told, asked bool
}

// look does what is due in this silence and returns when to look again.
func (w *leaderWatch) look(e *engine, t raftTiming) time.Duration {
	heard := e.raft.LastContact()
	silence := time.Since(heard)
	leader := e.leader()
	tell := t.look * 3 / 4
	follows := e.raft.State() == raft.Follower && !heard.IsZero()
	if !follows || leader == 0 || silence < tell {
		if w.asked {
			e.setHeartbeatTimeout(t.heartbeat)
		}
		*w = leaderWatch{}
		if !follows {
			return idleLook
		}
		return max(electionSlop, min(idleLook, tell-silence))
	}
	if !w.told { // how far each log reaches decides who looks when
		w.told = true
		e.tellNow()
	}
	due := t.look + electionSlop + time.Duration(e.electionRank(leader))*electionStep
	switch {
	case w.asked:
		return electionSlop
	case silence < due:
		return min(electionSlop, due-silence) // what the others tell may change the order
	}
	w.asked = true
	e.logger.Debug("the raft leader is silent: looking", "silence", silence, "due", due)
	// Raft looks at once when the timeout is made shorter, and stands for an election if there was no contact for that long.
	e.setHeartbeatTimeout(t.look)
	return electionSlop
}

// electionRank is this node's place among the followers, from 0. The one whose log reaches furthest looks last: by then the others have
// given the leader up, and nobody has a reason to refuse it. One that looks earlier only gives the leader up.
func (e *engine) electionRank(leader uint32) int {
	type follower struct {
		last   uint64
		number uint32
	}
	var all []follower
	for _, n := range e.machine.Config().Nodes() {
		if !n.Voter || n.Number == leader {
			continue
		}
		last := e.raft.LastIndex() // of one that tells nothing: the numbers decide
		if i, ok := e.infoOf(n.Number); ok && n.Number != e.number.Load() {
			last = i.LastIndex
		}
		all = append(all, follower{last, n.Number})
	}
	slices.SortFunc(all, func(a, b follower) int {
		return cmp.Or(cmp.Compare(a.last, b.last), cmp.Compare(a.number, b.number))
	})
	return max(0, slices.IndexFunc(all, func(f follower) bool { return f.number == e.number.Load() }))
}

func (e *engine) setHeartbeatTimeout(t time.Duration) {
	rc := e.raft.ReloadableConfig()
	rc.HeartbeatTimeout = t
	if err := e.raft.ReloadConfig(rc); err != nil {
		e.logger.Error("raft timing not changed", "err", err)
	}
}
