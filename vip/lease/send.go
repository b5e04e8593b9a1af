package lease

// outbox holds the packets of one call. They share their lists: only the header differs between receivers.
type outbox struct {
	packets  []Packet
	requests []Request
	grants   []Grant
	releases []Release
}

// pendingRelease is repeated for as long as a grantor that missed it would keep its promise.
type pendingRelease struct {
	Release
	until int64
}

func (c *Core) noteRelease(r Release) {
	if len(c.releases) >= maxReleases {
		c.releases = c.releases[:copy(c.releases, c.releases[1:])]
	}
	c.releases = append(c.releases, pendingRelease{r, c.now + c.profile.Grant})
}

// broadcast sends one packet to each peer. Requests count from here, so this node's own promise is renewed here too.
func (c *Core) broadcast() {
	c.flush = false
	c.lastSend = c.now
	c.seq++
	c.sent.put(c.seq, c.now, c.profile.Grant)
	for gi := range c.groups {
		c.promiseSelf(gi)
	}
	// Acquiring on the own promise alone (one voter) has set flush again; what it wants sent is in this packet.
	c.flush = false
	if len(c.peers) == 0 {
		return
	}
	flags := c.compose()
	if cap(c.out.packets) < len(c.peers) {
		c.out.packets = make([]Packet, len(c.peers))
	}
	c.out.packets = c.out.packets[:len(c.peers)]
	for i := range c.peers {
		pr := &c.peers[i]
		p := &c.out.packets[i]
		*p = Packet{
			From: c.self, To: pr.node, Incarnation: c.inc, Seq: c.seq, PeerIncarnation: pr.inc, Echo: pr.lastSeq,
			Epoch: c.voting.epoch, Ready: c.voting.ready, Health: c.health, Flags: flags, Grant: c.profile.Grant,
			Requests: c.out.requests, Grants: c.out.grants, Releases: c.out.releases,
		}
		c.act(Action{Kind: Send, Node: pr.node, Packet: p})
	}
}

// compose fills the lists that all packets share.
func (c *Core) compose() (flags uint8) {
	o := &c.out
	o.requests, o.grants, o.releases = o.requests[:0], o.grants[:0], o.releases[:0]
	fit := false
	for gi := range c.groups {
		g := &c.groups[gi]
		fit = fit || g.present && g.fit.ok()
		if g.state != idle {
			o.requests = append(o.requests, Request{
				Group: g.number, Ballot: g.ballot, Owned: g.state == owning, Prio: g.priority, Offer: g.offer.to,
			})
		}
		w := Grant{Group: g.number, Ballot: max(g.granted, g.promise.ballot, g.floor)}
		if c.running(&g.promise) && c.grants() {
			w.Ballot, w.Seq, w.Owned = g.promise.ballot, g.promise.seq, g.promise.owned
		}
		if w.Ballot != 0 {
			o.grants = append(o.grants, w)
		}
	}
	kept := c.releases[:0]
	for _, r := range c.releases {
		if c.now < r.until {
			kept = append(kept, r)
			o.releases = append(o.releases, r.Release)
		}
	}
	c.releases = kept
	if c.muted() {
		flags |= FlagMute
	}
	if c.stopped || !fit {
		flags |= FlagUnfit
	}
	if c.now < c.outage {
		flags |= FlagOutage
	}
	return flags
}
