package sim

import "holdline/vip/lease"

// openFence opens a node's fence until its lease ends, or renews it. The kernel closes it by itself, a little late at worst.
func (w *World) openFence(i, g int, a *lease.Action) {
	nd := &w.nodes[i]
	local := nd.clock.at(w.now)
	until := a.Until
	if w.setup.FenceFromNow {
		until = local + w.setup.Profile.Grant/10*8
	}
	if until <= local {
		return // the guard was held up: nothing is left of this lease
	}
	if w.setup.FenceSlack > 0 {
		until += int64(w.dice.next()>>1) % w.setup.FenceSlack
	}
	nd.fence[g] = until
	w.checkFence(i, g)
}

func (w *World) open(i, g int) bool {
	nd := &w.nodes[i]
	return nd.fence[g] != 0 && !nd.asleep && nd.clock.at(w.now) < nd.fence[g]
}

// checkFence is the safety oracle. A fence is opened only here, so looking at the others in this moment finds every overlap.
func (w *World) checkFence(i, g int) {
	if !w.open(i, g) {
		return
	}
	for j := range w.nodes {
		if j != i && w.open(j, g) {
			w.fail("two owners of g%d: n%d, and n%d for another %s", g+1, i+1, j+1,
				stamp(w.nodes[j].clock.when(w.nodes[j].fence[g])-w.now))
		}
	}
}

// checkBallot sees to it that each owner's ballot is above its predecessor's.
func (w *World) checkBallot(i int, a *lease.Action) {
	if a.Ballot <= w.acquired[a.Group-1] {
		w.fail("n%d owns g%d with ballot %s after %s", i+1, a.Group, ballot(a.Ballot), ballot(w.acquired[a.Group-1]))
	}
	w.acquired[a.Group-1] = a.Ballot
}

// owner returns who serves a group now, -1 if nobody does.
func (w *World) owner(g int) int {
	for i := range w.nodes {
		nd := &w.nodes[i]
		if !nd.up || nd.asleep || nd.frozen(w.now) || !w.open(i, g) {
			continue
		}
		if _, _, ok := nd.core.Lease(nd.clock.at(w.now), uint32(g+1)); ok {
			return i
		}
	}
	return -1
}

func (w *World) allOwned() bool {
	for g := range w.setup.Groups {
		if w.owner(g) < 0 {
			return false
		}
	}
	return true
}

// checkStale sees to it that what is no news is not taken for a sign of life: packets from or for an earlier
// incarnation, and those that are no newer than one that has come in.
func (w *World) checkStale(i int, taken bool, p *lease.Packet) {
	nd := &w.nodes[i]
	from := int(p.From) - 1
	current := p.Incarnation == w.nodes[from].incarnation && p.PeerIncarnation == nd.incarnation
	if current && p.Seq > nd.newest[from] {
		nd.newest[from] = p.Seq
		return
	}
	// A packet of an incarnation that is gone may be the first to come in here after its end: it can be no replay then.
	if p.PeerIncarnation == nd.incarnation && p.Incarnation != w.nodes[from].incarnation {
		return
	}
	if taken {
		w.fail("n%d has taken a stale packet in: n%d's #%d", i+1, from+1, p.Seq)
	}
}

// checkGrants sees to it that no grant rests on a request whose sender had not heard the grantor for half a grant: who can send
// but not hear must not hold anything. It also notes, for each packet, what its sender has heard.
func (w *World) checkGrants(from, to int, p *lease.Packet) {
	row := &w.nodes[from].hearing[p.Seq%hearingSize]
	if row.seq != p.Seq {
		*row = hearing{p.Seq, w.now, p.Grant, w.nodes[from].heard}
	}
	holder := &w.nodes[to]
	if p.PeerIncarnation != holder.incarnation {
		return
	}
	for k := range p.Grants {
		g := &p.Grants[k]
		if g.Seq == 0 || lease.BallotNode(g.Ballot) != p.To {
			continue
		}
		row := &holder.hearing[g.Seq%hearingSize]
		if row.seq != g.Seq {
			continue // too long ago
		}
		if age := row.at - row.from[from]; age > row.grant/2*1e6/int64(1e6-w.setup.MaxPPM) {
			w.fail("n%d grants g%d to n%d, which had not heard it for %s", from+1, g.Group, to+1, stamp(age))
		}
	}
}
