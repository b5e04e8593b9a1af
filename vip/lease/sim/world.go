package sim

import (
	"fmt"
	"io"
	"time"

	"holdline/vip/lease"
	"holdline/vip/lease/internal/broken"
)

const (
	maxNodes  = 8
	maxGroups = 4
	inboxSize = 64
	forever   = int64(1) << 62
	ms        = int64(time.Millisecond)
)

// Setup is the cluster at the start.
type Setup struct {
	Voters, Others int // nodes that vote, nodes that do not
	Groups         int
	Profile        lease.Profile
	MaxPPM         int // clock rates are within ± this
	// FenceSlack is how late the kernel may close the fence, ns: its timer and the guard's way to it.
	FenceSlack int64
	// Late is how late a guard may be called after its deadline, ns.
	Late   int64
	Broken broken.Rules
	// FenceFromNow is a fault of the guard: it opens the fence for a whole lease from the moment it gets round to it.
	FenceFromNow bool
}

// Stats counts what happened in a run.
type Stats struct {
	Calls, Packets, Acquired, Lost, Lapsed int
	Brisk                                  int64 // Settle, if no node had just restarted and none stayed away
	Settle                                 int64 // how long after quiet had set in every group had its owner, ns
}

// World is a cluster in virtual time. Its own times are true time, ns since the start.
type World struct {
	setup    Setup
	now      int64
	dice     dice
	nodes    []node
	net      network
	cluster  cluster
	ops      []op
	nextOp   int
	acquired [maxGroups]uint64 // highest ballot that has owned a group
	quiet    bool
	apart    bool // some nodes stay out of the quiet
	stats    Stats
	wire     *lease.Sealer // nil: packets are handed over as they are
	wired    lease.Packet
	datagram []byte
	trace    io.Writer
	heartbts bool // trace plain heartbeats too
	terse    bool // trace no numbers of packets
	said     [maxNodes][maxNodes]string
	fault    error
}

// New returns a cluster whose nodes are still off.
func New(seed uint64, s Setup) *World {
	w := &World{}
	w.Reset(seed, s)
	return w
}

// Reset makes w as New would, reusing its memory.
func (w *World) Reset(seed uint64, s Setup) {
	nodes := w.nodes
	*w = World{setup: s, dice: dice(seed), nodes: nodes[:0], net: w.net, ops: w.ops[:0], cluster: w.cluster}
	w.net.reset()
	w.net.minDelay, w.net.maxDelay = 50_000, 400_000
	for i := range s.Voters + s.Others {
		var nd node
		if i < cap(nodes) {
			nd.inbox, nd.pending = nodes[:cap(nodes)][i].inbox[:0], nodes[:cap(nodes)][i].pending[:0]
		}
		nd.clock.offset = int64(w.dice.next() >> 8)
		if s.MaxPPM > 0 {
			nd.clock.ppm = int64(w.dice.below(2*s.MaxPPM+1) - s.MaxPPM)
		}
		nd.wake = forever
		w.nodes = append(w.nodes, nd)
	}
	w.cluster.reset(w)
}

// Now is the true time, ns since the start.
func (w *World) Now() int64 { return w.now }

// Fault is the first violation seen.
func (w *World) Fault() error { return w.fault }

// Stats returns what happened so far.
func (w *World) Stats() Stats { return w.stats }

// Trace writes what happens to out from now on; heartbeats that only repeat are left out unless all is set.
func (w *World) Trace(out io.Writer, all bool) { w.trace, w.heartbts = out, all }

func (w *World) fail(format string, a ...any) {
	if w.fault == nil {
		w.fault = fmt.Errorf("at %s: %s", stamp(w.now), fmt.Sprintf(format, a...))
		w.logf("VIOLATION %s", w.fault)
	}
}

// RunUntil lets time pass.
func (w *World) RunUntil(end int64) {
	for w.fault == nil {
		at, kind, who := end, 0, 0
		if w.nextOp < len(w.ops) && w.ops[w.nextOp].at < at {
			at, kind = w.ops[w.nextOp].at, 1
		}
		if len(w.net.queue) > 0 && w.net.queue[0].at < at {
			at, kind = w.net.queue[0].at, 2
		}
		for i := range w.nodes {
			if w.nodes[i].wake < at {
				at, kind, who = w.nodes[i].wake, 3, i
			}
		}
		if at > w.now {
			w.now = at
		}
		switch kind {
		case 0:
			return
		case 1:
			o := w.ops[w.nextOp]
			w.nextOp++
			w.do(o)
		case 2:
			w.deliver()
		case 3:
			w.wakeUp(who)
		}
	}
}
