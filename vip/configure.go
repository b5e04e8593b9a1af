package vip

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"holdline/vip/lease"
)

// leaseConfig is what the lease core needs of a configuration.
func leaseConfig(cfg *Config) (lease.Config, error) {
	profile, err := lease.ProfileNamed(string(cfg.Profile))
	if err != nil {
		return lease.Config{}, err
	}
	l := lease.Config{Epoch: cfg.Epoch, Profile: profile, Forced: cfg.Forced}
	for _, n := range cfg.Nodes {
		l.Nodes = append(l.Nodes, lease.Node{Number: n.Number, Voter: n.Voter})
	}
	for _, gr := range cfg.Groups {
		l.Groups = append(l.Groups, lease.Group{Number: gr.Number, Order: gr.Candidates, Floor: gr.Floor})
	}
	return l, nil
}

// configure puts a configuration into force; done is called once the interfaces are known and the fence stands. c is the core
// that gave it; the epoch is durable already.
func (g *guard) configure(c *ipcConn, cfg *Config, done func(error)) {
	if err := g.begin(c, cfg); err != nil {
		done(err)
		return
	}
	g.scanned = append(g.scanned, func() {
		if g.peer != c {
			done(errors.New("another core is connected"))
			return
		}
		c.configured, c.stalled = true, false
		c.beatAt = g.clock.now()
		g.serving(true, "")
		done(nil)
	})
	g.rescan()
}

func (g *guard) begin(c *ipcConn, cfg *Config) error {
	if g.peer != c {
		return errors.New("another core is connected")
	}
	if g.stopAt != 0 {
		return errors.New("the guard is shutting down")
	}
	leases, err := leaseConfig(cfg)
	if err != nil {
		return err
	}
	keys := make([]lease.Key, 0, len(cfg.Keys))
	for _, k := range cfg.Keys {
		keys = append(keys, lease.Key{ID: k.ID, Secret: k.Secret})
	}
	sealer, err := lease.NewSealer(keys...)
	if err != nil {
		return err
	}
	if err := g.bindHeartbeat(cfg); err != nil {
		return err
	}
	g.sealer = sealer
	now := g.clock.now()
	if g.core != nil && (g.coreNode != cfg.Self || g.cfg.Cluster != cfg.Cluster) {
		// This machine has joined another cluster, or this one anew.
		g.why = "this node has joined a cluster anew"
		g.do(g.core.Stop(now))
		g.core = nil
	}
	if g.core == nil {
		if err := g.newCore(cfg, leases, now); err != nil {
			return err
		}
	} else {
		actions, err := g.core.SetConfig(now, leases)
		g.do(actions)
		if err != nil {
			return fmt.Errorf("configure guard: %w", err)
		}
	}
	g.cfg = cfg
	g.hb.peers(cfg.Nodes, cfg.Self)
	clear(g.unsent) // nodes that are gone; of the others the next heartbeat tells
	g.setGroups(cfg)
	g.applyCarrier() // groups whose interfaces are yet to be found are not to be asked for
	return nil
}

func (g *guard) newCore(cfg *Config, leases lease.Config, now int64) error {
	var seed [16]byte
	_, _ = rand.Read(seed[:]) // never fails: crypto/rand
	core, err := lease.New(lease.Options{
		Node:        cfg.Self,
		Incarnation: binary.NativeEndian.Uint64(seed[:]) | 1, // not 0
		Seed:        binary.NativeEndian.Uint64(seed[8:]),
		Config:      leases,
	}, now)
	if err != nil {
		return fmt.Errorf("configure guard: %w", err)
	}
	g.core, g.coreNode = core, cfg.Self
	return nil
}

func (g *guard) bindHeartbeat(cfg *Config) error {
	port := cfg.Port
	if port == 0 {
		port = DefaultPort
	}
	addr := netip.AddrPortFrom(cfg.node(cfg.Self).Addr, port)
	if g.hb != nil && g.hb.addr == addr {
		return nil
	}
	hb, err := openHeartbeat(addr)
	if err != nil {
		return err
	}
	if g.hb != nil {
		g.hb.close()
	}
	g.hb = hb
	return nil
}

// setGroups takes the groups of a configuration over. The lease core has given up those that are gone already.
func (g *guard) setGroups(cfg *Config) {
	old := g.groups
	for _, gr := range old {
		if cfg.group(gr.number) == nil {
			gr.slot.free() // before any is claimed: with MaxGroups of them the new ones have no other
		}
	}
	g.groups = nil
	for i := range cfg.Groups {
		want := &cfg.Groups[i]
		var gr *group
		if j := slices.IndexFunc(old, func(o *group) bool { return o.number == want.Number }); j >= 0 {
			gr = old[j]
		} else {
			gr = &group{number: want.Number, slot: g.shm.claim(want.Number)}
		}
		gr.name = want.Name
		var vips []virtual
		gr.addrs = nil
		for _, p := range want.VIPs {
			v := virtual{prefix: p, addr: p.Addr()}
			if j := slices.IndexFunc(gr.vips, func(o virtual) bool { return o.prefix == p }); j >= 0 {
				v.iface, v.sought = gr.vips[j].iface, gr.vips[j].sought
			}
			vips = append(vips, v)
			gr.addrs = append(gr.addrs, v.addr)
		}
		for _, v := range gr.vips { // an address taken out of a group that is held
			if gr.held && !slices.Contains(gr.addrs, v.addr) {
				g.takeOff(v)
			}
		}
		gr.vips = vips
		g.groups = append(g.groups, gr)
	}
}

func (g *guard) takeOff(v virtual) {
	if g.fence != nil {
		if err := g.fence.w.del([]netip.Addr{v.addr}); err != nil {
			g.fenceFailed(err)
		}
	}
	g.addresses.put(v.addr, 0)
}
