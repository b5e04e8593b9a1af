package lease

import "holdline/vip/lease/internal/broken"

// What the caller tells the core, other than packets and time.

// SetHealth sets this node's health; 0 is healthy. It ranks candidates; an owner yields only to a healthier node that accepts.
func (c *Core) SetHealth(now int64, health uint32) []Action {
	c.begin(now)
	c.health = health
	return c.finish()
}

// SetCarrier says whether a group's networks are connected. Group 0: all groups. Without carrier a group is dropped at
// once and not asked for. Initially true.
func (c *Core) SetCarrier(now int64, group uint32, ok bool) []Action {
	c.begin(now)
	if group == 0 {
		c.allFit.carrier = ok
	}
	for i := range c.groups {
		if g := &c.groups[i]; group == 0 || g.number == group {
			g.fit.carrier = ok
			c.checkFit(i, NoCarrier)
		}
	}
	return c.finish()
}

// SetServing says whether the core of this node can serve a group. Group 0: all groups. Otherwise as SetCarrier.
// Initially false: the guard says so when the SIP core is there.
func (c *Core) SetServing(now int64, group uint32, ok bool) []Action {
	c.begin(now)
	if group == 0 {
		c.allFit.serving = ok
	}
	for i := range c.groups {
		if g := &c.groups[i]; group == 0 || g.number == group {
			g.fit.serving = ok
			c.checkFit(i, NotServing)
		}
	}
	return c.finish()
}

// Drop gives a group (0: all) up at once, whether or not another node takes it. This node ranks last for it for five seconds.
func (c *Core) Drop(now int64, group uint32) []Action {
	c.begin(now)
	for i := range c.groups {
		if group == 0 || c.groups[i].number == group {
			c.giveUp(i, Dropped)
		}
	}
	return c.finish()
}

// Stop gives all groups up and asks for none any more (shutdown). It goes on granting until the caller stops calling.
func (c *Core) Stop(now int64) []Action {
	c.begin(now)
	c.stopped = true
	for i := range c.groups {
		c.giveUp(i, Dropped)
	}
	return c.finish()
}

// Suspended says that the machine has slept (BOOTTIME jumped against MONOTONIC): everything is dropped, and the Core is
// mute as after a restart.
func (c *Core) Suspended(now int64) []Action {
	c.begin(now)
	if c.broken.Has(broken.IgnoreSuspend) {
		return c.finish()
	}
	for i := range c.groups {
		c.giveUp(i, Suspend)
	}
	c.mute()
	c.flush = true
	return c.finish()
}
