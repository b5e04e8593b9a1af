package sipcore

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/transport"
)

// Phones and gateways whose connections went with a group's last owner are told so (see transport.Tickler). The table of registrations is
// read anew for each round, so that only those are told again that have not come back: the answer to the first may have gone to the last owner's
// hardware address, which a neighbour keeps for up to a second (arp_notify, locktime), and a kernel answers such an ACK only
// each half second (tcp_invalid_ratelimit).
var tickleRounds = [...]time.Duration{0, 1200 * time.Millisecond, 5 * time.Second}

const (
	tickleRate  = 5000 // a second, from this node for one group: 2 Mbit/s
	tickleEvery = 10 * time.Millisecond
)

// tickles counts ACKs to peers of connections that are gone.
type tickles struct{ sent, failed atomic.Uint64 }

// silentFlow is a connection that a peer may still believe in. Compact, for there may be hundreds of thousands.
type silentFlow struct {
	remote netip.AddrPort
	port   uint16 // on the VIP
	vip    uint8
	proto  uint8
}

// flow is what the connection is told from others by.
func (f silentFlow) flow(group uint32) transport.Flow {
	return transport.Flow{Group: group, VIP: f.vip, Proto: pb.Transport(f.proto), Remote: f.remote}
}

func (f silentFlow) compare(g silentFlow) int {
	if c := cmp.Compare(f.vip, g.vip); c != 0 {
		return c
	}
	if c := cmp.Compare(f.port, g.port); c != 0 {
		return c
	}
	return f.remote.Compare(g.remote)
}

// tickle tells the peers of all stream connections that a group's last owner had.
func (c *Core) tickle(group uint32, epoch uint64) {
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, at := range tickleRounds {
		if !c.wait(timer, time.Until(began.Add(at))) {
			return
		}
		flows := c.silentFlows(group)
		sent, err := c.tickleRound(group, epoch, flows)
		if err != nil {
			c.log.Warn("phones are not told that their connections are gone", "group", group, "err", err)
			return
		}
		if len(flows) > 0 {
			c.log.Info("told phones that their connections are gone", "group", group, "epoch", epoch, "round", i+1, "sent", sent, "of", len(flows))
		}
	}
}

// wait waits unless the core is closed.
func (c *Core) wait(t *time.Timer, d time.Duration) bool {
	t.Reset(d)
	select {
	case <-t.C:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// silentFlows lists the stream connections of a group that registrations and calls go by, and those that gateways call over, that this node does not have.
func (c *Core) silentFlows(group uint32) []silentFlow {
	var out []silentFlow
	add := func(f fsm.Flow) {
		if f.Group == group && f.Proto != pb.Transport_UDP && f.Conn != 0 && f.Remote.IsValid() {
			remote := netip.AddrPortFrom(f.Remote.Addr().Unmap(), f.Remote.Port())
			out = append(out, silentFlow{remote: remote, port: cmp.Or(f.Port, transport.DefaultPort), vip: f.VIP, proto: uint8(f.Proto)})
		}
	}
	c.opt.Machine.EachBinding(func(b *fsm.Binding) { add(b.Flow) })
	c.heardConns.each(c.now(), add)
	c.opt.Machine.Calls(func(row *fsm.Call) bool {
		if row.Active() {
			add(row.Caller)
			for i := range row.Legs {
				if t := row.Legs[i].Target; t != nil {
					add(t.Flow)
				}
			}
		}
		return c.ctx.Err() == nil
	})
	slices.SortFunc(out, silentFlow.compare)
	out = slices.CompactFunc(out, func(a, b silentFlow) bool { return a.compare(b) == 0 })
	return slices.DeleteFunc(out, func(f silentFlow) bool { return c.streams.Has(f.flow(group)) })
}

var errGroupLost = errors.New("the group is another node's again")

// tickleRound sends one ACK to each peer, paced, as long as this node owns the group under epoch. Whoever has connected meanwhile is left alone.
func (c *Core) tickleRound(group uint32, epoch uint64, flows []silentFlow) (sent int, err error) {
	ticklers := map[uint8]*transport.Tickler{}
	defer func() {
		for _, t := range ticklers {
			err = errors.Join(err, t.Close())
		}
	}()
	const batch = int(tickleRate * tickleEvery / time.Second)
	timer := time.NewTimer(tickleEvery)
	defer timer.Stop()
	for i, f := range flows {
		if i%batch == 0 {
			if i > 0 && !c.wait(timer, tickleEvery) {
				return sent, nil
			}
			if now, _, ok := c.opt.Owners.Lease(group); !ok || now != epoch {
				return sent, errGroupLost
			}
		}
		t := ticklers[f.vip]
		if t == nil {
			addr, ok := c.vipAddr(group, f.vip)
			if !ok {
				continue // it was removed from the group
			}
			if t, err = transport.NewTickler(addr); err != nil {
				return sent, err
			}
			ticklers[f.vip] = t
		}
		if c.streams.Has(f.flow(group)) {
			continue
		}
		if t.Tickle(f.port, f.remote) != nil { // no route, or the fence: as good as lost on the way
			c.tickles.failed.Add(1)
			continue
		}
		c.tickles.sent.Add(1)
		sent++
	}
	return sent, nil
}

// vipAddr is the address of a group's VIP.
func (c *Core) vipAddr(group uint32, vip uint8) (netip.Addr, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.groups {
		if g := &c.groups[i]; g.Number == group && int(vip) < len(g.VIPs) {
			return g.VIPs[vip].Addr, true
		}
	}
	return netip.Addr{}, false
}
