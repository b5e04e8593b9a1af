package lease

import "holdline/vip/lease/internal/broken"

// peer is another node: what is needed to tell its packets from replayed ones, and what its newest packet said.
type peer struct {
	node   uint32
	member bool // in the configuration
	voter  bool // of the epoch in force
	next   bool // of the epoch that waits

	// The incarnation addressed. Its packets count only once they echo something sent since it has been addressed:
	// what it sent before that may be a replay.
	inc      uint64
	minEcho  uint64
	lastSeq  uint64 // highest heard from inc
	switched int64

	// From the newest accepted packet.
	heard   int64 // when; 0: never
	seq     uint64
	echoAt  int64 // when the newest of our packets that it has echoed was sent; 0: never
	epoch   uint64
	ready   uint64
	health  uint32
	flags   uint8
	grant   int64
	asks    []ask   // by index of group
	words   []word  // by index of group
	votes   []int64 // by index of group: until when its grant to this node counts
	gap     int64   // worst silence so far
	counted uint64  // epoch reported to the caller
}

// ask is a peer's standing request.
type ask struct {
	ballot   uint64 // 0: none
	owned    bool
	priority uint16
	offer    uint32
}

// word is a peer's standing grant.
type word struct {
	ballot, seq uint64
	owned       bool
	said        uint64 // number of the packet that said so
}

func (c *Core) peerIndex(node uint32) int {
	for i := range c.peers {
		if c.peers[i].node == node {
			return i
		}
	}
	return -1
}

// alive says whether a peer has been heard lately.
func (c *Core) alive(p *peer) bool {
	return p.heard != 0 && c.now-p.heard <= c.beats(silentBeats)
}

// silence is how long a peer has been silent, for who asks what the network does to heartbeats. It is 0 when that tells of something else: the peer has
// been away for longer than any lease lasts, or has been started anew.
func (p *peer) silence(now int64) int64 {
	if s := now - p.heard; p.heard > p.switched && s <= absence {
		return s
	}
	return 0
}

// hearsUs says whether a peer has lately echoed a packet of this node that was young.
func (c *Core) hearsUs(p *peer) bool {
	return p.echoAt != 0 && c.now-p.echoAt < c.profile.Grant/2
}

// accept decides whether a packet counts: it is for this incarnation, from the one addressed, proven to be no replay,
// and newer than all before. It returns the index of the sender, or -1.
func (c *Core) accept(p *Packet) int {
	if p.To != c.self || p.Incarnation == 0 || p.Seq == 0 {
		return -1
	}
	pi := c.peerIndex(p.From)
	if pi < 0 {
		return -1
	}
	pr := &c.peers[pi]
	if c.broken.Has(broken.AnyIncarnation) {
		if pr.inc != p.Incarnation {
			pr.inc, pr.lastSeq, pr.minEcho = p.Incarnation, 0, 0
		}
	} else {
		if p.Incarnation != pr.inc {
			// A restarted peer, or a replay. As long as the incarnation addressed is heard it is the right one.
			if pr.inc != 0 && c.now-max(pr.heard, pr.switched) <= c.beats(silentBeats) {
				return -1
			}
			pr.inc, pr.lastSeq, pr.minEcho, pr.switched = p.Incarnation, 0, c.seq+1, c.now
			c.disown(pr.node)
			c.flush = true
		}
		if p.PeerIncarnation != c.inc {
			return -1
		}
	}
	if p.Seq <= pr.lastSeq && !c.broken.Has(broken.AnySequence) {
		return -1
	}
	pr.lastSeq = p.Seq
	if (p.Echo < pr.minEcho || p.Echo > c.seq) && !c.broken.Has(broken.AnyIncarnation) {
		return -1
	}
	return pi
}

// disown keeps the promises to a node's former incarnation, but takes the packet's number from them: the new incarnation numbers
// its packets anew, and must not take the old one's grants for its own.
func (c *Core) disown(node uint32) {
	for i := range c.groups {
		if p := &c.groups[i].promise; p.node == node {
			p.seq = 0
		}
	}
}

// learn takes over what a packet says.
func (c *Core) learn(pi int, p *Packet) {
	pr := &c.peers[pi]
	pr.gap = max(pr.gap, pr.silence(c.now))
	pr.heard, pr.seq = c.now, p.Seq
	if s, ok := c.sent.get(p.Echo); ok {
		pr.echoAt = s.at
	}
	pr.epoch, pr.ready = p.Epoch, p.Ready
	pr.health, pr.flags, pr.grant = p.Health, p.Flags, p.Grant
	if pr.counted != p.Epoch {
		pr.counted = p.Epoch
		c.act(Action{Kind: EpochReported, Node: pr.node, Epoch: p.Epoch})
	}
	clear(pr.asks)
	at := 0
	for i := range p.Requests {
		r := &p.Requests[i]
		gi := c.find(r.Group, at)
		if gi < 0 || !validBallot(r.Ballot, pr.node) {
			continue
		}
		at = gi
		pr.asks[gi] = ask{r.Ballot, r.Owned, r.Prio, r.Offer}
		c.groups[gi].see(r.Ballot)
		if r.Owned {
			c.ownerHeard(gi, pr.node, r.Ballot)
		}
	}
	at = 0
	for i := range p.Grants {
		r := &p.Grants[i]
		gi := c.find(r.Group, at)
		if gi < 0 || r.Ballot >= ballotLimit {
			continue
		}
		at = gi
		w := &pr.words[gi]
		// Second-hand news of an owner: its grantor has heard it again.
		if r.Owned && r.Seq != 0 && (r.Ballot > w.ballot || r.Ballot == w.ballot && r.Seq > w.seq) {
			c.ownerHeard(gi, BallotNode(r.Ballot), r.Ballot)
		}
		*w = word{r.Ballot, r.Seq, r.Owned, p.Seq}
		c.groups[gi].see(r.Ballot)
	}
}

// ballotLimit keeps a mad peer from using up all ballots.
const ballotLimit = uint64(1) << 62

func validBallot(b uint64, node uint32) bool { return b < ballotLimit && BallotNode(b) == node }
