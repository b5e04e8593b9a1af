package fsm

import (
	"slices"
	"strings"
)

// single is how nearly every row lies in memory: with its one binding, in one piece.
type single struct {
	regRow
	one [1]Binding
}

// stored returns the row as it is kept: its bindings in memory of its own, and its strings in one piece, those of the row it replaces
// where they are the same ones. A refresh thus allocates one object and a row is three to the garbage collector.
func (r *regRow) stored(old *regRow) *regRow {
	var out *regRow
	switch len(r.bindings) {
	case 0:
		out = &regRow{}
		*out = *r
		out.bindings = nil
	case 1:
		s := &single{regRow: *r}
		s.one[0] = r.bindings[0]
		s.bindings = s.one[:]
		out = &s.regRow
	default:
		out = &regRow{}
		*out = *r
		out.bindings = slices.Clone(r.bindings)
	}
	if old == nil || !out.share(old) {
		out.pack()
	}
	return out
}

// share takes the strings of old, which are in one piece, if all of them are the same ones.
func (r *regRow) share(old *regRow) bool {
	if len(r.bindings) != len(old.bindings) || !same(&r.callID, &old.callID) {
		return false
	}
	for i := range r.bindings {
		b, o := &r.bindings[i], &old.bindings[i]
		if !same(&b.Contact, &o.Contact) || !same(&b.Params, &o.Params) || !same(&b.Instance, &o.Instance) || !same(&b.CallID, &o.CallID) {
			return false
		}
	}
	return true
}

func same(s, old *string) bool {
	if *s != *old {
		return false
	}
	*s = *old
	return true
}

// pack puts the strings of the row, but for the AoR, which is the user's, and paths, which are rare, into one piece of memory.
func (r *regRow) pack() {
	size := 0
	r.strings(func(s *string) { size += len(*s) })
	var all strings.Builder
	all.Grow(size)
	r.strings(func(s *string) { all.WriteString(*s) })
	rest := all.String()
	r.strings(func(s *string) { *s, rest = rest[:len(*s)], rest[len(*s):] })
	for i := range r.bindings {
		if b := &r.bindings[i]; b.CallID == r.callID {
			b.CallID = r.callID
		}
	}
}

// strings calls fn for each string that is packed, a Call-ID that is the row's only once.
func (r *regRow) strings(fn func(*string)) {
	fn(&r.callID)
	for i := range r.bindings {
		b := &r.bindings[i]
		fn(&b.Contact)
		fn(&b.Params)
		fn(&b.Instance)
		if b.CallID != r.callID {
			fn(&b.CallID)
		}
	}
}
