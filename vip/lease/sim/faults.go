package sim

import "time"

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
