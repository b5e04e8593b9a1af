package cluster

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"holdline/sipcore/beat"
)

// Raft's followers look whether the leader was heard at random moments, one to three heartbeat timeouts after the last contact;
// none is elected before a majority have looked, and two that look at once split the vote. Here each looks at a moment of its own, earlier, so
// that calls are not held for longer than they must be (docs/decisions/0012-election-moments.md).
const (
	// electionStep is between the moments of two followers: more than between two heartbeats, for they may have heard different ones last.
	electionStep = 30 * time.Millisecond
	electionSlop = 5 * time.Millisecond
	idleLook     = 2 * leaderBeat

	// leaderBeat is between two heartbeats of a leader. They leave for all followers at once, when the process is awake for what else recurs;
	// raft's own come at random moments of each follower, and are the second line here (see beatFollowers).
	leaderBeat = 20 * time.Millisecond
	// leadTimeout is raft's heartbeat timeout while this node leads: only a tenth to a fifth of it counts then, after which raft sends a heartbeat of its own.
	leadTimeout = 200 * time.Millisecond
)

// watchLeader makes raft look when the leader has been silent for as long as timings say, and makes a leader be heard.
func (e *engine) watchLeader() {
	alarm, timer := beat.NewAlarm(), beat.NewTimer()
	defer alarm.Stop()
	stop := context.AfterFunc(e.ctx, timer.Close)
	defer stop()
	var w leaderWatch
	for e.ctx.Err() == nil {
		wait := w.look(e, timingOf(e.machine.Config()))
		if wait < leaderBeat {
			timer.Sleep(wait) // somebody's moment to stand for election
			continue
		}
		alarm.Next(wait / leaderBeat * leaderBeat)
		select {
		case <-alarm.C:
		case <-e.ctx.Done():
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
	state := e.raft.State()
	follows := state == raft.Follower && !heard.IsZero()
	if !follows || leader == 0 || silence < tell {
		*w = leaderWatch{}
		if state == raft.Leader && len(e.members.numbers()) > 1 {
			e.setTimeouts(max(leadTimeout, t.heartbeat), max(leadTimeout, t.election))
			e.beatFollowers()
			return leaderBeat
		}
		e.setTimeouts(t.heartbeat, t.election)
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
	e.setTimeouts(t.look, t.election)
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

// beatFollowers has raft send a heartbeat to all followers: it does when it is asked whether it leads still. While one who asked has no answer
// yet, from a majority, there is nothing more to ask. Raft's main loop, which hands this on, stands still while a disk is slow; its own heartbeats do not.
func (e *engine) beatFollowers() {
	if !e.verify.asking() {
		e.readIndexHere(func(uint64, error) {})
	}
}

// setTimeouts sets those of raft's timeouts that can be set while it runs.
func (e *engine) setTimeouts(heartbeat, election time.Duration) {
	e.tune(func(c *raft.ReloadableConfig) { c.HeartbeatTimeout, c.ElectionTimeout = heartbeat, election })
}
