package sipcore

import (
	"time"

	"holdline/sipcore/proxy"
	"holdline/sipcore/transport"
)

const (
	deadlineTick  = time.Second
	overdueSeen   = 5000 // overdue calls looked at per tick, other owners' among them
	overdueAtOnce = 200  // calls that are begun to be ended per tick: what a long silence leaves is spread
)

// deadlines ends the answered calls of our groups whose session timer or maximum duration is over, and those that an operator wants ended, and does what else there
// is each second.
func (c *Core) deadlines() {
	t := time.NewTicker(deadlineTick)
	defer t.Stop()
	var clock proxy.FSMClock
	out := c.udp.NewSender()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-t.C:
		}
		c.endOverdue(out, clock.See(c.opt.Machine.Now(), c.now()))
		c.catchUp(out, false)
		c.tellWrong()
	}
}

// handOver is how long HandOver leaves datagrams alone at most. Giving a group away takes some 30 ms.
const handOver = 100 * time.Millisecond

// HandOver is called before groups are given away. Where calls are recorded after the fact, it submits what there is, and what comes in for
// those groups from then on is left for their next owner: done here, it would be in no record that the next owner takes calls up from, which
// would then set up again what has been answered. Who sent it sends it again, after T1 (RFC 3261 §17.1.1.2); nothing would repeat what comes
// over a connection.
func (c *Core) HandOver(groups ...uint32) {
	for _, group := range groups {
		if _, acquired := (*c.acquired.Load())[group]; !acquired {
			continue
		}
		c.setAcquired(group, func(a acquisition) acquisition {
			a.leaves = c.now() + int64(handOver)
			return a
		})
	}
	c.EnterCalls()
}

// EnterCalls submits whatever of calls is to be recorded after the fact, without waiting for its time: before this node stops, or when
// a group is lost.
func (c *Core) EnterCalls() { c.catchUp(c.udp.NewSender(), true) }

func (c *Core) catchUp(out *transport.Sender, all bool) {
	c.slept.look()
	for _, s := range c.shards {
		v, now := c.currentView(), c.now()
		s.lock(out)
		s.proxy.CatchUp(v, now, all)
		s.unlock(v, now)
	}
	out.Flush()
}

func (c *Core) endOverdue(out *transport.Sender, fsmNow int64) {
	n := 0
	for _, row := range c.opt.Machine.Overdue(fsmNow, overdueSeen) {
		epoch, _, ok := c.opt.Owners.Lease(row.Home)
		if !ok || !c.settled(row.Home) {
			continue
		}
		v, now := c.currentView(), c.now()
		s := c.shardOf([]byte(row.CallID))
		s.lock(out)
		if s.proxy.Overdue(v, now, row, epoch, fsmNow) {
			n++
		}
		s.unlock(v, now)
		if n == overdueAtOnce {
			return
		}
	}
}
