package vip

import (
	"errors"
	"math"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

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
}

// virtual is one address of a group.
type virtual struct {
	prefix netip.Prefix
	addr   netip.Addr
	iface  int // index; 0: none
}

// announceAfter are the times after an acquisition at which the network is told where the addresses live: often at first, as
// a frame may be lost and some hosts ignore changes within a second of the last, then forever (see announceEvery).
func announceAfter(n int) (time.Duration, bool) {
	after := [...]time.Duration{
		0, 10 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond,
		1100 * time.Millisecond, 2200 * time.Millisecond, 5 * time.Second,
	}
	if n < len(after) {
		return after[n], true
	}
	return 0, false
}

// announceEvery is well below the 300 s after which switches forget an address.
const announceEvery = 30 * time.Second

// do carries out what the lease core asks for, in its order.
func (g *guard) do(actions []lease.Action) {
	for i := range actions {
		a := &actions[i]
		switch a.Kind {
		case lease.Send:
			g.sealed = g.sealer.Seal(g.sealed[:0], a.Packet)
			if err := g.hb.send(a.Node, g.sealed); err != nil {
				g.sendErr = err
			}
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
				g.alarm("group " + gr.label() + " was to be given away, but no node has taken it: it stays here")
			}
		}
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
	gr.held, gr.lastLost = false, reason
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

// fenceSlack is given up at the end of an element's life for the time between reading the clock and the kernel's.
const fenceSlack = time.Millisecond

// openFence lets the group's addresses through for what is left of the lease. If that took longer than the slack
// (the guard was held up in between) the element would outlast the lease: it is set again.
func (g *guard) openFence(gr *group) {
	if g.fence == nil {
		return
	}
	for range 3 {
		start := g.clock.now()
		err := g.fence.w.set(gr.addrs, time.Duration(gr.until-start)-fenceSlack)
		if err != nil {
			g.fenceFailed(err)
			return
		}
		if time.Duration(g.clock.now()-start) <= fenceSlack {
			return
		}
	}
}

func (g *guard) closeFence(gr *group) {
	if g.fence == nil {
		return
	}
	if err := g.fence.w.del(gr.addrs); err != nil {
		g.fenceFailed(err)
	}
}

// fenceFailed puts the fence back when somebody has flushed it, and lives without when it cannot be had.
func (g *guard) fenceFailed(err error) {
	if errors.Is(err, unix.ENOENT) {
		g.fenceGone()
		return
	}
	g.alarm(err.Error())
}

func (g *guard) fenceGone() {
	if g.fence == nil || g.cfg == nil {
		return
	}
	g.alarm("the nftables table \"" + fenceTable + "\" was removed by somebody else (a firewall reload?) and has been put back: " +
		"reload with rules that leave it alone")
	if err := g.installFence(); err != nil {
		g.alarm(err.Error())
	}
}

// keepAnnouncing makes the announcements that are due.
func (g *guard) keepAnnouncing() {
	now := g.clock.now()
	for _, gr := range g.groups {
		if gr.held && now >= gr.announceAt {
			g.announce(gr, now)
		}
	}
}

// announce tells the network where the addresses live, and sets the time of the next announcement.
func (g *guard) announce(gr *group, now int64) {
	if gr.announced == 0 {
		gr.announceAt = now
	}
	this, _ := announceAfter(gr.announced)
	gr.announced++
	if next, more := announceAfter(gr.announced); more {
		gr.announceAt += int64(next - this)
	} else {
		gr.announceAt = now + int64(announceEvery)
	}
	for _, v := range gr.vips {
		i := g.net.ifaces[v.iface]
		if i == nil || !i.ether {
			continue
		}
		var err error
		switch {
		case v.addr.Is4() && i.arp != nil:
			// Both kinds: some hosts heed only requests, others only replies.
			err = errors.Join(
				i.arp.send(appendARP(g.frame[:0], arpRequest, i.mac, v.addr, macAddr{}, v.addr)),
				i.arp.send(appendARP(g.frame[:0], arpReply, i.mac, v.addr, i.mac, v.addr)))
		case v.addr.Is6() && i.nd != nil:
			err = i.nd.send(appendNA(g.frame[:0], i.mac, v.addr))
		}
		// ENOBUFS: the fence has dropped it, or the queue is full; the next one comes.
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			g.alarm("announce " + v.addr.String() + " on " + i.name + ": " + err.Error())
		}
	}
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
