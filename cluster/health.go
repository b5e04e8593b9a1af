package cluster

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"holdline/cluster/store"
)

// health is what ranks this node as candidate for VIP groups. It never takes a group away.
//
// Owners yield to a healthier node within half a second, so what is over sooner than that, or happens once, must not count: all
// disks of a machine hang for a moment now and then, and no address is to move for it.
type health struct {
	mu  sync.Mutex
	led time.Time // when this node was last seen to be the leader
}

// silence is how long this node has been without a leader; it may be one itself. Safe for concurrent use.
func (h *health) silence(r *raft.Raft) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.State() == raft.Leader {
		h.led = time.Now()
	}
	// A former leader may have been in contact with another one days ago.
	return min(time.Since(r.LastContact()), time.Since(h.led))
}

const (
	healthInterval = 100 * time.Millisecond
	lagTolerated   = 250 // entries

	// Weights: what makes a node unable to serve or to commit ranks it lower than what makes it slow.
	scoreNoLeader = 100
	scoreSockets  = 80
	scoreDisk     = 50
	scoreLag      = 25
)

// watchHealth tells the guard how good a candidate this node is.
func (e *engine) watchHealth() {
	e.every(healthInterval, func() { e.vips.setHealth(e.healthScore()) })
}

func (e *engine) healthScore() uint32 {
	score := e.logScore()
	if e.vips.socketFault() != nil {
		score += scoreSockets
	}
	return score
}

// logScore is the part of it that the replicated log has.
func (e *engine) logScore() uint32 {
	var score uint32
	if e.health.silence(e.raft) > silentPeer {
		score += scoreNoLeader
	}
	if fault := e.logFault(); fault != "" && fault != store.FaultHung || e.store.Failing() {
		score += scoreDisk
	}
	if last, applied := e.raft.CommitIndex(), e.raft.AppliedIndex(); last > applied+lagTolerated {
		score += scoreLag
	}
	return score
}

// diskTrouble hears of a log write that takes too long. A leader with a hung disk would go on sending heartbeats and block every
// write of the cluster (hashicorp/raft #503): it is silenced until the write has ended, and the others elect. A follower only lags.
func (e *engine) diskTrouble(on bool) {
	if !on {
		e.logger.Warn("disk answers again")
		e.stream.Gate(false)
		return
	}
	leads := e.lead.Load() != nil
	e.logger.Error("disk does not answer: the raft log write takes too long", "dir", e.node.dir.path, "gives_up_leadership", leads)
	if leads {
		e.stream.Gate(true)
	}
}
