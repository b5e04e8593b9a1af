package vip

import (
	"errors"
	"fmt"

	"holdline/vip/lease"
)

// attach makes a connection the core's. A former one is dropped: a core that has restarted.
func (g *guard) attach(c *ipcConn) {
	if g.peer != nil {
		g.detach(g.peer, "another core has connected")
	}
	g.peer = c
	c.beat, c.beatAt = g.shm.beat.Load(), g.clock.now()
	g.why = "the core has not configured the guard yet"
	g.log.Info("core connected", "pid", c.pid)
	for _, gr := range g.groups {
		g.tell(Owner{Group: gr.number, Node: gr.owner, Ballot: gr.ownerBallot})
	}
	if g.core != nil {
		inForce, _ := g.core.Epoch()
		g.tell(ConfigEpoch{Node: g.cfg.Self, Epoch: inForce})
		for _, p := range g.core.Peers(g.clock.now(), nil) {
			if p.Epoch != 0 {
				g.tell(ConfigEpoch{Node: p.Node, Epoch: p.Epoch})
			}
		}
	}
	if len(g.unfit) > 0 {
		g.tell(Unfit{Groups: g.unfit})
	}
	if g.fence == nil {
		g.tell(Alarm{Text: "fence: " + g.fenceKind()})
	}
}

// detach drops every group, as the core that served them is gone.
func (g *guard) detach(c *ipcConn, why string) {
	if g.peer != c {
		return
	}
	g.log.Info("core gone", "pid", c.pid, "why", why)
	g.serving(false, why)
	g.peer = nil
	c.closePidfd()
}

// connGone cleans up after a connection that has ended.
func (g *guard) connGone(c *ipcConn) {
	g.detach(c, "core lost")
	c.closePidfd()
}

// serving tells the lease core whether this node's SIP core can serve.
func (g *guard) serving(ok bool, why string) {
	g.why = why
	if g.core != nil {
		g.do(g.core.SetServing(g.clock.now(), 0, ok))
	}
}

// watchCore looks at what the core writes to shared memory: its progress and its health.
func (g *guard) watchCore() {
	c := g.peer
	if c == nil {
		return
	}
	now := g.clock.now()
	if beat := g.shm.beat.Load(); beat != c.beat {
		c.beat, c.beatAt = beat, now
		if c.stalled && c.configured {
			c.stalled = false
			g.log.Info("core goes on", "pid", c.pid)
			g.serving(true, "")
		}
	} else if c.configured && !c.stalled && now-c.beatAt > beatTimeout {
		c.stalled = true
		g.note(fmt.Sprintf("the core (process %d) makes no progress: every group is given up", c.pid))
		g.serving(false, "core stalled")
	}
	if health := uint32(g.shm.health.Load()); g.core != nil && health != g.health {
		g.health = health
		g.do(g.core.SetHealth(now, health))
	}
}

// release begins a planned move.
func (g *guard) release(number, to uint32) error {
	gr := g.find(number)
	switch {
	case gr == nil:
		return fmt.Errorf("group %d is not known here", number)
	case !gr.held:
		return fmt.Errorf("group %d is not held by this node", number)
	case to == g.cfg.Self:
		return errors.New("this node holds it already")
	case to != 0 && g.cfg.node(to) == nil:
		return fmt.Errorf("node %d is not known here", to)
	}
	g.do(g.core.Release(g.clock.now(), number, to))
	return nil
}

// shutdown begins the guard's end: groups are offered to the others.
func (g *guard) shutdown() {
	if g.stopAt != 0 {
		return
	}
	now := g.clock.now()
	g.stopAt = now + stopWait
	g.why = "guard ends"
	if g.core == nil {
		return
	}
	for _, gr := range g.groups {
		if gr.held {
			g.do(g.core.Release(now, gr.number, 0))
		}
	}
}

// finishShutdown drops what nobody has taken in time, repeats the news for a few heartbeats, and ends the loop.
func (g *guard) finishShutdown() {
	if g.stopAt == 0 {
		return
	}
	now := g.clock.now()
	if !g.stopped {
		for _, gr := range g.groups {
			if gr.held && now < g.stopAt {
				return
			}
		}
		g.stopped, g.stopAt = true, now
		if g.core != nil {
			g.do(g.core.Stop(now))
			const repeats = 3
			g.stopAt = now + repeats*lease.Fast().Heartbeat
		}
	}
	if now < g.stopAt {
		return
	}
	g.ended = true
	// A core that goes on without a guard may still send from its sockets: the fence stays, closed. With nobody left there
	// is nothing to hold back, and whoever gives the address to this machine by hand shall not wonder.
	if g.fence != nil && g.fenced.Load() && g.peer == nil {
		if err := g.fence.remove(); err != nil {
			g.log.Warn("remove fence", "err", err)
		}
	}
}
