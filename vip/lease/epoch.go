package lease

import (
	"fmt"
	"slices"
)

// voting is who votes. A new set of voters waits until the nodes concerned have it, because grantors refuse lower
// epochs and requesters count only their own: a node that went ahead alone would lose its groups, or others theirs.
type voting struct {
	epoch, ready uint64 // in force; made durable here
	self, next   bool   // this node votes, now and in the epoch that waits
	n, nextN     int    // voters
	readySince   int64
	forced       bool
}

func (v *voting) quorum() int { return v.n/2 + 1 }

// SetConfig replaces the configuration. The epoch must not go back; the voters of an epoch never change.
func (c *Core) SetConfig(now int64, cfg Config) ([]Action, error) {
	c.begin(now)
	if err := c.configure(cfg); err != nil {
		return c.finish(), err
	}
	c.tryActivate()
	c.flush = true
	return c.finish(), nil
}

func (c *Core) configure(cfg Config) error {
	if err := c.check(cfg); err != nil {
		return err
	}
	if c.voting.ready != cfg.Epoch {
		c.voting.readySince = c.now
	}
	c.voting.ready, c.voting.forced = cfg.Epoch, cfg.Forced
	c.voting.nextN, c.voting.next, c.member = 0, false, false
	c.profile = cfg.Profile
	for i := range c.peers {
		c.peers[i].member, c.peers[i].next = false, false
	}
	for _, n := range cfg.Nodes {
		if n.Voter {
			c.voting.nextN++
		}
		if n.Number == c.self {
			c.member, c.voting.next = true, n.Voter
			continue
		}
		i := c.peerIndex(n.Number)
		if i < 0 {
			i = len(c.peers)
			c.peers = append(c.peers, peer{node: n.Number})
		}
		c.peers[i].member, c.peers[i].next = true, n.Voter
	}
	c.prunePeers()
	slices.SortFunc(c.peers, func(a, b peer) int { return int(a.node) - int(b.node) })
	c.setGroups(cfg)
	for i := range c.groups {
		if !c.member || !c.groups[i].present || c.groups[i].place(c.self) < 0 {
			c.giveUp(i, Removed)
		}
		c.heedFloor(i)
	}
	return nil
}

// heedFloor gives up a ballot that is below what has been recorded meanwhile: its epoch would be refused. This node
// may ask again at once, with a higher one.
func (c *Core) heedFloor(gi int) {
	g := &c.groups[gi]
	if g.state != idle && g.ballot < g.floor {
		c.giveUp(gi, Superseded)
		g.demoted = 0
	}
}

// prunePeers forgets nodes that are neither members nor voters.
func (c *Core) prunePeers() {
	c.peers = slices.DeleteFunc(c.peers, func(p peer) bool { return !p.member && !p.voter })
}

// setGroups takes the groups over. A group that is gone is remembered as long as this node's promise for it runs: should it
// come back meanwhile, the promise still holds.
func (c *Core) setGroups(cfg Config) {
	old := c.groups
	c.groups = make([]group, 0, len(cfg.Groups))
	for _, want := range cfg.Groups {
		g := group{number: want.Number, fit: c.allFit}
		if i := slices.IndexFunc(old, func(o group) bool { return o.number == want.Number }); i >= 0 {
			g = old[i]
		}
		g.present, g.floor = true, max(g.floor, want.Floor)
		g.order = append(g.order[:0], want.Order...)
		if len(want.Order) == 0 {
			for _, n := range cfg.Nodes {
				g.order = append(g.order, n.Number)
			}
			slices.Sort(g.order)
		}
		c.groups = append(c.groups, g)
	}
	for i := range old {
		g := &old[i]
		listed := slices.ContainsFunc(cfg.Groups, func(w Group) bool { return w.Number == g.number })
		if !listed && (c.running(&g.promise) || g.state != idle) {
			g.present = false
			c.groups = append(c.groups, *g)
		}
	}
	slices.SortFunc(c.groups, func(a, b group) int { return int(int64(a.number) - int64(b.number)) })
	for i := range c.peers {
		c.peers[i].remap(old, c.groups)
	}
}

// remap carries what a peer said over to the new indexes of the groups.
func (p *peer) remap(old, groups []group) {
	asks, words, votes := p.asks, p.words, p.votes
	p.asks, p.words, p.votes = make([]ask, len(groups)), make([]word, len(groups)), make([]int64, len(groups))
	if len(asks) != len(old) {
		return // a new peer
	}
	for i := range groups {
		if j := slices.IndexFunc(old, func(o group) bool { return o.number == groups[i].number }); j >= 0 {
			p.asks[i], p.words[i], p.votes[i] = asks[j], words[j], votes[j]
		}
	}
}

// check refuses what is not valid or would go back.
func (c *Core) check(cfg Config) error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("lease: configure: %w: %s", ErrConfig, fmt.Sprintf(format, a...))
	}
	if len(cfg.Nodes) > MaxNodes || len(cfg.Groups) > MaxGroups {
		return bad("%d nodes and %d groups; at most %d and %d are allowed", len(cfg.Nodes), len(cfg.Groups), MaxNodes, MaxGroups)
	}
	voters := 0
	for i, n := range cfg.Nodes {
		if n.Number < 1 || n.Number > MaxNode {
			return bad("node number %d is not within 1 to %d", n.Number, MaxNode)
		}
		if slices.ContainsFunc(cfg.Nodes[:i], func(o Node) bool { return o.Number == n.Number }) {
			return bad("node %d is listed twice", n.Number)
		}
		if n.Voter {
			voters++
		}
	}
	if voters > MaxVoters || voters == 0 {
		return bad("%d voters; 1 to %d are allowed", voters, MaxVoters)
	}
	for i, g := range cfg.Groups {
		if g.Number == 0 || slices.ContainsFunc(cfg.Groups[:i], func(o Group) bool { return o.Number == g.Number }) {
			return bad("group %d is 0 or listed twice", g.Number)
		}
		if len(g.Order) > MaxNodes {
			return bad("group %d has %d candidates; at most %d are allowed", g.Number, len(g.Order), MaxNodes)
		}
	}
	if p := cfg.Profile; p.Heartbeat < ms || p.Grant > MaxGrant || p.Grant < attemptBeats*p.Heartbeat {
		return bad("profile %q: heartbeat %d ns and grant %d ns do not fit; the grant is at least %d heartbeats and at most %d ns",
			p.Name, p.Heartbeat, p.Grant, attemptBeats, MaxGrant)
	}
	return c.checkEpoch(cfg, bad)
}

func (c *Core) checkEpoch(cfg Config, bad func(string, ...any) error) error {
	v := &c.voting
	if cfg.Epoch < v.ready {
		return fmt.Errorf("lease: configure: %w: epoch %d after %d", ErrOldEpoch, cfg.Epoch, v.ready)
	}
	if v.nextN == 0 || cfg.Epoch > v.ready+1 || cfg.Forced && cfg.Epoch > v.ready {
		return nil
	}
	changed := 0
	was := v.nextN
	is := func(n uint32) bool { // a voter of the ready epoch
		if n == c.self {
			return v.next
		}
		i := c.peerIndex(n)
		return i >= 0 && c.peers[i].next
	}
	for _, n := range cfg.Nodes {
		switch {
		case n.Voter && !is(n.Number):
			changed++
		case n.Voter:
			was--
		}
	}
	changed += was // voters that are none any more
	switch {
	case cfg.Epoch == v.ready && changed != 0:
		return bad("epoch %d has other voters than before", cfg.Epoch)
	case cfg.Epoch > v.ready && changed > 1:
		return bad("epoch %d changes %d voters; change one at a time", cfg.Epoch, changed)
	}
	return nil
}

// tryActivate puts the epoch that waits into force: when somebody awake has it in force already, or when majorities of
// the old and the new voters have made it durable, and so has everybody heard, or a second has passed.
func (c *Core) tryActivate() {
	v := &c.voting
	if v.ready == v.epoch {
		return
	}
	all := true
	var have, haveNext int
	if v.self && !c.muted() {
		have++
	}
	if v.next && !c.muted() {
		haveNext++
	}
	for i := range c.peers {
		pr := &c.peers[i]
		if !c.alive(pr) {
			continue
		}
		awake := pr.flags&FlagMute == 0
		if awake && pr.epoch >= v.ready {
			c.activate()
			return
		}
		if pr.ready < v.ready {
			all = false
			continue
		}
		if awake && pr.voter {
			have++
		}
		if awake && pr.next {
			haveNext++
		}
	}
	enough := have >= v.quorum() && haveNext >= v.nextN/2+1
	if v.forced || enough && (all || c.now-v.readySince >= epochGrace) {
		c.activate()
	}
}

// activate puts the epoch that waits into force. The lease already counted stands (its promises do); from here on
// only grants of the new epoch count.
func (c *Core) activate() {
	v := &c.voting
	v.epoch, v.self, v.n, v.forced = v.ready, v.next, v.nextN, false
	for i := range c.peers {
		pr := &c.peers[i]
		pr.voter = pr.next
		clear(pr.votes)
	}
	c.prunePeers()
	for i := range c.groups {
		c.groups[i].selfVote = 0
	}
	c.act(Action{Kind: EpochReported, Node: c.self, Epoch: v.epoch})
	c.flush = true
}
