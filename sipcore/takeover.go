package sipcore

import (
	"maps"

	"holdline/fsm"
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
	v, now := c.currentView(), c.now()
	s := c.shardOf([]byte(row.CallID))
	s.lock(out)
	s.proxy.Rearm(v, now, row, epoch)
	s.unlock(v, now)
	out.Flush()
}

// rearm takes up the ringing and failing calls of a group that this node has taken over.
func (c *Core) rearm(group uint32, epoch uint64) {
	if now, _, ok := c.opt.Owners.Lease(group); !ok || now != epoch {
		return // another node's takeover, or lost again
	}
	out := c.udp.NewSender()
	n := 0
	c.opt.Machine.CallsOf(group, func(row *fsm.Call) bool {
		if len(row.Invite) == 0 && len(row.Final) == 0 {
			return true
		}
		v, now := c.currentView(), c.now()
		s := c.shardOf([]byte(row.CallID))
		s.lock(out)
		s.proxy.Rearm(v, now, row, epoch)
		s.unlock(v, now)
		if n++; n%rearmBatch == 0 {
			out.Flush()
		}
		return c.ctx.Err() == nil
	})
	out.Flush()
	c.setAcquired(group, func(a acquisition) acquisition {
		return acquisition{epoch: epoch, at: a.at, settled: true}
	})
	c.wg.Go(func() { c.tickle(group, epoch) }) // within rearm, which Close waits for
	c.log.Info("took up calls", "group", group, "epoch", epoch, "calls", n)
}
