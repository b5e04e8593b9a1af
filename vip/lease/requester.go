package lease

import "holdline/vip/lease/internal/broken"

// The requester's part: asking, counting grants, owning, losing.

// ask starts an attempt at a group, with a ballot above all seen.
func (c *Core) ask(gi int, accepting uint32) {
	g := &c.groups[gi]
	g.state, g.accepting = asking, accepting
	c.newBallot(g)
	g.priority = c.priority(g, c.self, c.health)
	g.giveUpAt = c.attemptEnd(g)
	if accepting != 0 {
		g.priority = 0 // nobody competes with a node that has been offered the group
		g.giveUpAt = c.now + offerTime
	}
	c.flush = true
}

func (c *Core) newBallot(g *group) {
	if c.broken.Has(broken.AnyOrder) {
		g.ballot = BallotAbove(max(g.ballot, g.floor), c.self)
	} else {
		g.ballot = BallotAbove(max(g.seen, g.floor, g.granted), c.self)
	}
	g.see(g.ballot)
	g.selfVote, g.until, g.reballotAt = 0, 0, c.now
	gi := c.find(g.number, 0)
	for i := range c.peers {
		c.peers[i].votes[gi] = 0
	}
}

// attemptEnd is when a candidate without a majority gives up for a while: some heartbeats after the last promise to the
// former owner can have run out.
func (c *Core) attemptEnd(g *group) int64 {
	end := c.now
	if g.owner != 0 {
		end = max(end, g.ownerHeard+c.profile.Grant)
	}
	if g.promise.node != c.self {
		end = max(end, g.promise.until)
	}
	return end + c.beats(attemptBeats) + c.random(c.beats(2))
}

// takeGrants counts what a packet just taken in grants to this node.
func (c *Core) takeGrants(pi int) {
	pr := &c.peers[pi]
	if !pr.voter || pr.epoch != c.voting.epoch && !c.broken.Has(broken.AnyEpoch) {
		return
	}
	for gi := range c.groups {
		g := &c.groups[gi]
		if g.state == idle {
			continue
		}
		w := &pr.words[gi]
		if w.said != pr.seq {
			continue // not in this packet
		}
		mine := w.ballot == g.ballot || c.broken.Has(broken.AnyBallot) && BallotNode(w.ballot) == c.self
		switch {
		case mine && w.seq != 0:
			s, ok := c.sent.get(w.seq)
			if !ok {
				continue
			}
			from := s.at
			if c.broken.Has(broken.CountFromReceipt) {
				from = c.now
			}
			pr.votes[gi] = max(pr.votes[gi], from+c.usable(s.grant))
			c.count(gi)
		case g.state == asking && w.ballot > g.ballot && c.now-g.reballotAt >= c.profile.Heartbeat && !c.broken.Has(broken.AnyOrder):
			// This grantor refuses ballots that low: go on with a higher one.
			c.release(g, false, 0)
			c.newBallot(g)
			c.flush = true
		}
	}
}

// count works out until when a majority stands by this node: the end that as many grants as make a majority reach.
func (c *Core) count(gi int) {
	g := &c.groups[gi]
	var ends [MaxVoters + 1]int64 // the highest, falling
	n := 0
	put := func(end int64) {
		i := n
		for ; i > 0 && ends[i-1] < end; i-- {
			ends[i] = ends[i-1]
		}
		ends[i] = end
		n++
	}
	if c.voting.self {
		put(g.selfVote)
	}
	for i := range c.peers {
		if pr := &c.peers[i]; pr.voter {
			put(pr.votes[gi])
		}
	}
	quorum := c.voting.quorum()
	if c.broken.Has(broken.SmallMajority) && quorum > 1 {
		quorum--
	}
	if n < quorum {
		return
	}
	until := ends[quorum-1]
	if until <= g.until || until <= c.now {
		return
	}
	switch g.state {
	case asking:
		// A lease that is nearly over would only flap.
		if until-c.now >= c.profile.Heartbeat {
			g.until = until
			c.acquire(g)
		}
	case owning:
		g.until = until
		if until-g.told >= c.profile.Heartbeat/2 {
			g.told = until
			c.act(Action{Kind: Renewed, Group: g.number, Ballot: g.ballot, Until: until})
		}
	}
}

func (c *Core) acquire(g *group) {
	g.state, g.told = owning, g.until
	g.failures, g.backoff, g.worse = 0, 0, 0
	g.accepting, g.offer = 0, offer{}
	g.owner, g.ownerBallot, g.suspected = 0, g.ballot, false
	g.last, g.demoted, g.resigned = c.self, 0, false
	if g.promise.node == c.self {
		g.promise.owned = true
	}
	c.flush = true
	c.act(Action{Kind: Acquired, Group: g.number, Ballot: g.ballot, Until: g.until})
}

// lose ends ownership. The caller stops serving before the release leaves: Lost comes first.
func (c *Core) lose(gi int, why Reason, to uint32) {
	g := &c.groups[gi]
	if c.broken.Has(broken.KeepAfterRelease) && why == Released {
		// The fault: the release is out, the fence stays open until it runs out by itself.
	} else {
		c.act(Action{Kind: Lost, Group: g.number, Reason: why, Ballot: g.ballot})
	}
	g.state, g.until, g.offer = idle, 0, offer{}
	g.last, g.demoted, g.resigned, g.vacated = c.self, c.now+demotion, why != Lapsed, c.now
	g.jitter = c.random(c.profile.Heartbeat / 2)
	if to != 0 {
		g.vacated += c.beats(silentBeats)
	}
	c.release(g, true, to)
	c.grantBest(gi)
}

// withdraw ends an attempt at once, so that others need not wait for the promises it holds.
func (c *Core) withdraw(gi int) {
	g := &c.groups[gi]
	g.state, g.accepting = idle, 0
	g.jitter = c.random(c.profile.Heartbeat / 2)
	c.release(g, false, 0)
	c.grantBest(gi)
}

// release tells all grantors, this node included, that its ballot is given up.
func (c *Core) release(g *group, owned bool, to uint32) {
	if g.promise.node == c.self && g.promise.ballot == g.ballot {
		c.freePromise(g, owned, to)
	} else if to != 0 {
		g.reserved = reservation{to, c.now + c.beats(silentBeats)}
	}
	c.noteRelease(Release{Group: g.number, Ballot: g.ballot, To: to, Owned: owned})
	c.flush = true
}

// giveUp ends whatever this node has or wants of a group.
func (c *Core) giveUp(gi int, why Reason) {
	switch c.groups[gi].state {
	case owning:
		c.lose(gi, why, 0)
	case asking:
		c.withdraw(gi)
	}
}

// checkFit gives a group up if this node cannot serve it any more.
func (c *Core) checkFit(gi int, why Reason) {
	if !c.groups[gi].fit.ok() {
		c.giveUp(gi, why)
	}
}

// eligible says whether this node may ask for a group.
func (c *Core) eligible(g *group) bool {
	return c.member && g.present && !c.stopped && !c.muted() && g.fit.ok() && g.place(c.self) >= 0
}
