package sim

import (
	"fmt"
	"io"
	"time"

	"holdline/vip/lease"
	"holdline/vip/lease/internal/broken"
)

// Options of a random schedule.
type Options struct {
	Broken       broken.Rules
	FenceFromNow bool
	Trace        io.Writer     // nil: none
	Heartbeats   bool          // trace plain heartbeats too
	Wire         *lease.Sealer // encode, sign, check and decode every packet
}

// Rates and delays the schedules stay within: the assumptions under which the protocol is safe (see ../DESIGN.md).
const (
	ClockPPM   = 50_000 // ± 5 %
	FenceSlack = 5 * time.Millisecond
)

// Bound is how long after quiet has set in every group has an owner at the latest: the mute time of a node that has just restarted
// (330 ms) by the slowest clock, once more for a better candidate that is still mute at a cold start, the longest
// promise that may stand, and contention.
const Bound = 1500 * time.Millisecond

// BriskBound is the bound where no node has just restarted, all use the fast profile and none stays out of it: the longest
// promise, the silence, a wait for each of six better candidates, and one attempt that failed.
const BriskBound = 330 * time.Millisecond

// Calm is how long the cluster is watched after that: nothing may be lost any more.
const Calm = 80 * time.Millisecond

// Run plays the schedule of a seed. The error is the first violation.
func Run(seed uint64, opt Options) (Stats, error) {
	var w World
	return w.Run(seed, opt)
}

// Run plays the schedule of a seed, reusing w's memory.
func (w *World) Run(seed uint64, opt Options) (Stats, error) {
	d := dice(seed ^ 0x5bd1e995)
	s := Setup{
		Voters:     [...]int{1, 2, 3, 3, 3, 3, 3, 3, 5, 7}[d.below(10)],
		Groups:     1 + d.below(2),
		Profile:    lease.Fast(),
		MaxPPM:     ClockPPM,
		FenceSlack: int64(FenceSlack),
		Late:       [...]int64{0, ms / 5, ms, 3 * ms}[d.below(4)],
		Broken:     opt.Broken, FenceFromNow: opt.FenceFromNow,
	}
	if d.percent(15) {
		s.Profile = lease.Standard()
	}
	if d.percent(20) && s.Voters < 5 {
		s.Others = 1
	}
	w.Reset(d.next(), s)
	if opt.Trace != nil {
		w.Trace(opt.Trace, opt.Heartbeats)
		w.logf("seed %d: %d voters, %d other nodes, %d groups, profile %s", seed, s.Voters, s.Others, s.Groups, s.Profile.Name)
	}
	w.wire = opt.Wire
	end := w.plan(&d)
	w.RunUntil(end)
	if w.fault == nil {
		brisk := w.brisk()
		w.checkLiveness()
		if brisk && w.fault == nil {
			w.stats.Brisk = w.stats.Settle
			if w.stats.Settle > int64(BriskBound) {
				w.fail("a group had no owner until %s after quiet had set in, though all were awake", stamp(w.stats.Settle))
			}
		}
	}
	if w.fault != nil {
		return w.stats, fmt.Errorf("seed %d: %w", seed, w.fault)
	}
	return w.stats, nil
}

// plan lays the schedule out: start, faults, then quiet. It returns when quiet sets in.
func (w *World) plan(d *dice) int64 {
	n := len(w.nodes)
	spread := [...]time.Duration{time.Millisecond, 30 * time.Millisecond, 400 * time.Millisecond}[d.below(3)]
	for i := range n {
		w.ops = append(w.ops, op{at: d.between(0, spread), kind: opStart, a: i})
	}
	// Most schedules spend the time in which all are mute without a network: nothing of interest happens in it.
	if d.percent(80) {
		w.net.off = true
		w.ops = append(w.ops, op{at: 300 * ms, kind: opNet, n: 1})
	}
	if d.percent(30) {
		w.ops = append(w.ops, op{at: 300 * ms, kind: opReplay, n: int64(1 + d.below(20))})
	}
	from := 300*ms + d.between(0, 150*time.Millisecond)
	length := 150*time.Millisecond + time.Duration(d.below(350))*time.Millisecond
	if d.percent(10) {
		length = w.planVoters(d, from)
	}
	// Half of the schedules mix all kinds of faults, the others only a few of them, which then meet more often.
	kinds := ^uint64(0)
	if d.percent(50) {
		kinds = d.next() & d.next() & d.next()
	}
	for k := 1 + d.below(8); k > 0; k-- {
		kind := d.below(faultKinds)
		for try := 0; kinds>>kind&1 == 0 && try < 30; try++ {
			kind = d.below(faultKinds)
		}
		w.planFault(d, kind, from+d.between(0, length))
	}
	end := from + int64(length)
	w.ops = append(w.ops, op{at: end, kind: opQuiet})
	// A stable insertion sort: the ops are few.
	for i := 1; i < len(w.ops); i++ {
		for k := i; k > 0 && w.ops[k-1].at > w.ops[k].at; k-- {
			w.ops[k-1], w.ops[k] = w.ops[k], w.ops[k-1]
		}
	}
	return end + 1
}

// planVoters changes the voters two or three times, each change as soon as the wait for it is over, mostly in the same
// direction. One node does not hear of it: cut off at first, it then finds itself on one side of a partition.
func (w *World) planVoters(d *dice, from int64) (length time.Duration) {
	n := len(w.nodes)
	stale, other := d.below(n), d.below(n)
	w.ops = append(w.ops, op{at: from, kind: opStale, a: stale}, op{at: from, kind: opIsolate, a: stale})
	first := d.below(n)
	steps := 2 + d.below(2)
	length = time.Duration(steps) * 450 * time.Millisecond
	for at := from + 50*ms; at < from+int64(length); at += 25 * ms {
		who := (first + int((at-from)/(450*ms))) % n
		if who != stale || d.percent(20) {
			w.ops = append(w.ops, op{at: at, kind: opVoterOnce, a: who, n: d.between(time.Millisecond, 30*time.Millisecond)})
		}
	}
	at := from + int64(length) - 50*ms
	length += 200 * time.Millisecond
	w.ops = append(w.ops, op{at: at, kind: opRejoin, a: stale})
	for i := range n {
		for k := range n {
			if inside := func(x int) bool { return x == stale || x == other }; inside(i) != inside(k) {
				w.ops = append(w.ops, op{at: at + 1, kind: opCut, a: i, b: k})
			}
		}
	}
	return length
}

const faultKinds = 22

// planFault adds one thing that goes wrong, or is ordered, and its end.
func (w *World) planFault(d *dice, kind int, at int64) {
	n := len(w.nodes)
	a, b, g := d.below(n), d.below(n), d.below(w.setup.Groups)
	short := d.between(5*time.Millisecond, 250*time.Millisecond)
	add := func(o op) { w.ops = append(w.ops, o) }
	pair := func(on, off op, length int64) {
		on.at, off.at = at, at+length
		add(on)
		add(off)
	}
	switch kind {
	case 0, 1: // the guard dies and comes back, soon or later
		kind := opCrash
		if d.percent(30) {
			kind = opPower
		}
		pair(op{kind: kind, a: a}, op{kind: opStart, a: a}, short)
	case 2, 3:
		pair(op{kind: opIsolate, a: a}, op{kind: opRejoin, a: a}, short)
	case 4, 5: // one-way cut
		pair(op{kind: opCut, a: a, b: b}, op{kind: opHeal, a: a, b: b}, short)
	case 6: // deaf: it sends but does not hear
		for i := range n {
			pair(op{kind: opCut, a: i, b: a}, op{kind: opHeal, a: i, b: a}, short)
		}
	case 7: // partition
		side := d.next()
		for i := range n {
			for k := range n {
				if (side>>i)&1 != (side>>k)&1 {
					pair(op{kind: opCut, a: i, b: k}, op{kind: opHeal, a: i, b: k}, short)
				}
			}
		}
	case 8:
		add(op{at: at, kind: opFreeze, a: a, n: short})
	case 9, 10:
		add(op{at: at, kind: opArm, a: a, n: short})
	case 11:
		pair(op{kind: opSleep, a: a}, op{kind: opResume, a: a}, d.between(5*time.Millisecond, 400*time.Millisecond))
	case 12:
		pair(op{kind: opLoss, n: int64(5 + d.below(60))}, op{kind: opLoss}, short)
	case 13: // slow and out of order
		pair(op{kind: opDelay, n: d.between(time.Millisecond, 80*time.Millisecond)}, op{kind: opDelay, n: ms / 2}, short)
	case 14:
		pair(op{kind: opDup, n: 30}, op{kind: opDup}, short)
	case 15, 16:
		to := 0
		if d.percent(70) {
			to = b + 1
		}
		for i := range n { // whoever owns it
			add(op{at: at, kind: opRelease, a: i, b: to, g: g})
		}
	case 17:
		add(op{at: at, kind: opDrop, a: a, g: g})
		pair(op{kind: opNet}, op{kind: opNet, n: 1}, d.between(30*time.Millisecond, 120*time.Millisecond))
	case 18:
		if d.percent(50) {
			add(op{at: at, kind: opHealth, a: a, n: int64(d.below(3))})
		} else {
			pair(op{kind: opCarrier, a: a, g: g}, op{kind: opCarrier, a: a, g: g, n: 1}, short)
		}
	case 19:
		pair(op{kind: opServing, a: a}, op{kind: opServing, a: a, n: 1}, short)
	case 20: // to and fro, within less than the longer grant
		pair(op{kind: opProfile, n: int64(d.below(2))}, op{kind: opProfile, n: int64(d.below(2))}, short)
	case 21: // dropped as soon as it is owned
		for range 2 + d.below(6) {
			add(op{at: at, kind: opDropOwner, g: g})
			at += d.between(time.Millisecond, 30*time.Millisecond)
		}
	}
}

// calm ends the faults: a majority of the voters is connected, awake and serving; of the rest some may stay away, or
// reach only some of the others. Replays go on.
func (w *World) calm() {
	w.logf("quiet sets in")
	w.quiet = true
	w.ops = w.ops[:w.nextOp]
	n := &w.net
	n.off, n.loss, n.dup = false, 0, 0
	n.minDelay, n.maxDelay = 50_000, [...]int64{100_000, 400_000, 2_000_000}[w.dice.below(3)]
	n.cut = [maxNodes][maxNodes]bool{}
	apart := w.choosePart()
	for i := range w.nodes {
		nd := &w.nodes[i]
		w.resume(i)
		nd.freeze = 0
		if nd.frozen(w.now) {
			nd.thaw, nd.wake = w.now, w.now
		}
		if apart[i] {
			continue
		}
		w.start(i)
	}
	// What was frozen goes on before it is given orders.
	for i := range w.nodes {
		if nd := &w.nodes[i]; nd.up && nd.thaw != 0 {
			w.wakeUp(i)
		}
	}
	for i := range w.nodes {
		if !w.nodes[i].up {
			continue
		}
		w.do(op{kind: opServing, a: i, n: 1})
		for g := range w.setup.Groups {
			w.do(op{kind: opCarrier, a: i, g: g, n: 1})
		}
		if w.nodes[i].version != len(w.cluster.versions)-1 {
			w.push(i)
		}
	}
}

// choosePart picks the nodes that stay out of the quiet majority and decides how they are cut off.
func (w *World) choosePart() (apart [maxNodes]bool) {
	if len(w.cluster.versions) > 1 || w.dice.percent(40) {
		return apart
	}
	spare := (w.setup.Voters - 1) / 2
	for range spare {
		apart[w.dice.below(len(w.nodes))] = true
		w.apart = true
	}
	how := w.dice.below(3)
	for i := range w.nodes {
		if !apart[i] {
			continue
		}
		for k := range w.nodes {
			if k == i {
				continue
			}
			in, out := true, true
			if how == 1 { // only some ways are cut
				in, out = w.dice.percent(50), w.dice.percent(50)
			}
			w.net.cut[i][k], w.net.cut[k][i] = out, in
		}
		if how == 2 {
			w.crash(i, true)
		} else {
			w.start(i)
		}
	}
	w.logf("apart: %v", apart[:len(w.nodes)])
	return apart
}

// checkLiveness waits for every group to have an owner that keeps it. Leases that were counted before quiet set in may
// still lapse; once they are over and all groups are owned, nothing may lapse any more.
func (w *World) checkLiveness() {
	since := w.now
	settled, lapsed := since, w.stats.Lapsed
	over := since + w.setup.Profile.Grant
	for _, v := range w.cluster.versions {
		over = max(over, since+v.profile.Grant)
	}
	for w.fault == nil && w.now < max(over, settled)+int64(Calm) {
		switch owned := w.allOwned(); {
		case owned && w.stats.Lapsed != lapsed && settled > over:
			w.fail("a lease lapsed though all is quiet")
		case !owned:
			settled = w.now + 5*ms
		}
		lapsed = w.stats.Lapsed
		if settled-since > int64(Bound) {
			w.fail("a group has no owner %s after quiet has set in", stamp(settled-since))
		}
		w.RunUntil(w.now + 5*ms)
	}
	w.stats.Settle = settled - since
}

// brisk says whether nothing stands in the way of a quick settlement.
func (w *World) brisk() bool {
	if len(w.cluster.versions) > 1 || w.setup.Profile.Name != "fast" || w.apart {
		return false
	}
	for i := range w.nodes {
		nd := &w.nodes[i]
		if _, mute := nd.core.Muted(nd.clock.at(w.now)); mute || !nd.up {
			return false
		}
	}
	return true
}
