package lease

type state uint8

const (
	idle state = iota
	asking
	owning
)

// group is what this node knows and does about one VIP group, in each of its parts: as grantor, as requester, and as
// one who watches who owns it.
type group struct {
	number  uint32
	present bool // in the configuration; false: only its promise is still remembered
	order   []uint32
	floor   uint64
	fit     fitness

	// As grantor.
	promise  promise
	granted  uint64 // highest ballot granted, other than withdrawn ones
	before   uint64 // granted before promise was given
	reserved reservation

	// As requester. until is when the lease ends; told is the end last told to the caller.
	state      state
	ballot     uint64
	selfVote   int64
	until      int64
	told       int64
	giveUpAt   int64  // end of the attempt
	reballotAt int64  // last change of ballot within the attempt
	accepting  uint32 // the owner that has offered the group to this node
	priority   uint16
	failures   uint8
	backoff    int64 // no attempt before
	jitter     int64

	// As owner that would like to move the group.
	offer offer
	worse int64 // since when a healthier node has been there; 0: none

	// As watcher.
	seen        uint64 // highest ballot seen
	owner       uint32 // 0: nobody known; not this node
	ownerBallot uint64
	ownerHeard  int64
	released    uint64 // highest ballot an owner has given up: news of it and lower ones is stale
	suspected   bool   // owner has been silent; its demotion has been noted
	last        uint32 // last known owner, this node included
	demoted     int64  // until when last ranks last
	resigned    bool   // last gave the group up of its own accord
	vacated     int64  // no attempt before: when the group fell vacant, and time for the node named in a release
}

// fitness says whether this node could serve a group.
type fitness struct{ carrier, serving bool }

func (f fitness) ok() bool { return f.carrier && f.serving }

// promise is the word this node has given as grantor. It runs while until is in the future; node and ballot stay after that.
type promise struct {
	node   uint32
	ballot uint64
	seq    uint64
	until  int64
	owned  bool
}

// reservation keeps a released group for the node the release named.
type reservation struct {
	node  uint32
	until int64
}

// offer is a planned move under way.
type offer struct {
	to    uint32 // the node asked now; 0: no move
	any   bool   // whoever accepts
	auto  bool   // for health's sake, not by order
	next  int64  // when to ask the next one
	until int64
}

func (g *group) place(node uint32) int {
	for i, n := range g.order {
		if n == node {
			return i
		}
	}
	return -1
}

func (g *group) see(ballot uint64) {
	if ballot > g.seen {
		g.seen = ballot
	}
}

// find returns the index of a group, -1 if unknown. from is a guess: packets list groups in the same order.
func (c *Core) find(number uint32, from int) int {
	for i := from; i < len(c.groups); i++ {
		if c.groups[i].number == number {
			return i
		}
	}
	for i := 0; i < from && i < len(c.groups); i++ {
		if c.groups[i].number == number {
			return i
		}
	}
	return -1
}
