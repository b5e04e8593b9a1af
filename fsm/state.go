package fsm

import (
	"cmp"
	"maps"
	"slices"
)

// state is everything an entry may change. Rows are immutable: a change puts a new row in its place, so that a
// copy of the trees is a snapshot.
type state struct {
	meta     meta
	conf     conf
	sessions tree[uint64, *session]
	regs     regTable
	calls    callTable
	cdrs     cdrTable
}

// meta holds the counters numbers are given from, and one of time.
type meta struct {
	lastSession uint64
	lastCall    uint64
	lastNode    uint32
	lastGroup   uint32
	outage      int64 // ms without a leader, of all time: what FSM time leaves out
}

func newState() *state {
	s := &state{sessions: newTree[uint64, *session]()}
	s.conf.init()
	s.regs.init()
	s.calls.init()
	s.cdrs.init()
	return s
}

func (s *state) sessionsOf(node string) []*session {
	var out []*session
	s.sessions.scan(func(_ uint64, v *session) bool {
		if v.node == node {
			out = append(out, v)
		}
		return true
	})
	return out
}

func (s *state) setSession(v *session)  { s.sessions.set(v.id, v) }
func (s *state) dropSession(v *session) { s.sessions.delete(v.id) }

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
