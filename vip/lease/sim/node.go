package sim

import (
	"holdline/vip/lease"
)

// node is one box: a guard with its core, its clock and the fence in its kernel.
type node struct {
	core    *lease.Core
	up      bool
	asleep  bool
	clock   clock
	wake    int64 // true time of the next call; forever: none
	version int   // of the configuration it has made durable
	starts  int
	health  uint32
	slept   int64 // when it fell asleep

	// A frozen process: what it was about to do, and what waits in its socket.
	thaw    int64
	freeze  int64 // freeze for so long between the next check and its effect; 0: no
	pending []lease.Action
	inbox   []int32

	// For the oracles: when the newest packet of each other node that has come in was sent, as of now and as of each
	// packet this node has sent; the highest number that has come in from each.
	heard       [maxNodes]int64
	hearing     [hearingSize]hearing
	incarnation uint64
	newest      [maxNodes]uint64

	fence [maxGroups]int64 // by its own clock: open until; 0: closed
}

const hearingSize = 64

// hearing is what a node had heard when it sent a packet: when the newest packet of each other node had been sent.
type hearing struct {
	seq       uint64
	at, grant int64
	from      [maxNodes]int64
}

func (n *node) frozen(now int64) bool { return now < n.thaw }

func (w *World) start(i int) {
	nd := &w.nodes[i]
	if nd.up {
		return
	}
	nd.up, nd.starts, nd.thaw, nd.freeze = true, nd.starts+1, 0, 0
	nd.fence = [maxGroups]int64{} // a starting guard closes the fence it finds
	nd.incarnation = w.dice.next() | 1
	nd.heard, nd.newest = [maxNodes]int64{}, [maxNodes]uint64{}
	for k := range w.nodes {
		w.nodes[k].newest[i] = 0
	}
	for k := range nd.hearing {
		nd.hearing[k].seq = 0
	}
	core, err := lease.New(lease.Options{
		Node: uint32(i + 1), Incarnation: nd.incarnation, Seed: w.dice.next(),
		Config: w.cluster.config(w, nd.version), Broken: w.setup.Broken,
	}, nd.clock.at(w.now))
	if err != nil {
		w.fail("n%d does not start: %v", i+1, err)
		return
	}
	nd.core = core
	w.logf("n%d starts", i+1)
	w.carryOut(i, core.SetServing(nd.clock.at(w.now), 0, true))
	w.carryOut(i, core.SetHealth(nd.clock.at(w.now), nd.health))
}

// crash ends the guard. The fence in its kernel runs on until its time is out, unless the machine went with it.
func (w *World) crash(i int, power bool) {
	nd := &w.nodes[i]
	if !nd.up {
		return
	}
	w.logf("n%d dies%s", i+1, map[bool]string{true: " with its machine"}[power])
	nd.up, nd.asleep, nd.thaw, nd.freeze, nd.wake = false, false, 0, 0, forever
	w.dropPending(nd)
	if power {
		nd.fence = [maxGroups]int64{}
	}
}

func (w *World) dropPending(nd *node) {
	for _, p := range nd.inbox {
		w.net.drop(p)
	}
	for i := range nd.pending {
		nd.pending[i].Packet = nil
	}
	nd.inbox, nd.pending = nd.inbox[:0], nd.pending[:0]
}

// stop freezes the process (SIGSTOP): clock and kernel go on.
func (w *World) stop(i int, until int64) {
	nd := &w.nodes[i]
	if nd.up && !nd.asleep {
		w.logf("n%d is frozen for %s", i+1, stamp(until-w.now))
		nd.thaw = max(nd.thaw, until)
		nd.wake = nd.thaw
	}
}

// sleep suspends the machine: nothing leaves it, its clock stands still.
func (w *World) sleep(i int) {
	nd := &w.nodes[i]
	if nd.up && !nd.asleep && !nd.frozen(w.now) && len(nd.pending) == 0 {
		w.logf("n%d falls asleep", i+1)
		nd.asleep, nd.slept, nd.wake = true, w.now, forever
	}
}

func (w *World) resume(i int) {
	nd := &w.nodes[i]
	if !nd.up || !nd.asleep {
		return
	}
	nd.asleep = false
	nd.freeze = 0 // what the guard does first on waking is to close the fence (see DESIGN.md, assumptions)
	away := w.now - nd.slept
	nd.clock.offset -= away + away*nd.clock.ppm/1e6
	w.logf("n%d wakes up after %s", i+1, stamp(away))
	w.carryOut(i, nd.core.Suspended(nd.clock.at(w.now)))
	for g := range nd.fence {
		w.checkFence(i, g)
	}
}

// wakeUp calls a core whose deadline has come, or lets a frozen process go on.
func (w *World) wakeUp(i int) {
	nd := &w.nodes[i]
	if nd.thaw != 0 {
		w.logf("n%d goes on", i+1)
		nd.thaw = 0
		if len(nd.pending) > 0 {
			acts := append([]lease.Action(nil), nd.pending...)
			nd.pending = nd.pending[:0]
			w.effect(i, acts)
		}
		if w.dice.percent(50) {
			w.tick(i)
		}
		for len(nd.inbox) > 0 && !nd.frozen(w.now) {
			p := nd.inbox[0]
			nd.inbox = append(nd.inbox[:0], nd.inbox[1:]...)
			w.receive(i, p)
		}
		if nd.frozen(w.now) {
			return
		}
	}
	w.tick(i)
}

func (w *World) tick(i int) {
	nd := &w.nodes[i]
	if nd.up && !nd.asleep && !nd.frozen(w.now) {
		w.stats.Calls++
		w.carryOut(i, nd.core.Tick(nd.clock.at(w.now)))
	}
}

// carryOut judges what the core has decided, and does it.
func (w *World) carryOut(i int, acts []lease.Action) {
	for k := range acts {
		if acts[k].Kind == lease.Acquired {
			w.checkBallot(i, &acts[k])
		}
	}
	w.effect(i, acts)
}

// effect does what the core asks for, in order. An armed freeze strikes in between: the rest is done after it, late.
func (w *World) effect(i int, acts []lease.Action) {
	nd := &w.nodes[i]
	for k := range acts {
		a := &acts[k]
		if nd.freeze != 0 && (a.Kind != lease.Send || w.dice.percent(10)) {
			until := w.now + nd.freeze
			nd.freeze = 0
			for _, rest := range acts[k:] {
				if rest.Packet != nil {
					p := *rest.Packet
					p.Requests = append([]lease.Request(nil), p.Requests...)
					p.Grants = append([]lease.Grant(nil), p.Grants...)
					p.Releases = append([]lease.Release(nil), p.Releases...)
					rest.Packet = &p
				}
				nd.pending = append(nd.pending, rest)
			}
			w.stop(i, until)
			return
		}
		switch a.Kind {
		case lease.Send:
			w.send(i, a.Packet)
		case lease.Acquired:
			w.stats.Acquired++
			w.logf("n%d owns g%d with %s", i+1, a.Group, ballot(a.Ballot))
			w.openFence(i, int(a.Group)-1, a)
		case lease.Renewed:
			w.openFence(i, int(a.Group)-1, a)
		case lease.Lost:
			w.stats.Lost++
			if a.Reason == lease.Lapsed {
				w.stats.Lapsed++
			}
			w.logf("n%d has lost g%d (%s)", i+1, a.Group, a.Reason)
			nd.fence[a.Group-1] = 0
			if w.quiet && a.Reason == lease.Superseded {
				w.fail("n%d was superseded on g%d", i+1, a.Group)
			}
		case lease.OwnerSeen:
			w.logf("n%d sees g%d owned by %s", i+1, a.Group, nodeName(a.Node))
		case lease.EpochReported:
			if int(a.Node) == i+1 {
				w.logf("n%d has epoch %d in force", i+1, a.Epoch)
			}
		case lease.ReleaseFailed:
			w.logf("n%d: nobody takes g%d", i+1, a.Group)
		}
	}
	w.schedule(i)
}

// schedule notes when the core wants to be called next.
func (w *World) schedule(i int) {
	nd := &w.nodes[i]
	if !nd.up || nd.asleep || nd.frozen(w.now) {
		return
	}
	nd.wake = max(nd.clock.when(nd.core.NextDeadline()), w.now)
	if w.setup.Late > 0 {
		nd.wake += int64(w.dice.next()>>1) % w.setup.Late
	}
}
