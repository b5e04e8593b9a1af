package lease

// The candidate's part: who asks for a vacant group, and when. Nothing here decides who may own it (grants do): only
// how soon, and that few compete.

// hearsMajority says whether this node and the voters that it hears and that hear it are a majority.
func (c *Core) hearsMajority() bool {
	n := 0
	if c.voting.self && !c.muted() {
		n++
	}
	for i := range c.peers {
		if pr := &c.peers[i]; pr.voter && pr.flags&FlagMute == 0 && c.alive(pr) && c.hearsUs(pr) {
			n++
		}
	}
	return n >= c.voting.quorum()
}

// ownerHeard notes that a node owns a group.
func (c *Core) ownerHeard(gi int, node uint32, ballot uint64) {
	g := &c.groups[gi]
	if node == c.self || ballot < g.ownerBallot || ballot <= g.released {
		return
	}
	if g.state == owning {
		if ballot > g.ballot {
			c.lose(gi, Superseded, 0)
		} else {
			return
		}
	}
	if g.owner != node || g.ownerBallot != ballot {
		c.act(Action{Kind: OwnerSeen, Group: g.number, Node: node, Ballot: ballot})
	}
	g.owner, g.ownerBallot, g.ownerHeard = node, ballot, c.now
	g.last, g.demoted, g.resigned, g.suspected = node, 0, false, false
	g.failures, g.backoff = 0, 0
	if g.state == asking && g.accepting != node {
		c.withdraw(gi)
	}
}

// ownerReleased notes that an owner has given its group up, to the node it names.
func (c *Core) ownerReleased(gi int, node uint32, r *Release) {
	g := &c.groups[gi]
	g.released = max(g.released, r.Ballot)
	if g.owner != node || g.ownerBallot != r.Ballot {
		return
	}
	c.act(Action{Kind: OwnerSeen, Group: g.number})
	g.owner, g.demoted, g.resigned, g.vacated = 0, c.now+demotion, true, c.now
	g.jitter = c.random(c.profile.Heartbeat / 2)
	switch {
	case g.accepting == node:
		g.accepting = 0
		g.giveUpAt = c.now + c.beats(attemptBeats)
	case r.To != 0 && r.To != c.self:
		g.vacated += c.beats(silentBeats)
	}
}

// ownerLive says whether somebody else owns a group, as far as heard lately.
func (c *Core) ownerLive(g *group) bool {
	return g.owner != 0 && c.now-g.ownerHeard <= c.beats(silentBeats)
}

// forgetOwner notes that an owner has fallen silent: at first it only ranks last, then it is no longer named.
func (c *Core) forgetOwner(gi int) {
	g := &c.groups[gi]
	if g.owner == 0 || c.ownerLive(g) {
		return
	}
	if !g.suspected {
		g.suspected = true
		g.demoted = c.now + demotion
		g.jitter = c.random(c.profile.Heartbeat / 2)
	}
	if c.now-max(g.ownerHeard, c.stallEnd) > c.profile.Grant {
		c.act(Action{Kind: OwnerSeen, Group: g.number})
		g.vacated = g.ownerHeard + c.beats(silentBeats)
		g.owner = 0
	}
}

func (c *Core) allOwned() bool {
	for i := range c.groups {
		if g := &c.groups[i]; g.present && g.state != owning && !c.ownerLive(g) {
			return false
		}
	}
	return true
}

// commonOutage says whether all nodes heard were without a majority lately: then nobody can have taken what another lost.
func (c *Core) commonOutage() bool {
	if c.now >= c.outage {
		return false
	}
	for i := range c.peers {
		if pr := &c.peers[i]; c.alive(pr) && pr.flags&(FlagMute|FlagOutage) == 0 {
			return false
		}
	}
	return true
}

// priority ranks a node for a group, low is good: whoever has just lost it is last, then health, then the configured
// order; after a common outage the last owner is first.
func (c *Core) priority(g *group, node uint32, health uint32) uint16 {
	p := uint16(min(health, 127)) << 7
	if node == g.last && !g.resigned && c.commonOutage() {
		return p
	}
	p |= uint16(g.place(node)+1) & 127
	if node == g.last && c.now < g.demoted {
		p |= 1 << 14
	}
	return p
}

// tryCandidate starts an attempt if it is this node's turn.
func (c *Core) tryCandidate(gi int) {
	g := &c.groups[gi]
	if !c.eligible(g) || !c.reachable {
		return
	}
	if from := c.offeredBy(gi); from != 0 {
		c.ask(gi, from)
		return
	}
	if c.ownerLive(g) || c.now < g.backoff {
		return
	}
	base := max(g.vacated, c.since, c.muteUntil)
	if c.stallEnd != 0 {
		base = max(base, c.stallEnd+c.beats(silentBeats)) // time to hear who owns it now
	}
	if g.owner != 0 {
		base = max(base, g.ownerHeard+c.beats(silentBeats))
	}
	if c.now < base {
		return
	}
	own := c.priority(g, c.self, c.health)
	rank := int64(0)
	for i := range c.peers {
		pr := &c.peers[i]
		if !c.alive(pr) {
			continue
		}
		if a := &pr.asks[gi]; a.ballot != 0 && standing(a.owned, a.priority, pr.node) < standing(false, own, c.self) {
			return // a better one is at it
		}
		if pr.node == g.owner || pr.flags&FlagUnfit != 0 || g.place(pr.node) < 0 ||
			standing(false, c.priority(g, pr.node, pr.health), pr.node) > standing(false, own, c.self) {
			continue
		}
		if pr.flags&FlagMute == 0 {
			rank++
		} else if g.last == 0 && c.now < c.muteUntil+muteTime {
			return // all are starting: the better one is awake soon
		}
	}
	if rank > 0 && c.now < base+rank*c.beats(rankBeats)+g.jitter {
		return
	}
	c.ask(gi, 0)
}

// tryWithdraw ends an attempt that has lost its reason or its prospects.
func (c *Core) tryWithdraw(gi int) {
	g := &c.groups[gi]
	switch {
	case !c.eligible(g) || !c.reachable:
		c.withdraw(gi)
	case g.accepting != 0:
		if c.now >= g.giveUpAt || c.ownerLive(g) && c.offeredBy(gi) != g.accepting {
			c.withdraw(gi)
		}
	case c.now >= g.giveUpAt:
		// Somebody unseen holds the rest. Let chance decide who goes first next time.
		g.failures = min(g.failures+1, 3)
		g.backoff = c.now + c.random(c.beats(rankBeats)<<g.failures)
		c.withdraw(gi)
	case c.outranked(gi):
		g.backoff = c.now + c.beats(1) + c.random(c.beats(1))
		c.withdraw(gi)
	}
}

// outranked says whether a better candidate asks for the group too.
func (c *Core) outranked(gi int) bool {
	g := &c.groups[gi]
	own := standing(false, g.priority, c.self)
	for i := range c.peers {
		pr := &c.peers[i]
		if a := &pr.asks[gi]; a.ballot != 0 && c.alive(pr) && standing(a.owned, a.priority, pr.node) < own {
			return true
		}
	}
	return false
}
