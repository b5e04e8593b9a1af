package fsm

import (
	"cmp"
	"maps"
	"slices"

	"github.com/tidwall/btree"
)

// state is everything an entry may change. Rows are immutable: a change puts a new row in its place, so that a
// copy of the trees is a snapshot.
type state struct {
	meta     meta
	conf     conf
	sessions btree.Map[uint64, *session]
	regs     regTable
	calls    callTable
}

// meta holds single values and the counters numbers are given from.
type meta struct {
	featureLevel  uint32
	lastSession   uint64
	lastCall      uint64
	lastNode      uint32
	lastGroup     uint32
	configVersion uint64
}

func newState() *state {
	s := &state{}
	s.conf.init()
	s.regs.init()
	s.calls.init()
	return s
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
