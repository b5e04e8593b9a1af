package lease

import "holdline/vip/lease/internal/broken"

// The grantor's part: one promise per group at a time.

func (c *Core) running(p *promise) bool { return p.until > c.now }

// grants says whether this node may give its word now.
func (c *Core) grants() bool { return c.voting.self && !c.muted() }

// grantable says whether a peer's standing request may be granted or renewed at all: of this config epoch or a later one, not
// for longer than any node stays mute, and from a node that hears this one.
func (c *Core) grantable(p *peer) bool {
	if p.epoch < c.voting.epoch && !c.broken.Has(broken.AnyEpoch) {
		return false
	}
	if p.grant <= 0 || p.grant > MaxGrant {
		return false
	}
	return c.broken.Has(broken.StaleEcho) || p.echoAt != 0 && p.heard-p.echoAt < p.grant/2
}

// takeReleases frees what the sender of a packet gives up.
func (c *Core) takeReleases(pi int, p *Packet) {
	pr := &c.peers[pi]
	at := 0
	for i := range p.Releases {
		r := &p.Releases[i]
		gi := c.find(r.Group, at)
		if gi < 0 || !validBallot(r.Ballot, pr.node) {
			continue
		}
		at = gi
		g := &c.groups[gi]
		g.see(r.Ballot)
		if r.Owned {
			c.ownerReleased(gi, pr.node, r)
		}
		if g.promise.node == pr.node && (g.promise.ballot == r.Ballot || c.broken.Has(broken.UnnamedRelease)) {
			c.freePromise(g, r.Owned, r.To)
		}
	}
}

// freePromise ends a promise before its time, because its holder has given it up.
func (c *Core) freePromise(g *group, owned bool, to uint32) {
	if !owned {
		// The ballot never owned the group, so lower ones may still be granted.
		g.granted = g.before
	}
	g.promise = promise{}
	if to != 0 {
		g.reserved = reservation{to, c.now + c.beats(silentBeats)}
	}
	c.flush = true
}

// takeRequests renews and gives promises on a packet just taken in.
func (c *Core) takeRequests(pi int) {
	if !c.grants() {
		return
	}
	pr := &c.peers[pi]
	for gi := range pr.asks {
		a := &pr.asks[gi]
		g := &c.groups[gi]
		switch {
		case a.ballot != 0 && g.promise.node == pr.node && c.running(&g.promise):
			if c.grantable(pr) && a.ballot >= g.promise.ballot {
				c.give(g, pr, a)
			}
		case a.ballot != 0 && c.broken.Has(broken.GrantTwice):
			c.give(g, pr, a)
		default:
			c.grantBest(gi)
		}
	}
}

// give renews or makes the promise to a peer. A promise is never shortened: its holder may count on the longer one.
func (c *Core) give(g *group, pr *peer, a *ask) {
	until := pr.heard + pr.grant
	if g.promise.node == pr.node && g.promise.ballot == a.ballot {
		if !c.broken.Has(broken.ShortenPromise) {
			until = max(until, g.promise.until)
		}
		if !c.running(&g.promise) {
			c.flush = true
		}
	} else {
		if a.ballot > g.granted {
			g.before = g.granted
			g.granted = a.ballot
		}
		// The same node's earlier ballot is dead, but what it may count on still stands.
		if g.promise.node == pr.node {
			until = max(until, g.promise.until)
		}
		c.flush = true
	}
	g.promise = promise{node: pr.node, ballot: a.ballot, seq: pr.seq, until: until, owned: a.owned}
}

// waiting says whether a peer's request for a group could be granted once no promise stands in the way.
func (c *Core) waiting(g *group, pr *peer, a *ask) bool {
	if a.ballot == 0 || !c.alive(pr) || !c.grantable(pr) {
		return false
	}
	return c.ballotOK(g, a.ballot) && c.unreserved(g, pr.node)
}

// ballotOK says whether a ballot is above all granted ones, and not below the recorded one: each owner's ballot is
// higher than its predecessor's, even if all who granted that one have restarted.
func (c *Core) ballotOK(g *group, ballot uint64) bool {
	return ballot >= g.floor && (ballot > g.granted || ballot == g.promise.ballot) || c.broken.Has(broken.AnyOrder)
}

func (c *Core) unreserved(g *group, node uint32) bool {
	return g.reserved.node == node || c.now >= g.reserved.until
}

// hasWaiting says whether anybody waits for the promise of a group to run out.
func (c *Core) hasWaiting(gi int) bool {
	g := &c.groups[gi]
	if g.state == asking {
		return true
	}
	for i := range c.peers {
		if a := &c.peers[i].asks[gi]; a.ballot != 0 && c.peers[i].node != g.promise.node {
			return true
		}
	}
	return false
}

// grantBest gives the promise, if it is free, to the best of those who wait for it: an owner, else the first in
// (priority, node).
func (c *Core) grantBest(gi int) {
	g := &c.groups[gi]
	if c.running(&g.promise) || !c.grants() || !g.present {
		return
	}
	best := -1
	var rank uint64
	for i := range c.peers {
		pr := &c.peers[i]
		a := &pr.asks[gi]
		if a.ballot == 0 || !c.waiting(g, pr, a) {
			continue
		}
		if r := standing(a.owned, a.priority, pr.node); best < 0 || r < rank {
			best, rank = i, r
		}
	}
	if g.state != idle && c.ballotOK(g, g.ballot) && c.unreserved(g, c.self) &&
		(best < 0 || standing(g.state == owning, g.priority, c.self) < rank) {
		c.flush = true // the own promise is given when the request is sent
		return
	}
	if best >= 0 {
		c.give(g, &c.peers[best], &c.peers[best].asks[gi])
	}
}

// standing orders those who ask: owners first, then by priority, then by node.
func standing(owned bool, priority uint16, node uint32) uint64 {
	s := uint64(priority)<<8 | uint64(node)
	if !owned {
		s |= 1 << 32
	}
	return s
}

// promiseSelf gives or renews this node's promise to itself, in the moment its request goes out.
func (c *Core) promiseSelf(gi int) {
	g := &c.groups[gi]
	if g.state == idle || !c.grants() {
		return
	}
	if c.running(&g.promise) && g.promise.node != c.self && !c.broken.Has(broken.GrantTwice) {
		return
	}
	if !c.running(&g.promise) && (!c.ballotOK(g, g.ballot) || !c.unreserved(g, c.self)) {
		return
	}
	until := c.now + c.profile.Grant
	if g.promise.node == c.self {
		until = max(until, g.promise.until)
	}
	if g.ballot > g.granted {
		g.before = g.granted
		g.granted = g.ballot
	}
	g.promise = promise{node: c.self, ballot: g.ballot, seq: c.seq, until: until, owned: g.state == owning}
	g.selfVote = c.now + c.usable(c.profile.Grant)
	c.count(gi)
}
