package proxy

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dchest/siphash"

	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// Admission decides which new requests are turned away when more come than can be served (DESIGN §5, overload). It goes by two
// delays: how long datagrams lie in the sockets' queues, and how long calls and registrations wait to be committed. Each
// counts with the least that was seen in a window: a burst, or the pause while raft elects a leader, has an end and then a small
// delay; a standing queue has none. It is this node's own; the zero Admission admits all. Safe for concurrent use by
// readers and shards; Step is for one goroutine. Beside it, new requests are turned away as transactions fill the memory: see
// Shard.crowded.
type Admission struct {
	pressure atomic.Uint32 // 0 … 2 * one; see Step

	queued    window
	committed window
	waiting   atomic.Int64 // new requests that are being committed
	datagrams atomic.Int64 // in this window
	fresh     atomic.Int64 // of them: new requests that need state
	lost      atomic.Int64 // datagrams that the kernel had no room for, in this window
	taken     atomic.Int64 // see Taken

	end  int64   // of this window; for Step alone, as is what follows
	last float64 // by how much the delays exceeded their targets
	over int     // for how many windows they have

	// rate is how many new requests can be committed in a window, as far as is known from when more came; offered is how many come.
	rate, offered float64
	recent        [10]int64 // how many were committed in the last windows
	turns         int
}

const (
	one = 1 << 16 // of pressure: all new requests that need state are refused

	stepEvery = int64(100 * time.Millisecond)
	// Targets of the delays. A client repeats itself after T1 = 500 ms: what takes longer is served more than once.
	queueTarget  = int64(100 * time.Millisecond)
	commitTarget = int64(250 * time.Millisecond)
	// fewest is how many delays a window must have for its least to mean something.
	fewestQueued, fewestCommitted = 4, 10
	// patient is how many windows in a row the delays must exceed their targets before anybody is turned away, hasty when what waits for
	// its commit tells that they will by far.
	patient, hasty = 3, 2
	// cause is the least share of new requests among all datagrams at which turning them away can shorten the sockets' queues: in a flood
	// of junk it cannot.
	cause = 0.05

	// longRequest is half of what a transaction is reckoned to take, in bytes.
	longRequest = 1 << 10

	// How pressure follows the excess, and its change, per window.
	gainExcess, gainChange = 0.03, 0.2
	mostExcess             = 8.0
	// While more comes than the log can take, what is let in stays between two shares of what it can: from ebb down by drain per excess, so
	// that what has gathered shrinks; when delays are small again, between calm and probe, which grows by the window.
	ebb, drain, calm, probe, probeGrowth = 0.95, 0.1, 0.9, 1.0, 1.02
	// smooth is the weight of a window in the means of what is committed and of what comes.
	smooth = 0.2
)

// window keeps the least of the delays seen since it was last taken.
type window struct {
	n     atomic.Int64
	least atomic.Int64 // plus one; 0: none
}

// add notes a delay, in nanoseconds.
func (w *window) add(d int64) {
	w.n.Add(1)
	d = max(d, 0) + 1
	for {
		old := w.least.Load()
		if old != 0 && old <= d || w.least.CompareAndSwap(old, d) {
			return
		}
	}
}

// take returns the least delay and how many there were, and begins anew. Too few say nothing: then it returns 0 for the delay.
func (w *window) take(fewest int64) (least, n int64) {
	n, least = w.n.Swap(0), w.least.Swap(0)
	if n < fewest {
		return 0, n
	}
	return max(least-1, 0), n
}

// Queued notes a batch of n datagrams of which the first has waited d nanoseconds in its socket's queue.
func (a *Admission) Queued(d int64, n int) {
	a.datagrams.Add(int64(n))
	a.queued.add(d)
}

// wait notes that a new request is to be committed.
func (a *Admission) wait() { a.waiting.Add(1) }

// waited notes that it is, d nanoseconds later, or could not be.
func (a *Admission) waited(d int64, err error) {
	a.waiting.Add(-1)
	if err == nil {
		a.committed.add(d)
	}
}

// Lost notes n datagrams that the kernel had no room for.
func (a *Admission) Lost(n int64) { a.lost.Add(n) }

// Taken notes that so many transactions of each shard have no room, as something else fills the memory.
func (a *Admission) Taken(n int) { a.taken.Store(int64(n)) }

// Step judges a window when its time is over. Pressure up to one is the share of new requests that need state which are refused; what
// exceeds one is the share of all new requests that are left without an answer: answering them is too much.
func (a *Admission) Step(now int64) {
	if now < a.end {
		return
	}
	a.end = now + stepEvery
	fresh, all, lost := a.fresh.Swap(0), a.datagrams.Swap(0), a.lost.Swap(0)
	queue := 0.0
	if d, n := a.queued.take(fewestQueued); n >= fewestQueued && float64(fresh) >= cause*float64(all) {
		queue = float64(d) / float64(queueTarget)
		if lost > 0 {
			queue = max(queue, 2)
		}
	}
	d, n := a.committed.take(fewestCommitted)
	ahead := a.expect(n)
	commit := float64(max(d, ahead)) / float64(commitTarget)
	excess := min(max(queue, commit), mostExcess)
	a.over++
	if excess <= 1 {
		a.over = 0
	}
	sure := a.over >= patient || a.over >= hasty && float64(ahead) >= mostExcess*float64(commitTarget)
	a.learn(commit > 1 && commit >= queue, float64(n), float64(fresh))
	p := a.follow(excess, sure)
	if a.rate > 0 && (sure || p > 0) {
		p = a.bound(p, excess, sure)
	}
	a.pressure.Store(uint32(min(max(p, 0), 2) * one))
}

// expect is how long what comes now will wait for its commit: what all that wait take at the best pace of the last second. It tells of a
// queue before anybody has stood in it to its end. In a window with next to no commits, n, it does not know.
func (a *Admission) expect(n int64) int64 {
	a.recent[a.turns%len(a.recent)] = n
	a.turns++
	if n < fewestCommitted {
		return 0
	}
	return a.waiting.Load() * stepEvery / slices.Max(a.recent[:])
}

// learn keeps how many new requests can be committed in a window, while the log is what cannot keep up, and for some time after.
func (a *Admission) learn(pilesUp bool, committed, fresh float64) {
	a.offered += smooth * (fresh - a.offered)
	switch {
	case pilesUp && a.rate == 0:
		a.rate, a.offered = committed, fresh
	case pilesUp:
		a.rate += smooth * (committed - a.rate)
	case a.over > 0 || a.pressure.Load() == 0: // the sockets' queues are longer; or nobody is turned away
		a.rate = 0
	default:
		a.rate *= probeGrowth
	}
}

// bound keeps pressure near to what is known to be needed: delays tell of it late, when a queue has already gathered, and of its end when
// all have been turned away for too long.
func (a *Admission) bound(p, excess float64, sure bool) float64 {
	share := min(a.rate/max(a.offered, 1), 1) // of what comes that can be committed
	most, least := probe, calm
	if sure {
		most, least = ebb, ebb-drain*(excess-1)
	}
	return min(max(p, 1-most*share), 1-least*share)
}

// follow is a controller of the proportional-integral kind, as PIE's (RFC 8033 §4.2).
func (a *Admission) follow(excess float64, sure bool) float64 {
	p := float64(a.pressure.Load()) / one
	if p > 0 || sure {
		p += gainExcess*(excess-1) + gainChange*(excess-a.last)
	}
	a.last = excess
	return p
}

// crowded reports whether a new request is refused so that transactions do not fill the memory, which they can long before the processor is busy, as they are remembered
// for 64*T1 after they have ended. New ones are let in no faster than would take up the room that is left in that time: so what comes in and what is forgotten find a
// balance, with some room left for requests in dialogs. Refusing by how full it is alone, there was all or nothing, half a minute each.
//
// A sixteenth of the room is left to them even when something else fills the memory: phones that could not refresh would be gone, and that takes no more
// memory for long. There a long request counts for as many as it takes the memory of, as it is kept as it came and as it was sent on while a call rings.
func (s *Shard) crowded(m *wire.Msg) bool {
	all, cost := float64(s.opt.MaxCells), 1.0
	most := all - float64(s.opt.Admission.taken.Load())
	if most < all/16 {
		most, cost = all/16, max(float64(len(m.B))/longRequest, 1)
	}
	free := max(most-float64(s.tab.Len()), 0)
	s.room = min(s.room+free*float64(s.now-s.roomAt)/float64(txn.TimerB), max(most/16, 1))
	s.roomAt = s.now
	if s.room < 1 {
		return true
	}
	s.room -= cost
	return false
}

// Pressure is how much is turned away now: see Step.
func (a *Admission) Pressure() float64 { return float64(a.pressure.Load()) / one }

// lot is a number below one that stays with a Call-ID for some seconds: a request that comes again, or with the credentials that it
// lacked, meets the same luck, so that those who are served are served to the end; next time it is somebody else's turn.
func lot(callID []byte, now int64) uint32 {
	const turn = int64(10 * time.Second)
	return uint32(siphash.Hash(uint64(now/turn), 0x686f6c64, callID)) % one
}

// SettingEmergency lists the users that emergency calls are for, whatever their domain; such calls are never turned away.
const SettingEmergency = "sip.emergency-numbers"

// EmergencyNumbers is what it is unless set.
const EmergencyNumbers = "112 911"

// ignored reports whether a new request is left without an answer. Known retransmissions, ACK and CANCEL do not get here.
func (s *Shard) ignored(in *Inbound) bool {
	p := s.opt.Admission.pressure.Load()
	if p <= one || lot(in.Msg.Bytes(in.Msg.CallID), s.now) >= p-one || in.HasToken && s.inDialog(in) || s.emergency(in.Msg) {
		return false
	}
	if _, ok := s.diverted(in); ok { // it was let in when it came first
		return false
	}
	s.opt.Stats.Ignored.Add(1)
	return true
}

// turnedAway refuses a new request that needs state, when too many come. One that is in the records is none: another owner
// has had it.
func (s *Shard) turnedAway(in *Inbound, key txn.Key, w *sender) bool {
	a := s.opt.Admission
	a.fresh.Add(1)
	p := a.pressure.Load()
	unlucky := p > 0 && lot(in.Msg.Bytes(in.Msg.CallID), s.now) < p && w.divert == nil // a diverted call was let in when it came first
	if !unlucky && !s.crowded(in.Msg) || s.emergency(in.Msg) || s.opt.State.CallByKey(recordKey(key, in.Home)) != nil {
		return false
	}
	s.opt.Stats.TurnedAway.Add(1)
	s.busy(in, key, len(w.members) > 0)
	return true
}

// Phones that are told 503 come back spread over this time.
const (
	busyFrom = 5 // seconds
	busyOver = 30
)

// busy answers 503 without state. A trunk is not told when to come back: it would stop calling altogether (RFC 3261 §21.5.4).
func (s *Shard) busy(in *Inbound, key txn.Key, trunk bool) {
	r := wire.Response{Status: 503, Note: "more new requests come than can be served"}
	if !trunk {
		after := strconv.AppendInt(nil, int64(busyFrom+rand.IntN(busyOver)), 10)
		r.Fields = []wire.Field{{ID: wire.HdrRetryAfter, Value: after}}
	}
	s.reply(in, key, &r)
}

// emergency reports whether a request is to one of the emergency numbers.
func (s *Shard) emergency(m *wire.Msg) bool {
	u, err := wire.ParseURI(m.Bytes(m.URI))
	if err != nil || m.Method == wire.Register {
		return false
	}
	user := string(u.User)
	for n := range strings.FieldsSeq(s.view.Config.Setting(SettingEmergency, EmergencyNumbers)) {
		if n == user {
			return true
		}
	}
	return false
}
