package fsm

import (
	"slices"

	"github.com/google/btree"

	"holdline/fsm/pb"
)

// callTable holds the calls, the ended ones too for as long as a retransmission may come. All but rows and rotation
// is derived from them.
type callTable struct {
	rows     tree[uint64, *Call]
	rotation map[string]*rotation // per pool

	byKey    map[string]*Call
	byOwn    map[uint64]uint64      // numbers that owners made → number
	due      *btree.BTreeG[callDue] // those that are over
	live     *btree.BTreeG[callDue] // active ones
	byMember map[memberKey]int      // active calls
	byDomain map[string]int
	byUser   map[string]userCalls
	byGroup  map[uint32]int
	active   int
}

type callDue struct {
	at     int64
	number uint64
}

type memberKey struct{ pool, member string }

func (t *callTable) init() {
	t.rotation = map[string]*rotation{}
	t.byKey = map[string]*Call{}
	t.byOwn = map[uint64]uint64{}
	t.byMember = map[memberKey]int{}
	t.byDomain = map[string]int{}
	t.byUser = map[string]userCalls{}
	t.byGroup = map[uint32]int{}
	t.rows = newTree[uint64, *Call]()
	t.due, t.live = btree.NewG(degree, callDue.less), btree.NewG(degree, callDue.less)
}

func (d callDue) less(o callDue) bool {
	if d.at != o.at {
		return d.at < o.at
	}
	return d.number < o.number
}

// dueIndex is the index that a row is in.
func (t *callTable) dueIndex(c *Call) *btree.BTreeG[callDue] {
	if c.Active() {
		return t.live
	}
	return t.due
}

func (t *callTable) get(number uint64) *Call {
	if IsOwnNumber(number) {
		number = t.byOwn[number]
	}
	c, _ := t.rows.get(number)
	return c
}

// put sets a row; old is what it replaces, or nil.
func (t *callTable) put(old, c *Call) {
	t.rows.set(c.Number, c)
	if old == nil {
		t.count(c, 1)
	} else if !countsAs(old, c) {
		t.count(old, -1)
		t.count(c, 1)
	}
	t.byKey[c.Key] = c
	if n := c.TokenNumber(); n != c.Number {
		t.byOwn[n] = c.Number
	}
	if old == nil || old.dueAt() != c.dueAt() || old.Active() != c.Active() {
		if old != nil {
			t.dueIndex(old).Delete(callDue{old.dueAt(), old.Number})
		}
		t.dueIndex(c).ReplaceOrInsert(callDue{c.dueAt(), c.Number})
	}
}

func (t *callTable) drop(c *Call) {
	t.rows.delete(c.Number)
	delete(t.byKey, c.Key)
	delete(t.byOwn, c.TokenNumber())
	t.dueIndex(c).Delete(callDue{c.dueAt(), c.Number})
	t.count(c, -1)
}

// count adds an active call to what is counted, or takes it away.
func (t *callTable) count(c *Call, by int) {
	if !c.Active() {
		return
	}
	t.active += by
	add(t.byDomain, c.Domain, by)
	add(t.byGroup, c.Home, by)
	for _, k := range occupied(c) {
		add(t.byMember, k, by)
	}
	t.countUsers(c, by)
}

// countsAs reports whether a row counts as its former version did, as most changes leave it: then nothing need be taken away and added again. It may say no
// where they count alike.
func countsAs(old, c *Call) bool {
	if old.Active() != c.Active() || old.Domain != c.Domain || old.Home != c.Home || old.Origin != c.Origin || len(old.Legs) != len(c.Legs) {
		return false
	}
	for i := range c.Legs {
		o, l := &old.Legs[i], &c.Legs[i]
		if occupies(old, o) != occupies(c, l) || o.Target != l.Target { // targets are shared by versions
			return false
		}
	}
	return true
}

// users lists the users that take part in an active call, once each: who calls, and whom it rings or reached.
func users(c *Call) []string {
	var buf [4]string
	out := buf[:0]
	if madeByUser(c.Origin) {
		out = append(out, c.Origin)
	}
	for i := range c.Legs {
		l := &c.Legs[i]
		if l.Target.AoR != "" && occupies(c, l) && !slices.Contains(out, l.Target.AoR) {
			out = append(out, l.Target.AoR)
		}
	}
	return out
}

// occupies reports whether an active call takes a place where its leg goes: it was answered there, or is being tried.
func occupies(c *Call, l *Leg) bool {
	answered := l.State == pb.LegState_ANSWERED || l.State == pb.LegState_CONFIRMED
	begun := open(l.State) && l.State != pb.LegState_PENDING
	return answered || begun && c.State != pb.CallState_CALL_ANSWERED
}

// add keeps no zeroes, so that what is counted is bounded by what exists.
func add[K comparable](m map[K]int, k K, by int) {
	if n := m[k] + by; n != 0 {
		m[k] = n
	} else {
		delete(m, k)
	}
}

// occupied lists the pool members that an active call takes a place on: those it was answered by, before that those being tried.
func occupied(c *Call) []memberKey {
	var buf [4]memberKey
	out := buf[:0]
	for i := range c.Legs {
		l := &c.Legs[i]
		if l.Target.Member == "" {
			continue
		}
		if occupies(c, l) {
			out = append(out, memberKey{l.Target.Pool, l.Target.Member})
		}
	}
	return out
}

func (t *callTable) activeOf(group uint32) int { return t.byGroup[group] }

func (t *callTable) forgetMember(pool, member string) {
	if r := t.rotation[pool]; r != nil {
		delete(r.current, member)
	}
}

// open reports whether a leg may still want its INVITE: for a retransmission, or for the CANCEL made from it.
func open(s pb.LegState) bool {
	return s == pb.LegState_TRYING || s == pb.LegState_RINGING || s == pb.LegState_CANCELLING || s == pb.LegState_PENDING
}

func anyOpen(legs []Leg) bool {
	for i := range legs {
		if open(legs[i].State) {
			return true
		}
	}
	return false
}
