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

// Arc appends the AoRs whose places lie from from up to to, which is not among them, and of which a binding is to be kept alive (Binding.KeptAlive),
// in no order within the arc. It stops when it has looked at limit rows and buckets or a few more, and returns where to go on: to when nothing is
// left. Apply waits meanwhile, some 0.1 ms for a limit of 1 000. Of a bucket without such AoRs the rows are not looked at.
func (m *Machine) Arc(from, to uint64, limit int, dst []Registrant) (all []Registrant, next uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	next = m.st.regs.rows.rows.arc(from, to, limit, func(r *regRow) { dst = append(dst, Registrant{r.aor, r.bindings}) })
	return dst, next
}

// arc calls fn for each row with a place from from up to to that is one to be met, until limit rows and buckets have been looked at, and
// returns where it stopped.
func (t *table[V]) arc(from, to uint64, limit int, fn func(V)) (next uint64) {
	if t.met == 0 {
		return to
	}
	return t.walk(from, to, limit, func(p *pageRef[V], i uint64, whole bool) (looked int) {
		if p.met == 0 {
			return 0
		}
		for b := &p.buckets[i]; b != nil; b = b.more {
			if b.met == 0 {
				continue
			}
			for _, row := range b.rows[:b.n] {
				if t.ring(row) && (whole || t.within(row, from, to)) {
					fn(row)
				}
			}
			looked += int(b.n)
		}
		return looked
	})
}

func (t *table[V]) within(row V, from, to uint64) bool {
	place := bits.Reverse64(t.hash(row.name()))
	return place >= from && (to == 0 || place < to)
}

// each calls fn for each row from the place from on, as arc does otherwise. from is 0 or what an earlier call has returned.
func (t *table[V]) each(from uint64, limit int, fn func(V)) (next uint64) {
	return t.walk(from, 0, limit, func(p *pageRef[V], i uint64, _ bool) (looked int) {
		for b := &p.buckets[i]; b != nil; b = b.more {
			for _, row := range b.rows[:b.n] {
				fn(row)
			}
			looked += int(b.n)
		}
		return looked
	})
}

// walk calls fn for each bucket, by its index in its page, with places from from up to to, until so many buckets, and rows in them by what fn
// returns, have been looked at. whole tells a bucket all of whose places are among them.
func (t *table[V]) walk(from, to uint64, limit int, fn func(p *pageRef[V], bucket uint64, whole bool) (looked int)) (next uint64) {
	if to != 0 && from >= to {
		return to
	}
	for {
		i, size := t.bucketAt(from)
		start := from &^ (size - 1)
		end := start + size // 0 behind the last one
		whole := from == start && (to == 0 || end != 0 && end <= to)
		limit -= 1 + fn(&t.pages[i/pageBuckets], i%pageBuckets, whole)
		if end == 0 || to != 0 && end >= to {
			return to
		}
		if from = end; limit <= 0 {
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
