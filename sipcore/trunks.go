package sipcore

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/beat"
	"holdline/sipcore/proxy"
	"holdline/sipcore/transport"
)

const (
	trunkStep   = 100 * time.Millisecond // between looks at which member is to be registered
	trunkAtOnce = 10                     // members registered a step
	trunkSpread = 300 * time.Millisecond // within which those of a group that was taken over begin
	trunkEnd    = 30 * time.Second       // for unregistering one
)

// trunks keeps pool members registered (proxy.Trunk), while this node owns the groups that they are called from. One goroutine uses it, but for told.
type trunks struct {
	core *Core
	out  *transport.Sender
	of   map[gateway]*trunking

	config *fsm.Config // that wanted is of
	wanted []*pb.Member

	mu   sync.Mutex
	told map[gateway]Trunk // those of groups that this node owns
}

// trunking is one member's trunk.
type trunking struct {
	*proxy.Trunk
	member *pb.Member // as it is, or is to be, registered
	epoch  uint64     // of the lease under which it was begun; 0: this node does not own the group
	stop   int64      // it is being unregistered, until then at most; 0: it is not
	seen   bool       // this step has found it in the configuration
	logged string     // what the log has of it
}

// Trunk is how a pool member's registration stands.
type Trunk struct {
	Registered bool
	Left       time.Duration // for how long, unless it is refreshed
	Failure    string        // why the last REGISTER was of no use; "": it was, or none has an answer yet
}

// Trunk tells how the registration with a pool member stands; false: this node does not keep it, because it is not to be registered, or another node owns its group.
func (c *Core) Trunk(pool, member string) (Trunk, bool) {
	c.trunks.mu.Lock()
	defer c.trunks.mu.Unlock()
	t, ok := c.trunks.told[gateway{pool, member}]
	return t, ok
}

// keepRegistered runs until the core is closed.
func (c *Core) keepRegistered() {
	t := &c.trunks
	t.core, t.out, t.of = c, c.udp.NewSender(), map[gateway]*trunking{}
	beat.Every(c.ctx, trunkStep, func() { t.step(c.currentView(), c.now()) })
}

// step registers those whose turn it is.
func (t *trunks) step(v *proxy.View, now int64) {
	t.configure(v.Config)
	if len(t.wanted)+len(t.of) == 0 {
		return
	}
	for _, m := range t.wanted {
		t.want(m, now)
	}
	budget := trunkAtOnce
	ending := t.ending()
	told := make(map[gateway]Trunk, len(t.of))
	for k, x := range t.of {
		t.end(v, now, k, x, &budget)
		if t.of[k] != x || x.stop != 0 || !t.held(v, now, x) {
			continue
		}
		if now >= x.State().Next && budget > 0 && !slices.ContainsFunc(ending, func(m *pb.Member) bool { return sameTrunk(m, x.member) }) {
			budget--
			t.with(v, now, x, func(s *proxy.Shard) { s.Register(v, now, x.Trunk, x.member, x.epoch) })
		}
		told[k] = t.tell(now, x)
	}
	t.out.Flush()
	t.mu.Lock()
	t.told = told
	t.mu.Unlock()
}

// configure finds out who is to be registered.
func (t *trunks) configure(c *fsm.Config) {
	if c == t.config {
		return
	}
	t.config, t.wanted = c, nil
	for _, p := range c.Pools() {
		for _, m := range p.Members {
			if m.Register && m.User != "" && c.Group(m.Group) != nil {
				t.wanted = append(t.wanted, m)
			}
		}
	}
}

// want sees to a member's trunk. One that is to be registered elsewhere, or as somebody else, is unregistered first: the same Contact must not be taken back after it
// was registered anew.
func (t *trunks) want(m *pb.Member, now int64) {
	k := gateway{m.Pool, m.Name}
	x := t.of[k]
	if x == nil {
		id := "trunk-" + strconv.FormatUint(rand.Uint64(), 16) + strconv.FormatUint(rand.Uint64(), 16)
		x = &trunking{Trunk: proxy.NewTrunk(id), member: m}
		t.of[k] = x
	}
	if x.stop != 0 || !sameTrunk(x.member, m) {
		return
	}
	x.seen = true
	if x.member != m {
		if x.member.RegisterS != m.RegisterS || x.member.Realm != m.Realm || !bytes.Equal(x.member.SealedPassword, m.SealedPassword) {
			x.epoch = 0 // begin anew
		}
		x.member = m
	}
}

// sameTrunk reports whether two rows of a member are registered in the same place, as the same, by the same VIP.
func sameTrunk(a, b *pb.Member) bool {
	return a.Address == b.Address && a.Transport == b.Transport && a.User == b.User && a.Group == b.Group && a.Vip == b.Vip
}

// ending is what is being unregistered: what would be registered there as the same waits for that.
func (t *trunks) ending() (out []*pb.Member) {
	for _, x := range t.of {
		if x.stop != 0 {
			out = append(out, x.member)
		}
	}
	return out
}

// end unregisters a trunk that is not wanted any more, if this node owns its group and has registered it, and forgets it then. It takes its share of the budget.
func (t *trunks) end(v *proxy.View, now int64, k gateway, x *trunking, budget *int) {
	if x.seen {
		x.seen = false
		return
	}
	if x.stop == 0 && *budget == 0 {
		return
	}
	same := func(m *pb.Member) bool { return sameTrunk(m, x.member) }
	epoch, _, held := t.core.opt.Owners.Lease(x.member.Group)
	s := x.State()
	switch {
	case !held || epoch != x.epoch || x.stop == 0 && s.Until <= now && s.Failure != "" && !s.Silent:
	case x.stop == 0 && slices.ContainsFunc(t.wanted, same): // another member has the same account: its registration is this one
	case x.stop == 0:
		*budget--
		x.stop = now + int64(trunkEnd)
		t.with(v, now, x, func(p *proxy.Shard) { p.Unregister(v, now, x.Trunk, x.member, epoch) })
		return
	case !s.Ended && now < x.stop:
		return
	case s.Failure != "":
		t.core.log.Warn("a gateway could not be told that we register with it no more: what it has of us ends by itself", attrs(x.member, "reason", s.Failure)...)
	default:
		t.core.log.Info("unregistered from a gateway", attrs(x.member)...)
	}
	t.drop(v, now, x)
	delete(t.of, k)
}

// held reports whether this node owns the group of a trunk, and begins with it if it has just got it: at once, but not with all of them at the same moment.
func (t *trunks) held(v *proxy.View, now int64, x *trunking) bool {
	epoch, _, held := t.core.opt.Owners.Lease(x.member.Group)
	switch {
	case !held:
		if x.epoch != 0 {
			x.epoch, x.logged = 0, ""
			t.drop(v, now, x)
		}
	case epoch != x.epoch:
		x.epoch = epoch
		next := now
		if len(t.of) > 1 {
			next += rand.Int64N(int64(trunkSpread))
		}
		t.with(v, now, x, func(s *proxy.Shard) { s.Begin(x.Trunk, next) })
	}
	return held
}

// drop forgets what a trunk has told.
func (t *trunks) drop(v *proxy.View, now int64, x *trunking) {
	t.with(v, now, x, func(s *proxy.Shard) { s.Begin(x.Trunk, now) })
	t.core.health.ForgetRegister(x.member.Pool, x.member.Name)
}

// with does something to a trunk, in its shard.
func (t *trunks) with(v *proxy.View, now int64, x *trunking, fn func(*proxy.Shard)) {
	s := t.core.shardOf([]byte(x.CallID()))
	s.lock(t.out)
	fn(s.proxy)
	s.unlock(v, now)
}

// tell logs what has changed about a trunk, once, and is what there is to say of it.
func (t *trunks) tell(now int64, x *trunking) Trunk {
	s := x.State()
	out := Trunk{Registered: s.Until > now, Failure: s.Failure}
	if out.Registered {
		out.Left = time.Duration(s.Until - now)
	}
	state := s.Failure
	if state == "" && out.Registered {
		state = "registered"
	}
	if state == x.logged || state == "" {
		return out
	}
	x.logged = state
	switch {
	case s.Failure == "":
		t.core.log.Info("registered with a gateway", attrs(x.member, "for", out.Left.Round(time.Second))...)
	case s.Silent:
		t.core.log.Warn("a gateway cannot be registered with: it is tried again within half a minute", attrs(x.member, "reason", s.Failure)...)
	default:
		t.core.log.Warn("a gateway refuses our registration", attrs(x.member, "reason", s.Failure, "again_in", time.Duration(s.Next-now).Round(time.Second))...)
	}
	return out
}

func attrs(m *pb.Member, more ...any) []any {
	return append([]any{"pool", m.Pool, "member", m.Name, "address", m.Address, "user", m.User}, more...)
}
