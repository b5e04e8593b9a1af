package sim

import "holdline/vip/lease"

// network carries packets between nodes. All faults are per direction.
type network struct {
	off      bool // nothing passes
	cut      [maxNodes][maxNodes]bool
	minDelay int64
	maxDelay int64
	loss     int // percent
	dup      int // percent
	replay   int // percent of sends that bring an old packet back

	free    []int32
	packets []lease.Packet
	sentAt  []int64    // true time at which packets[i] was sent
	queue   []delivery // heap by (at, order)
	order   uint32
	old     [oldPackets]int32 // packets kept for replay; -1: none
	oldAt   int
}

const (
	oldPackets = 96
	keepOld    = 10 // percent of packets that may come back
)

type delivery struct {
	at     int64
	order  uint32
	packet int32
	to     int8
}

func (n *network) reset() {
	*n = network{free: n.free[:0], packets: n.packets, sentAt: n.sentAt, queue: n.queue[:0]}
	for i := range n.packets {
		n.free = append(n.free, int32(i))
	}
	for i := range n.old {
		n.old[i] = -1
	}
}

// hold copies a packet into the pool.
func (n *network) hold(p *lease.Packet, sentAt int64) int32 {
	if len(n.free) == 0 {
		n.packets = append(n.packets, lease.Packet{})
		n.sentAt = append(n.sentAt, 0)
		n.free = append(n.free, int32(len(n.packets)-1))
	}
	i := n.free[len(n.free)-1]
	n.free = n.free[:len(n.free)-1]
	n.sentAt[i] = sentAt
	q := &n.packets[i]
	requests, grants, releases := q.Requests[:0], q.Grants[:0], q.Releases[:0]
	*q = *p
	q.Requests = append(requests, p.Requests...)
	q.Grants = append(grants, p.Grants...)
	q.Releases = append(releases, p.Releases...)
	return i
}

func (n *network) drop(i int32) { n.free = append(n.free, i) }

func (n *network) push(d delivery) {
	n.order++
	d.order = n.order
	n.queue = append(n.queue, d)
	i := len(n.queue) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !n.queue[i].before(n.queue[up]) {
			break
		}
		n.queue[i], n.queue[up] = n.queue[up], n.queue[i]
		i = up
	}
}

func (n *network) pop() delivery {
	top := n.queue[0]
	last := len(n.queue) - 1
	n.queue[0] = n.queue[last]
	n.queue = n.queue[:last]
	i := 0
	for {
		kid := 2*i + 1
		if kid >= last {
			return top
		}
		if kid+1 < last && n.queue[kid+1].before(n.queue[kid]) {
			kid++
		}
		if !n.queue[kid].before(n.queue[i]) {
			return top
		}
		n.queue[i], n.queue[kid] = n.queue[kid], n.queue[i]
		i = kid
	}
}

func (d delivery) before(o delivery) bool {
	if d.at != o.at {
		return d.at < o.at
	}
	return d.order < o.order
}

// send puts a packet on its way. What a cut or loss takes may still come back as a replay.
func (w *World) send(from int, p *lease.Packet) {
	n := &w.net
	to := int(p.To) - 1
	if to < 0 || to >= len(w.nodes) {
		return
	}
	w.stats.Packets++
	w.checkGrants(from, to, p)
	lost := n.off || n.cut[from][to] || n.loss > 0 && w.dice.percent(n.loss)
	if lost {
		if w.trace != nil {
			w.tracePacket("lost", from, p)
		}
	} else {
		w.deliverLater(n.hold(p, w.now), to)
		if w.trace != nil {
			w.tracePacket("", from, p)
		}
		if n.dup > 0 && w.dice.percent(n.dup) {
			w.deliverLater(n.hold(p, w.now), to)
		}
	}
	if n.replay == 0 {
		return
	}
	if w.dice.percent(keepOld) {
		if o := n.old[n.oldAt]; o >= 0 {
			n.drop(o)
		}
		n.old[n.oldAt] = n.hold(p, w.now)
		n.oldAt = (n.oldAt + 1) % oldPackets
	}
	if w.dice.percent(n.replay) {
		if o := n.old[w.dice.below(oldPackets)]; o >= 0 {
			q := &n.packets[o]
			if w.trace != nil {
				w.tracePacket("replayed", int(q.From)-1, q)
			}
			to := int(q.To) - 1
			// Before quiet sets in, replays find a way round cuts: news that a cut had taken may still come late.
			if !n.off && !(w.quiet && n.cut[q.From-1][to]) {
				w.deliverLater(n.hold(&n.packets[o], n.sentAt[o]), to)
			}
		}
	}
}

func (w *World) deliverLater(packet int32, to int) {
	n := &w.net
	at := w.now + n.minDelay
	if n.maxDelay > n.minDelay {
		at += int64(w.dice.next()>>1) % (n.maxDelay - n.minDelay)
	}
	n.push(delivery{at: at, packet: packet, to: int8(to)})
}

// deliver hands the next packet to its receiver, or leaves it in the socket of a frozen one.
func (w *World) deliver() {
	d := w.net.pop()
	nd := &w.nodes[d.to]
	switch {
	case !nd.up || nd.asleep:
		w.net.drop(d.packet)
	case nd.frozen(w.now):
		if len(nd.inbox) < inboxSize {
			nd.inbox = append(nd.inbox, d.packet)
		} else {
			w.net.drop(d.packet)
		}
	default:
		w.receive(int(d.to), d.packet)
	}
}

func (w *World) receive(i int, packet int32) {
	nd := &w.nodes[i]
	w.stats.Calls++
	p := &w.net.packets[packet]
	local := nd.clock.at(w.now)
	if w.wire != nil {
		w.datagram = w.wire.Seal(w.datagram[:0], p)
		if err := w.wire.Open(&w.wired, w.datagram); err != nil {
			w.fail("packet of n%d does not open: %v", p.From, err)
			return
		}
		p = &w.wired
	}
	before := nd.core.Heard(p.From)
	acts := nd.core.Receive(local, p)
	w.checkStale(i, before != nd.core.Heard(p.From), p)
	if from := p.From - 1; w.net.sentAt[packet] > nd.heard[from] {
		nd.heard[from] = w.net.sentAt[packet]
	}
	w.net.drop(packet)
	w.carryOut(i, acts)
}
