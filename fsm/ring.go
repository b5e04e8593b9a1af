package fsm

import "math/bits"

// The ring is an order of AoRs in which a part of them can be visited at a time, evenly and without an index: an AoR's place is a number that
// follows from its name alone, the same on every node. It is the hash of the name, its bits reversed. Buckets are told apart by a hash's
// low bits, so each bucket is an arc of the ring, which is halved when the bucket is split; nothing else moves an AoR.
//
// The numbers from 0 to 2^64 - 1 are one way around. As the end of an arc 0 stands for 2^64.

// Registrant is an AoR with its bindings. They come from the table and must not be modified.
type Registrant struct {
	AoR      string
	Bindings []Binding
}

// Arc appends the AoRs whose places lie from from up to to, which is not among them, in no order within the arc. It stops when it has looked at
// limit rows and buckets or a few more, and returns where to go on: to when nothing is left. Apply waits meanwhile, some 0.1 ms for a limit of 1 000.
func (m *Machine) Arc(from, to uint64, limit int, dst []Registrant) (all []Registrant, next uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	next = m.st.regs.rows.rows.arc(from, to, limit, func(r *regRow) {
		if len(r.bindings) > 0 {
			dst = append(dst, Registrant{r.aor, r.bindings})
		}
	})
	return dst, next
}

// arc calls fn for each row with a place from from up to to, until limit rows and buckets have been looked at, and returns where it
// stopped.
func (t *table[V]) arc(from, to uint64, limit int, fn func(V)) (next uint64) {
	if to != 0 && from >= to {
		return to
	}
	for {
		i, size := t.bucketAt(from)
		rows := t.pages[i/pageBuckets].buckets[i%pageBuckets].rows
		for _, s := range rows {
			if p := bits.Reverse64(s.hash); p >= from && (to == 0 || p < to) {
				fn(s.row)
			}
		}
		end := from&^(size-1) + size // 0 behind the last one
		if end == 0 || to != 0 && end >= to {
			return to
		}
		from = end
		if limit -= 1 + len(rows); limit <= 0 {
			return from
		}
	}
}

// bucketAt is the bucket in whose arc a place lies, and how long that is.
func (t *table[V]) bucketAt(place uint64) (i, size uint64) {
	i = t.index(bits.Reverse64(place))
	depth := t.level
	if i < t.split || i >= 1<<t.level {
		depth++ // split already, or made by a split
	}
	return i, 1 << (64 - depth)
}
