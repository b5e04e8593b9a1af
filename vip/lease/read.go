package lease

// PeerStatus is what a Core knows of another node.
type PeerStatus struct {
	Node     uint32
	Voter    bool
	Alive    bool   // heard within the last heartbeats
	Heard    int64  // when the last packet was accepted, ns; 0: never
	WorstGap int64  // longest silence after which it was heard again, or that lasts, ns; an absence is none (see silence)
	EchoAge  int64  // age of the newest packet of ours that it has echoed, ns; -1: none
	Epoch    uint64 // config epoch it has reported; 0: none
	Health   uint32
	Mute     bool
}

// Lease returns the ballot and end of a lease held at now.
func (c *Core) Lease(now int64, group uint32) (ballot uint64, until int64, ok bool) {
	gi := c.find(group, 0)
	if gi < 0 || c.groups[gi].state != owning || now >= c.groups[gi].until {
		return 0, 0, false
	}
	return c.groups[gi].ballot, c.groups[gi].until, true
}

// Owner returns who owns a group as far as this node has heard (itself included); 0: nobody known.
func (c *Core) Owner(now int64, group uint32) (node uint32, ballot uint64) {
	if ballot, _, ok := c.Lease(now, group); ok {
		return c.self, ballot
	}
	gi := c.find(group, 0)
	if gi < 0 || c.groups[gi].owner == 0 {
		return 0, 0
	}
	return c.groups[gi].owner, c.groups[gi].ownerBallot
}

// Peers appends the state of the other nodes to dst, by number.
func (c *Core) Peers(now int64, dst []PeerStatus) []PeerStatus {
	for i := range c.peers {
		pr := &c.peers[i]
		s := PeerStatus{
			Node: pr.node, Voter: pr.voter, Heard: pr.heard, WorstGap: max(pr.gap, pr.silence(now)), EchoAge: -1,
			Epoch: pr.epoch, Health: pr.health, Mute: pr.flags&FlagMute != 0,
			Alive: pr.heard != 0 && now-pr.heard <= c.beats(silentBeats),
		}
		if pr.echoAt != 0 {
			s.EchoAge = now - pr.echoAt
		}
		dst = append(dst, s)
	}
	return dst
}

// Heard returns when the last packet of a node was accepted, ns; 0: never.
func (c *Core) Heard(node uint32) int64 {
	if i := c.peerIndex(node); i >= 0 {
		return c.peers[i].heard
	}
	return 0
}

// Epoch returns the config epoch in force and the one made durable here (higher while a change of voters waits for the others).
func (c *Core) Epoch() (inForce, ready uint64) { return c.voting.epoch, c.voting.ready }

// Muted says whether the Core is mute, and until when.
func (c *Core) Muted(now int64) (until int64, mute bool) { return c.muteUntil, now < c.muteUntil }
