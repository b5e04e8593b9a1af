package vip

import (
	"math"
	"net/netip"
	"time"

	"holdline/vip/lease"
)

// group is a VIP group as the loop sees it.
type group struct {
	number uint32
	name   string
	slot   *shmGroup
	vips   []virtual
	addrs  []netip.Addr // of vips

	held      bool
	ballot    uint64
	until     int64 // guard's clock
	heldSince int64
	sinceMono int64

	owner       uint32
	ownerBallot uint64
	other       uint32 // the last owner that was another node

	missing    int   // addresses asked for and not up yet
	announced  int   // announcements made, index into announceAfter
	announceAt int64 // when the next one is due
	defendedAt int64

	fit       bool   // carrier everywhere
	whyNot    string // not fit: why
	lastLost  string
	lastMove  time.Duration
	destroyed int
	unwanted  int // offers in a row that no node has taken
}

// toldUnwanted is how many such offers are an alarm. Who wants a group moved asks again (a node that has just come back takes none for a
// moment), so one says nothing.
const toldUnwanted = 4

// virtual is one address of a group.
type virtual struct {
	prefix netip.Prefix
	addr   netip.Addr
	iface  int  // index; 0: none
	sought bool // its interface has been looked for
}

// do carries out what the lease core asks for, in its order.
func (g *guard) do(actions []lease.Action) {
	for i := range actions {
		a := &actions[i]
		switch a.Kind {
		case lease.Send:
			g.sealed = g.sealer.Seal(g.sealed[:0], a.Packet)
			g.sent(a.Node, g.hb.send(a.Node, g.sealed))
		case lease.Acquired:
			g.acquired(a)
		case lease.Renewed:
			g.renewed(a)
		case lease.Lost:
			g.lose(a)
		case lease.OwnerSeen:
			g.ownerSeen(a.Group, a.Node, a.Ballot)
		case lease.EpochReported:
			g.tell(ConfigEpoch{Node: a.Node, Epoch: a.Epoch})
		case lease.ReleaseFailed:
			if gr := g.find(a.Group); gr != nil {
				g.log.Info("no node has taken the group", "group", gr.number, "vip", gr.label(), "offered", a.Node)
				if gr.unwanted++; gr.unwanted < toldUnwanted {
					continue
				}
				g.alarm("group " + gr.label() + " was to be given away, but no node has taken it: it stays here")
			}
		}
	}
}

// sent notes that a heartbeat could not be sent to a node, until one can.
func (g *guard) sent(node uint32, err error) {
	if err != nil {
		g.unsent[node] = err
	} else if len(g.unsent) > 0 {
		delete(g.unsent, node)
	}
}

// acquired opens the fence, puts the addresses up, tells the network, and then the core.
func (g *guard) acquired(a *lease.Action) {
	gr := g.find(a.Group)
	if gr == nil {
		return
	}
	gr.held, gr.ballot, gr.until = true, a.Ballot, a.Until
	gr.owner, gr.ownerBallot = g.cfg.Self, a.Ballot
	g.openFence(gr)
	now := g.clock.now()
	gr.heldSince, gr.sinceMono = now, g.clock.monotonic(now, now)
	// Announced when the addresses are up.
	gr.missing, gr.announced, gr.announceAt = len(gr.vips), 0, math.MaxInt64
	gr.lastMove = 0
	for _, v := range gr.vips {
		g.addresses.put(v.addr, v.iface)
	}
	g.publish(gr)
	g.tell(Acquired{Group: gr.number, Ballot: gr.ballot})
	g.log.Info("group acquired", "group", gr.number, "vip", gr.label(), "epoch", gr.ballot)
}

// addressUp goes on with an acquisition: an address is up, or could not be put up.
func (g *guard) addressUp(a netip.Addr, err error) {
	if err != nil {
		g.alarm(err.Error())
	}
	gr := g.groupOf(a)
	if gr == nil || !gr.held {
		return
	}
	if gr.missing > 0 {
		gr.missing--
	}
	if gr.missing > 0 {
		return
	}
	g.announceFrom(gr, g.clock.now())
	if heard := g.heard(gr.other); heard != 0 && gr.lastMove == 0 {
		gr.lastMove = time.Duration(g.clock.now() - heard)
		g.log.Info("group serves", "group", gr.number, "vip", gr.label(), "move", gr.lastMove)
	}
}

// announceFrom begins to announce anew.
func (g *guard) announceFrom(gr *group, now int64) {
	gr.announced, gr.announceAt = 0, now
	g.announce(gr, now)
}

func (g *guard) renewed(a *lease.Action) {
	gr := g.find(a.Group)
	if gr == nil || !gr.held {
		return
	}
	gr.until = a.Until
	g.openFence(gr)
	g.publish(gr)
}

// lose closes the fence before anything else; the lease core sends the release, if any, after it.
func (g *guard) lose(a *lease.Action) {
	gr := g.find(a.Group)
	if gr == nil || !gr.held {
		return
	}
	reason := a.Reason.String()
	if a.Reason == lease.NotServing || a.Reason == lease.Dropped {
		reason = g.why
	} else if a.Reason == lease.NoCarrier {
		reason = gr.whyNot
	}
	g.drop(gr, reason)
}

func (g *guard) drop(gr *group, reason string) {
	gr.held, gr.lastLost, gr.unwanted = false, reason, 0
	g.closeFence(gr)
	for _, v := range gr.vips {
		g.addresses.put(v.addr, 0)
	}
	if gr.owner == g.cfg.Self {
		gr.owner = 0
	}
	g.publish(gr)
	g.tell(Lost{Group: gr.number, Ballot: gr.ballot, Reason: reason})
	g.log.Info("group lost", "group", gr.number, "vip", gr.label(), "epoch", gr.ballot, "reason", reason)
	// May be many and slow: beside the loop.
	go func(addrs []netip.Addr) {
		n, err := destroyConnections(addrs)
		g.post(func() {
			gr.destroyed += n
			if err != nil {
				g.alarm(err.Error())
			}
		})
	}(gr.addrs)
}

func (g *guard) ownerSeen(number, node uint32, ballot uint64) {
	gr := g.find(number)
	if gr == nil || gr.held && node != g.cfg.Self || gr.owner == node && gr.ownerBallot == ballot {
		return
	}
	gr.owner, gr.ownerBallot = node, ballot
	if node != 0 && node != g.cfg.Self {
		gr.other = node
	}
	g.publish(gr)
	if node != g.cfg.Self {
		g.tell(Owner{Group: number, Node: node, Ballot: ballot})
	}
}

// publish writes the group to shared memory.
func (g *guard) publish(gr *group) {
	v := groupView{owner: gr.owner, ownerBallot: gr.ownerBallot}
	if gr.held {
		v.ballot, v.since, v.until = gr.ballot, gr.sinceMono, g.clock.monotonic(gr.until, g.clock.now())
	}
	gr.slot.write(v)
}

func (g *guard) find(number uint32) *group {
	for _, gr := range g.groups {
		if gr.number == number {
			return gr
		}
	}
	return nil
}

// label names a group for people.
func (gr *group) label() string {
	if len(gr.addrs) == 0 {
		return gr.name
	}
	return gr.addrs[0].String()
}

// heard is when a node was last heard, 0: never.
func (g *guard) heard(node uint32) int64 {
	for _, p := range g.core.Peers(g.clock.now(), nil) {
		if p.Node == node {
			return p.Heard
		}
	}
	return 0
}
