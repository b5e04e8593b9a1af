package sipcore

import (
	"maps"

	"holdline/fsm"
	"holdline/sipcore/transport"
)

// rearmBatch is how many calls are taken up before what they send is flushed.
const rearmBatch = 32

// watch is called inside Apply. A takeover of this node's that is applied is its barrier: from here on its replica has all
// that the last owner committed, so the calls in it can be taken up.
func (c *Core) watch(ev fsm.Event) {
	switch ev := ev.(type) {
	case fsm.TakenOver:
		c.takenOver(ev)
	case fsm.CallHandedOver:
		c.spawn(func() { c.rearmOne(ev.Group, ev.Call) })
	case fsm.Rebound:
		c.absent.rebound(ev.AoR)
	case fsm.Restored:
		c.absent.reboundAll()
		c.takenOverInSnapshot()
	}
}

// takenOverInSnapshot takes up groups of this node whose takeover came within a snapshot: no entry tells of it then.
func (c *Core) takenOverInSnapshot() {
	for _, g := range c.opt.Machine.Config().Groups() {
		if epoch, _, held := c.opt.Owners.Lease(g.Number); held && epoch == g.Epoch && !c.takenUp(g.Number) {
			c.takenOver(fsm.TakenOver{Group: g.Number, Epoch: g.Epoch, Node: g.Owner})
		}
	}
}

func (c *Core) takenOver(t fsm.TakenOver) {
	c.mu.Lock()
	m := maps.Clone(*c.moved.Load())
	m[t.Group] = c.now()
	c.moved.Store(&m)
	c.mu.Unlock()
	c.spawn(func() {
		c.rearm(t.Group, t.Epoch)
		c.resend(t.Group)
	})
}

// resend has what was sent over connections of a group that has moved sent again.
func (c *Core) resend(group uint32) {
	out := c.udp.NewSender()
	for _, s := range c.shards {
		v, now := c.currentView(), c.now()
		s.lock(out)
		s.proxy.Moved(v, now, group)
		s.unlock(v, now)
		out.Flush()
	}
}

// spawn runs fn unless the core is being closed.
func (c *Core) spawn(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() == nil {
		c.wg.Go(fn)
	}
}

// rearmOne takes up a call that a former owner of its group has entered late.
func (c *Core) rearmOne(group uint32, number uint64) {
	epoch, _, ok := c.opt.Owners.Lease(group)
	row := c.opt.Machine.Call(number)
	if !ok || row == nil {
		return
	}
	out := c.udp.NewSender()
	c.rearmCall(out, row, epoch)
	out.Flush()
}

// rearmCall takes up a call as its record says now: its caller may have come first. It reports whether epoch still holds.
func (c *Core) rearmCall(out *transport.Sender, row *fsm.Call, epoch uint64) bool {
	v, now := c.currentView(), c.now()
	s := c.shardOf([]byte(row.CallID))
	s.lock(out)
	defer s.unlock(v, now)
	if held, _, ok := c.opt.Owners.Lease(row.Home); !ok || held != epoch {
		return false
	}
	if row = c.opt.Machine.Call(row.Number); row != nil {
		s.proxy.Rearm(v, now, row, epoch)
	}
	return true
}

// rearm takes up the ringing and failing calls of a group that this node has taken over.
func (c *Core) rearm(group uint32, epoch uint64) {
	if now, _, ok := c.opt.Owners.Lease(group); !ok || now != epoch {
		return // another node's takeover, or lost again
	}
	out := c.udp.NewSender()
	n, held := 0, true
	c.opt.Machine.CallsOf(group, func(row *fsm.Call) bool {
		if len(row.Invite) == 0 && len(row.Final) == 0 {
			return true
		}
		if held = c.rearmCall(out, row, epoch); !held {
			return false
		}
		if n++; n%rearmBatch == 0 {
			out.Flush()
		}
		return c.ctx.Err() == nil
	})
	out.Flush()
	if !held { // lost meanwhile: what was sent is the next owner's, who does the same
		return
	}
	c.setAcquired(group, func(a acquisition) acquisition {
		if now, _, ok := c.opt.Owners.Lease(group); !ok || now != epoch {
			return a
		}
		return acquisition{epoch: epoch, at: a.at, settled: true, leaves: a.leaves}
	})
	c.wg.Go(func() { c.tickle(group, epoch) }) // within rearm, which Close waits for
	c.log.Info("took up calls", "group", group, "epoch", epoch, "calls", n)
}
