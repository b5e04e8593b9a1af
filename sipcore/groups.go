package sipcore

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"holdline/fsm"
	"holdline/sipcore/proxy"
	"holdline/sipcore/transport"
)

// SetGroups opens sockets on the VIPs of groups that are new and closes those of groups that are gone. A VIP that
// cannot be opened is left out and named in the error (transport.Unopened); the others are served.
func (c *Core) SetGroups(groups []Group) error { return c.setGroups(groups, groups) }

// setGroups serves groups and listens on the VIPs of listen.
func (c *Core) setGroups(groups, listen []Group) error {
	eps, streams := endpoints(listen)
	c.mu.Lock()
	c.groups = groups
	c.makeView(c.opt.Machine.Config())
	c.mu.Unlock()
	if err := errors.Join(c.udp.SetEndpoints(eps), c.streams.SetEndpoints(streams)); err != nil {
		return fmt.Errorf("serve SIP on the VIPs: %w", err)
	}
	return nil
}

// currentView is the view of the machine's present configuration.
func (c *Core) currentView() *proxy.View {
	v := c.view.Load()
	if cfg := c.opt.Machine.Config(); v.Config != cfg {
		return c.newView(cfg)
	}
	return v
}

func (c *Core) newView(cfg *fsm.Config) *proxy.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.view.Load(); v != nil && v.Config.Version >= cfg.Version && v.Config == cfg {
		return v
	}
	return c.makeView(cfg)
}

// makeView needs c.mu.
func (c *Core) makeView(cfg *fsm.Config) *proxy.View {
	v, ok := proxy.NewView(cfg, c.groups, c.fallback)
	if !ok && len(c.groups) > 0 {
		c.log.Error("the cluster has no keys for branches and routes: calls will not outlive this process; run holdline doctor")
	}
	c.view.Store(v)
	return v
}

// groupNumbers are the VIP groups that are served.
func (c *Core) groupNumbers() []uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := make([]uint32, 0, len(c.groups))
	for i := range c.groups {
		n = append(n, c.groups[i].Number)
	}
	return n
}

// acquisition tells how this node came to own a group.
type acquisition struct {
	epoch   uint64
	at      int64 // in the core's time
	settled bool  // its calls have been taken up
	leaves  int64 // until when datagrams for it are the next owner's: see HandOver
}

// settleTime is how long messages wait for a group's calls to be taken up. Without a raft leader they cannot be.
const settleTime = int64(time.Second)

// GroupAcquired tells that this node has become the owner of group under epoch. The caller submits
// Takeover(group, epoch); the core serves the group at once, and takes up its ringing calls when that is applied.
func (c *Core) GroupAcquired(group uint32, epoch uint64) {
	c.setAcquired(group, func(a acquisition) acquisition {
		return acquisition{epoch: epoch, at: c.now(), settled: a.settled && a.epoch == epoch}
	})
	c.log.Info("serving a VIP group", "group", group, "epoch", epoch)
}

// acquisition is how this node came to own a group, or came to lose it; false: it never had it. The lease counts from the moment that it is in shared memory: the guard's
// word of it comes through queues, and datagrams, and frames that waited for an owner, do not wait for that.
func (c *Core) acquisition(group uint32) (acquisition, bool) {
	a, ok := (*c.acquired.Load())[group]
	if epoch, since, held := c.opt.Owners.Lease(group); held && (!ok || a.epoch != epoch) {
		return acquisition{epoch: epoch, at: c.now() - (transport.Monotonic() - since)}, true
	}
	return a, ok
}

// takenUp reports whether the calls of a group are known here.
func (c *Core) takenUp(group uint32) bool {
	a, ok := c.acquisition(group)
	return !ok || a.settled
}

// settled reports whether the calls of a group need not be waited for.
func (c *Core) settled(group uint32) bool {
	a, ok := c.acquisition(group)
	return !ok || a.settled || c.now()-a.at > settleTime
}

// GroupLost drops all transactions of group without sending anything.
func (c *Core) GroupLost(group uint32) {
	// When the guard has died, its lease is good for some milliseconds more. What still comes in meets no transactions, and must not
	// be told so.
	c.setAcquired(group, func(a acquisition) acquisition {
		return acquisition{epoch: a.epoch, at: c.now()}
	})
	for _, s := range c.shards {
		s.mu.Lock()
		s.proxy.DropGroup(group)
		s.mu.Unlock()
	}
	c.streams.DropGroup(group)
	c.EnterCalls() // this node alone knows of those that were to be recorded after the fact; the next owner takes up what it hears of
	c.log.Info("no longer serving a VIP group", "group", group)
}

func (c *Core) setAcquired(group uint32, change func(acquisition) acquisition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := maps.Clone(*c.acquired.Load())
	m[group] = change(m[group])
	c.acquired.Store(&m)
}
