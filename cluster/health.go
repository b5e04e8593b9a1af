package cluster

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// health is what ranks this node as candidate for VIP groups. It never takes a group away.
type health struct {
	mu      sync.Mutex
	changed time.Time // of the leader
}

func (h *health) leaderChanged() {
	h.mu.Lock()
	h.changed = time.Now()
	h.mu.Unlock()
}

const (
	healthInterval = 100 * time.Millisecond
	lagTolerated   = 250 // entries

	// Weights: what makes a node unable to commit ranks it lower than what makes it slow.
	scoreNoLeader = 100
	scoreDisk     = 50
	scoreLag      = 25
)

// watchHealth tells the guard how good a candidate this node is.
func (e *engine) watchHealth() {
	e.every(healthInterval, func() { e.vips.setHealth(e.healthScore()) })
}

func (e *engine) healthScore() uint32 {
	var score uint32
	if e.raft.State() != raft.Leader && time.Since(e.raft.LastContact()) > silentPeer {
		score += scoreNoLeader
	}
	if e.store.Slow() || e.logFault() != "" {
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
