package lease

import (
	"fmt"

	"holdline/vip/lease/internal/broken"
)

// Options fix what a Core is for its life.
type Options struct {
	Node        uint32 // this node's number
	Incarnation uint64 // not 0, different at each start (64 random bits)
	Seed        uint64 // of the jitter
	Config      Config
	// Broken takes rules out, for the tests of the simulator. Code outside this directory cannot name them.
	Broken broken.Rules
}

// Core is the lease protocol of one node. Not safe for concurrent use. The actions returned by a call, and the packets
// in them, are valid until the next call.
type Core struct {
	self   uint32
	inc    uint64
	rng    uint64
	broken broken.Rules

	now       int64 // of the call in progress; never goes back
	muteUntil int64
	nextBeat  int64
	lastSend  int64
	flush     bool // something others wait for has changed: send before the next heartbeat
	stopped   bool
	health    uint32

	profile Profile
	member  bool // this node is in the configuration
	voting  voting
	peers   []peer  // the other nodes, by number
	groups  []group // by number
	allFit  fitness // carrier and serving of groups still to come

	reachable bool  // a majority hears this node and is heard
	since     int64 // since when
	outage    int64 // until when the last time it was not so counts; 0: all groups have had owners since
	stallEnd  int64 // end of the last time this node was not called for long; 0: never

	seq      uint64
	sent     ring
	releases []pendingRelease

	acts []Action
	out  outbox
}

// Factors of the heartbeat.
const (
	silentBeats  = 3  // silence after which a node is taken to be gone: a request is queued, nothing is decided by it
	rankBeats    = 2  // a candidate waits this much for each better one
	attemptBeats = 5  // a candidate gives up when it has no majority this long after the last promise can have run out
	yieldBeats   = 30 // a healthier node must have been there this long before an owner offers a group
)

const (
	ms           = int64(1e6)
	muteTime     = MaxGrant + MaxGrant/10
	demotion     = 5000 * ms // how long a node that lost or gave a group up ranks last for it
	outageMemory = 5000 * ms // how long an outage counts as common
	offerTime    = 500 * ms  // how long a planned move may take to be accepted
	offerEach    = 100 * ms  // how long each node is asked when any will do
	epochGrace   = 1000 * ms // how long a majority waits for slower nodes before new voters take effect
	flushGap     = 1 * ms    // least time between two packets to the same node
	absence      = 1000 * ms // a peer that is silent for longer is away
)

// usable is the part of a grant during which its holder counts on it. The rest covers differing clock rates and the
// fence's latency.
func (c *Core) usable(grant int64) int64 {
	if c.broken.Has(broken.WholeGrant) {
		return grant
	}
	return grant / 10 * 8
}

// New returns a Core that is mute (it listens, but neither grants nor requests) until it has outlived every grant that
// this node may have given before it started.
func New(opt Options, now int64) (*Core, error) {
	if opt.Node < 1 || opt.Node > MaxNode {
		return nil, fmt.Errorf("lease: start node %d: %w: node numbers are 1 to %d", opt.Node, ErrConfig, MaxNode)
	}
	if opt.Incarnation == 0 {
		return nil, fmt.Errorf("lease: start node %d: %w: incarnation is 0", opt.Node, ErrConfig)
	}
	c := &Core{
		self: opt.Node, inc: opt.Incarnation, rng: opt.Seed, broken: opt.Broken,
		now: now, nextBeat: now, outage: now + outageMemory, since: now, lastSend: now - flushGap,
		allFit: fitness{carrier: true},
	}
	c.mute()
	if err := c.configure(opt.Config); err != nil {
		return nil, err
	}
	c.activate()
	c.acts = c.acts[:0]
	return c, nil
}

func (c *Core) mute() {
	if !c.broken.Has(broken.NoMute) {
		c.muteUntil = c.now + muteTime
	}
}

func (c *Core) muted() bool { return c.now < c.muteUntil }

func (c *Core) beats(n int64) int64 { return n * c.profile.Heartbeat }

// random returns a number in [0, n). It is splitmix64: the seed decides all.
func (c *Core) random(n int64) int64 {
	if n <= 0 {
		return 0
	}
	c.rng += 0x9e3779b97f4a7c15
	z := c.rng
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int64((z ^ z>>31) % uint64(n))
}

// begin opens a call: time moves on, and what ran out meanwhile is lost before anything else is looked at.
func (c *Core) begin(now int64) {
	c.acts = c.acts[:0]
	if now < c.now {
		now = c.now
	}
	// Not having been called for so long means that this process was frozen, not that all the others fell silent.
	stalled := now-c.now > c.beats(silentBeats)
	c.now = now
	if stalled {
		c.stallEnd = now
		c.reachable = c.hearsMajority()
	}
	for i := range c.groups {
		g := &c.groups[i]
		if g.state == owning && now >= g.until && !c.broken.Has(broken.LapseUnnoticed) {
			c.lose(i, Lapsed, 0)
		}
	}
}

// finish closes a call.
func (c *Core) finish() []Action {
	if c.flush && c.now-c.lastSend >= flushGap {
		c.broadcast()
	}
	return c.acts
}

func (c *Core) act(a Action) { c.acts = append(c.acts, a) }

// Receive takes an authentic packet in. p is not kept.
func (c *Core) Receive(now int64, p *Packet) []Action {
	c.begin(now)
	if pi := c.accept(p); pi >= 0 {
		c.learn(pi, p)
		c.takeReleases(pi, p)
		c.takeRequests(pi)
		c.takeGrants(pi)
		c.tryActivate()
		c.contend()
	}
	return c.finish()
}

// Tick does what is due. Call it at NextDeadline; calling it earlier or later is harmless.
func (c *Core) Tick(now int64) []Action {
	c.begin(now)
	for i := range c.groups {
		c.grantBest(i)
	}
	if c.now >= c.nextBeat {
		c.nextBeat += c.profile.Heartbeat
		if c.nextBeat <= c.now {
			c.nextBeat = c.now + c.profile.Heartbeat
		}
		c.beat()
		c.broadcast()
	} else {
		c.contend()
	}
	return c.finish()
}

// beat is what is looked at once in a heartbeat.
func (c *Core) beat() {
	was := c.reachable
	c.reachable = c.hearsMajority()
	switch {
	case !c.reachable:
		c.outage = c.now + outageMemory
	case !was:
		c.since = c.now
	case c.allOwned():
		c.outage = 0
	}
	for i := range c.groups {
		c.forgetOwner(i)
		c.yieldByHealth(i)
	}
	c.tryActivate()
	c.contend()
}

// contend lets each group take its next step as candidate or as owner that moves it.
func (c *Core) contend() {
	for i := range c.groups {
		switch c.groups[i].state {
		case idle:
			c.tryCandidate(i)
		case asking:
			c.tryWithdraw(i)
		case owning:
			c.tryHandOver(i)
		}
	}
}

// NextDeadline is the time of the next Tick, ns. It may have moved after each call on the Core.
func (c *Core) NextDeadline() int64 {
	d := c.nextBeat
	if c.flush {
		d = min(d, c.lastSend+flushGap)
	}
	for i := range c.groups {
		g := &c.groups[i]
		if g.state == owning && g.until > c.now {
			d = min(d, g.until)
		}
		// Early requests wait for the promise to run out.
		if g.promise.until > c.now && g.promise.until < d && c.hasWaiting(i) {
			d = g.promise.until
		}
	}
	return d
}
