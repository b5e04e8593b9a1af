package sim

import (
	"time"

	"holdline/vip/lease"
)

// op is one thing that befalls the cluster.
type op struct {
	at   int64
	kind opKind
	a, b int   // nodes, from 0
	g    int   // group, from 0
	n    int64 // duration, percent or other figure
}

type opKind uint8

const (
	opStart opKind = iota
	opCrash
	opPower
	opFreeze
	opArm // freeze between the next check and its effect
	opSleep
	opResume
	opCut
	opHeal
	opIsolate
	opRejoin
	opLoss
	opDelay
	opDup
	opReplay
	opNet
	opRelease
	opDrop
	opDropOwner
	opStale // a node that is given no new configuration until quiet sets in
	opHealth
	opCarrier
	opServing
	opVoter
	opVoterOnce // as opVoter, once for each node
	opPush
	opProfile
	opQuiet
)

// do carries an op out.
func (w *World) do(o op) {
	nd := &w.nodes[o.a]
	awake := nd.up && !nd.asleep && !nd.frozen(w.now)
	local := nd.clock.at(w.now)
	switch o.kind {
	case opStart:
		w.start(o.a)
	case opCrash:
		w.crash(o.a, false)
	case opPower:
		w.crash(o.a, true)
	case opFreeze:
		w.stop(o.a, w.now+o.n)
	case opArm:
		if awake {
			nd.freeze = o.n
		}
	case opSleep:
		w.sleep(o.a)
	case opResume:
		w.resume(o.a)
	case opCut, opHeal:
		w.logf("%s n%d → n%d", map[opKind]string{opCut: "cut", opHeal: "healed"}[o.kind], o.a+1, o.b+1)
		w.net.cut[o.a][o.b] = o.kind == opCut
	case opIsolate, opRejoin:
		w.logf("n%d is %s", o.a+1, map[opKind]string{opIsolate: "cut off", opRejoin: "connected"}[o.kind])
		for i := range w.nodes {
			w.net.cut[o.a][i], w.net.cut[i][o.a] = o.kind == opIsolate, o.kind == opIsolate
		}
	case opLoss:
		w.net.loss = int(o.n)
		w.logf("loss %d %%", o.n)
	case opDelay:
		w.net.maxDelay = max(o.n, w.net.minDelay)
		w.logf("delay up to %s", stamp(o.n))
	case opDup:
		w.net.dup = int(o.n)
	case opReplay:
		w.net.replay = int(o.n)
	case opNet:
		w.net.off = o.n == 0
		w.logf("network %s", map[bool]string{true: "down", false: "up"}[w.net.off])
	case opVoter:
		if w.changeVoter(o.a) {
			w.pushSoon(time.Duration(o.n))
		}
	case opVoterOnce:
		if !w.cluster.changed[o.a] && w.changeVoter(o.a) {
			w.cluster.changed[o.a] = true
			w.pushSoon(time.Duration(o.n))
		}
	case opPush:
		w.push(o.a)
	case opProfile:
		p := lease.Fast()
		if o.n != 0 {
			p = lease.Standard()
		}
		w.changeProfile(p)
		w.pushSoon(100 * time.Millisecond)
	case opStale:
		w.cluster.stale = o.a
	case opDropOwner:
		if i := w.owner(o.g); i >= 0 {
			w.order(op{kind: opDrop, a: i, g: o.g}, w.nodes[i].clock.at(w.now))
		}
	case opQuiet:
		w.calm()
	default:
		if awake {
			w.order(o, local)
		}
	}
}

// order is an op that the guard hands to its core.
func (w *World) order(o op, local int64) {
	core := w.nodes[o.a].core
	g := uint32(o.g + 1)
	var acts []lease.Action
	switch o.kind {
	case opRelease:
		if _, _, ok := core.Lease(local, g); !ok {
			return
		}
		w.logf("n%d is told to move g%d to %s", o.a+1, g, target(uint32(o.b)))
		acts = core.Release(local, g, uint32(o.b))
	case opDrop:
		w.logf("n%d is told to drop g%d", o.a+1, g)
		acts = core.Drop(local, g)
	case opHealth:
		w.logf("n%d has health %d", o.a+1, o.n)
		w.nodes[o.a].health = uint32(o.n)
		acts = core.SetHealth(local, uint32(o.n))
	case opCarrier:
		w.logf("n%d g%d carrier %v", o.a+1, g, o.n != 0)
		acts = core.SetCarrier(local, g, o.n != 0)
	case opServing:
		w.logf("n%d serving %v", o.a+1, o.n != 0)
		acts = core.SetServing(local, 0, o.n != 0)
	}
	w.carryOut(o.a, acts)
}

// pushSoon hands the latest version to each node within a while, each at its own time. Nodes that are down or cut off from the
// replicated configuration get it when quiet sets in.
func (w *World) pushSoon(within time.Duration) {
	for i := range w.nodes {
		if i != w.cluster.stale && w.dice.percent(80) {
			w.insert(op{at: w.now + w.dice.between(0, within), kind: opPush, a: i})
		}
	}
}

// insert puts an op in its place among those still to come.
func (w *World) insert(o op) {
	w.ops = append(w.ops, o)
	for i := len(w.ops) - 1; i > w.nextOp && w.ops[i-1].at > w.ops[i].at; i-- {
		w.ops[i-1], w.ops[i] = w.ops[i], w.ops[i-1]
	}
}
