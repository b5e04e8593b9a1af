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
		kinds = d.next()
		kinds &= d.next()
		kinds &= d.next()
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
