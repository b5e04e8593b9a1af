package lease

// Planned moves: the owner offers, another node accepts by asking with a higher ballot, the owner stops and releases.

// Release starts a planned move of a group that this node owns: it is offered to node to (0: the best candidate), and given up
// when that one accepts. Lost{Released} or, after half a second, ReleaseFailed follows.
func (c *Core) Release(now int64, group, to uint32) []Action {
	c.begin(now)
	gi := c.find(group, 0)
	if gi < 0 || c.groups[gi].state != owning || to == c.self {
		c.act(Action{Kind: ReleaseFailed, Group: group, Node: to})
		return c.finish()
	}
	c.startOffer(gi, offer{to: to, any: to == 0})
	return c.finish()
}

func (c *Core) startOffer(gi int, o offer) {
	g := &c.groups[gi]
	o.until = c.now + offerTime
	g.offer = o
	if o.any {
		c.offerNext(gi)
	}
	c.flush = true
}

// offerNext offers the group to the next best node that could take it, beginning again after the last.
func (c *Core) offerNext(gi int) {
	g := &c.groups[gi]
	var after uint64
	if at := c.peerIndex(g.offer.to); at >= 0 {
		after = standing(false, c.priority(g, g.offer.to, c.peers[at].health), g.offer.to)
	}
	var next, first uint64
	g.offer.to = 0
	for i := range c.peers {
		pr := &c.peers[i]
		if !c.couldTake(g, pr) || g.offer.auto && pr.health >= c.health {
			continue
		}
		s := standing(false, c.priority(g, pr.node, pr.health), pr.node)
		if first == 0 || s < first {
			first = s
		}
		if s > after && (next == 0 || s < next) {
			next = s
		}
	}
	if next == 0 {
		next = first
	}
	g.offer.to = uint32(next & 0xff)
	g.offer.next = c.now + offerEach
	c.flush = true
}

func (c *Core) couldTake(g *group, pr *peer) bool {
	return c.alive(pr) && pr.member && pr.flags&(FlagMute|FlagUnfit) == 0 && g.place(pr.node) >= 0
}

// tryHandOver looks whether the node offered the group has accepted.
func (c *Core) tryHandOver(gi int) {
	g := &c.groups[gi]
	o := &g.offer
	if o.until == 0 {
		return
	}
	if at := c.peerIndex(o.to); at >= 0 {
		if a := &c.peers[at].asks[gi]; c.alive(&c.peers[at]) && a.ballot > g.ballot {
			c.lose(gi, Released, o.to)
			return
		}
	}
	switch {
	case c.now >= o.until:
		failed := *o
		*o = offer{}
		c.flush = true
		if failed.any {
			failed.to = 0
		}
		if !failed.auto {
			c.act(Action{Kind: ReleaseFailed, Group: g.number, Node: failed.to})
		}
	case o.any && (c.now >= o.next || o.to == 0):
		c.offerNext(gi)
	}
}

// offeredBy returns the live owner that offers a group to this node, 0 if none does.
func (c *Core) offeredBy(gi int) uint32 {
	for i := range c.peers {
		if a := &c.peers[i].asks[gi]; a.owned && a.offer == c.self && c.alive(&c.peers[i]) {
			return c.peers[i].node
		}
	}
	return 0
}

// yieldByHealth offers a group to a healthier node once that has been there for a while.
func (c *Core) yieldByHealth(gi int) {
	g := &c.groups[gi]
	if g.state != owning || c.health == 0 {
		g.worse = 0
		return
	}
	if g.offer.until != 0 {
		return
	}
	better := false
	for i := range c.peers {
		pr := &c.peers[i]
		better = better || c.couldTake(g, pr) && pr.health < c.health
	}
	switch {
	case !better:
		g.worse = 0
	case g.worse == 0:
		g.worse = c.now
	case c.now-g.worse >= c.beats(yieldBeats):
		g.worse = c.now
		c.startOffer(gi, offer{any: true, auto: true})
	}
}
