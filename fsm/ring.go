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
	return t.walk(from, to, limit, func(p *pageRef[V], i uint64) (looked int) {
		if p.met == 0 || p.buckets[i].met == 0 { // mostly so: nearly all phones are to be met, or hardly any
			return 0
		}
		b := &p.buckets[i]
		for _, s := range b.rows {
			if p := bits.Reverse64(s.hash); p >= from && (to == 0 || p < to) && t.ring(s.row) {
				fn(s.row)
			}
		}
		return len(b.rows)
	})
}

// each calls fn for each row from the place from on, as arc does otherwise. from is 0 or what an earlier call has returned.
func (t *table[V]) each(from uint64, limit int, fn func(V)) (next uint64) {
	return t.walk(from, 0, limit, func(p *pageRef[V], i uint64) (looked int) {
		rows := p.buckets[i].rows
		for _, s := range rows {
			fn(s.row)
		}
		return len(rows)
	})
}

// walk calls fn for each bucket, by its index in its page, with places from from up to to, until so many buckets, and rows in them by what fn
// returns, have been looked at.
func (t *table[V]) walk(from, to uint64, limit int, fn func(p *pageRef[V], bucket uint64) (looked int)) (next uint64) {
	if to != 0 && from >= to {
		return to
	}
	for {
		i, size := t.bucketAt(from)
		limit -= 1 + fn(&t.pages[i/pageBuckets], i%pageBuckets)
		end := from&^(size-1) + size // 0 behind the last one
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
