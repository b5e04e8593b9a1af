package sipcore

import (
	"maps"
	"math/rand/v2"
	"strconv"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/beat"
	"holdline/sipcore/proxy"
	"holdline/sipcore/transport"
)

const (
	probeStep   = 500 * time.Millisecond // between looks at which gateway is to be asked
	probeAtOnce = 10                     // gateways asked a step
	probeAgain  = 5 * time.Second        // between two questions to one that is down, at most
)

// prober asks the gateways of all pools whether they are there (proxy.Probe), while this node owns a group to ask from. One goroutine
// uses it.
type prober struct {
	core *Core
	out  *transport.Sender
	of   map[gateway]*probing

	config *fsm.Config     // that routed is of
	routed map[string]bool // pools that are called: those of routes
}

type gateway struct{ pool, member string }

// probing is one gateway's turn.
type probing struct {
	member *pb.Member // a row is never changed: another one is another gateway
	next   int64      // when it is asked again, in the core's time
	down   bool       // as the log has it
	seen   bool       // this round has found it in the configuration
}

// probeGateways runs a prober until the core is closed.
func (c *Core) probeGateways() {
	p := &prober{core: c, out: c.udp.NewSender(), of: map[gateway]*probing{}}
	beat.Every(c.ctx, probeStep, func() { p.step(c.currentView(), c.now()) })
}

// step asks the gateways whose turn it is.
func (p *prober) step(v *proxy.View, now int64) {
	every, asked := int64(probeEvery(v)), 0
	p.configure(v.Config)
	for name := range p.routed {
		for _, m := range v.Config.Pool(name).Members {
			g := p.gateway(m)
			p.tell(g, now)
			if every <= 0 || now < g.next || asked >= probeAtOnce {
				continue
			}
			asked++
			wait := every
			if g.down {
				wait = min(every, int64(probeAgain))
			}
			g.next = now + wait
			p.ask(v, now, m)
		}
	}
	for k, g := range p.of {
		if !g.seen {
			p.core.health.Forget(k.pool, k.member)
			delete(p.of, k)
		}
		g.seen = false
	}
	p.out.Flush()
}

// configure finds out which pools are called. The others are there for who may call.
func (p *prober) configure(c *fsm.Config) {
	if c == p.config {
		return
	}
	p.config, p.routed = c, map[string]bool{}
	c.Routes(func(r *pb.Route) bool {
		p.routed[r.Pool] = c.Pool(r.Pool) != nil
		return true
	})
	maps.DeleteFunc(p.routed, func(_ string, there bool) bool { return !there })
}

// gateway finds a member's turn; a new one has it at once.
func (p *prober) gateway(m *pb.Member) *probing {
	k := gateway{m.Pool, m.Name}
	g := p.of[k]
	if g == nil || g.member != m {
		if g != nil && g.member.Address+g.member.Transport != m.Address+m.Transport {
			p.core.health.Forget(m.Pool, m.Name)
		}
		g = &probing{member: m}
		p.of[k] = g
	}
	g.seen = true
	return g
}

// tell logs that a gateway is down, or is back, however that was found out.
func (p *prober) tell(g *probing, now int64) {
	m := g.member
	h := p.core.health.Gateway(m.Pool, m.Name, now)
	if h.Down == g.down {
		return
	}
	g.down = h.Down
	if h.Down {
		p.core.log.Warn("a gateway is taken for down (silent, closed, or 503): it is tried after the others of its pool", "pool", m.Pool, "member", m.Name, "address", m.Address)
		return
	}
	p.core.log.Info("a gateway is taken for up again", "pool", m.Pool, "member", m.Name, "address", m.Address)
}

// ask has a gateway asked from a group that this node owns; without one nothing is found out, and nobody is called.
func (p *prober) ask(v *proxy.View, now int64, m *pb.Member) {
	c := p.core
	id := "probe-" + strconv.FormatUint(rand.Uint64(), 16) + strconv.FormatUint(rand.Uint64(), 16)
	for _, group := range c.groupNumbers() {
		epoch, _, ok := c.opt.Owners.Lease(group)
		if !ok {
			continue
		}
		s := c.shardOf([]byte(id))
		s.lock(p.out)
		asked := s.proxy.Probe(v, now, group, epoch, m, id)
		s.unlock(v, now)
		if asked {
			return
		}
	}
}

func probeEvery(v *proxy.View) time.Duration {
	return time.Duration(v.Config.SettingInt(proxy.SettingProbe, proxy.ProbeEvery)) * time.Second
}

// Gateway is how a pool member looks from this node. An answer of long ago, before this node ceased to ask, is none.
func (c *Core) Gateway(pool, member string) proxy.Gateway {
	g := c.health.Gateway(pool, member, c.now())
	every := probeEvery(c.currentView())
	g.Answered = g.Registers || g.Answered && g.Ago < 3*every
	g.Silent = g.Silent && every > 0
	return g
}
