package sim

import (
	"time"
)

// Bound is how long after quiet has set in every group has an owner at the latest: the mute time of a node that has just
// restarted (330 ms) by the slowest clock, once more for a better candidate that is still mute at a cold start, the
// silence, a wait for each of six better candidates, and one attempt that failed. The longest promise is over by then.
const Bound = time.Second

// BriskBound is the bound where no node has just restarted, all use the fast profile and none stays out of it: the longest
// promise, the silence, a wait for each of six better candidates, and one attempt that failed.
const BriskBound = 330 * time.Millisecond

// Calm is how long the cluster is watched after that: nothing may be lost any more.
const Calm = 80 * time.Millisecond

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
