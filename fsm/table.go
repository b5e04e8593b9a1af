package fsm

import (
	"hash/maphash"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// A page holds as many buckets as fit in 2 KiB with the head that the runtime puts before it; after both, buckets begin where lines of the
// processor's cache do.
const (
	pageBuckets = 31 // a first write after a copy copies a page
	pageHead    = 64 - 8
	bucketRows  = 6 // with them a bucket fills a line
	bucketLoad  = 3 // rows a bucket has on average before the table grows by one; those not split yet this time around have up to twice as many
)

// table finds rows by name, in a time that grows with their number only by what the processor's caches miss: one bucket, the row, its
// name. A sorted tree of names would read twenty strings on the way. Rows come out in no order: what is told to anyone is
// sorted by a tree of names beside the table.
//
// It grows by linear hashing, one bucket at a time, so that no insertion takes long. Its copy costs nothing: pages
// are shared and copied when written to. One goroutine writes; reads must exclude writes, those of a copy need not.
type table[V named] struct {
	seed  maphash.Seed
	ring  func(V) bool // of a ring (ring.go): whether a row is one that arc meets. Hashes are the same in every process then.
	met   int          // rows that it meets
	pages []pageRef[V]
	epoch uint64 // of the last copy: what was made before it is shared
	owned uint64 // epoch of the slice pages
	level uint   // there are 1<<level buckets and split more
	split uint64 // the bucket to be split next
	n     int
}

// named is a row that knows its name.
type named interface {
	comparable
	name() string
}

// pageRef is a page, and beside it how many of its rows arc meets: to pass by a page it need not be touched.
type pageRef[V named] struct {
	*page[V]
	epoch uint64 // in which the page was made
	met   int
}

type page[V named] struct {
	_       [pageHead]byte
	buckets [pageBuckets]bucket[V]
}

// bucket holds rows, the first n of its array; those that find no room are in more, which exists only while this array is full.
type bucket[V named] struct {
	tags [bucketRows]uint8 // of the rows' hashes: a row of another name is hardly ever looked at
	n    uint8
	met  uint8 // of these rows, those that arc meets
	rows [bucketRows]V
	more *bucket[V]
}

func newTable[V named]() table[V] {
	return table[V]{seed: maphash.MakeSeed(), pages: []pageRef[V]{{page: &page[V]{}}}, level: 4}
}

// newRing makes a table whose rows have a place on the ring, where arc meets those that met is true of. Whoever chooses names can make them meet
// in one bucket: it is for rows of names that operators choose.
func newRing[V named](met func(V) bool) table[V] {
	t := newTable[V]()
	t.ring = met
	return t
}

func (t *table[V]) hash(name string) uint64 {
	if t.ring != nil {
		return xxhash.Sum64String(name)
	}
	return maphash.String(t.seed, name)
}

// tag is of the bits that choose no bucket.
func tag(hash uint64) uint8 { return uint8(hash >> 56) }

// copy returns a table with the same rows, to be read only. It marks this one as shared: it is a write.
func (t *table[V]) copy() table[V] {
	c := *t
	t.epoch++
	return c
}

func (t *table[V]) len() int { return t.n }

func (t *table[V]) get(name string) (row V, found bool) {
	h := t.hash(name)
	i := t.index(h)
	if b, j := t.pages[i/pageBuckets].buckets[i%pageBuckets].find(h, name); b != nil {
		return b.rows[j], true
	}
	return row, false
}

// set puts a row in and reports whether it replaced one.
func (t *table[V]) set(row V) bool {
	h := t.hash(row.name())
	p, first := t.bucket(t.index(h))
	if b, j := first.find(h, row.name()); b != nil {
		t.count(p, b, b.rows[j], -1)
		t.count(p, b, row, +1)
		b.rows[j] = row
		return true
	}
	t.add(p, first, h, row)
	if t.n++; t.n > bucketLoad*int(1<<t.level+t.split) {
		t.grow()
	}
	return false
}

func (t *table[V]) delete(name string) (row V, found bool) {
	h := t.hash(name)
	i := t.index(h)
	if b, _ := t.pages[i/pageBuckets].buckets[i%pageBuckets].find(h, name); b == nil {
		return row, false
	}
	p, first := t.bucket(i)
	b, j := first.find(h, name)
	row = b.rows[j]
	t.count(p, b, row, -1)
	last := first.last()
	last.n--
	if moved := last.rows[last.n]; moved != row { // the hole is filled
		t.count(p, last, moved, -1)
		t.count(p, b, moved, +1)
		b.rows[j], b.tags[j] = moved, last.tags[last.n]
	}
	var none V
	last.rows[last.n] = none
	first.trim()
	t.n--
	return row, true
}

// find looks for a row from this bucket on and returns where it is; nil: nowhere.
func (b *bucket[V]) find(h uint64, name string) (at *bucket[V], i int) {
	for ; b != nil; b = b.more {
		for i := range b.n {
			if b.tags[i] == tag(h) && b.rows[i].name() == name {
				return b, int(i)
			}
		}
	}
	return nil, 0
}

// last is the last of this bucket and those after it: only there is room, if any.
func (b *bucket[V]) last() *bucket[V] {
	for b.more != nil {
		b = b.more
	}
	return b
}

// trim lets go of a last bucket without rows.
func (b *bucket[V]) trim() {
	for ; b.more != nil; b = b.more {
		if b.more.n == 0 {
			b.more = nil
			return
		}
	}
}

// index is the bucket of a hash.
func (t *table[V]) index(h uint64) uint64 {
	i := h & (1<<t.level - 1)
	if i < t.split {
		i = h & (1<<(t.level+1) - 1)
	}
	return i
}

// bucket returns a bucket to write to, and its page, in a slice of pages to write to: this table's own, until the next copy.
func (t *table[V]) bucket(i uint64) (*pageRef[V], *bucket[V]) {
	p := &t.pages[i/pageBuckets]
	if p.epoch != t.epoch {
		t.ownPages()
		p = &t.pages[i/pageBuckets]
		own := *p.page
		for i := range own.buckets {
			own.buckets[i].ownMore()
		}
		p.page, p.epoch = &own, t.epoch
	}
	return p, &p.buckets[i%pageBuckets]
}

func (b *bucket[V]) ownMore() {
	for ; b.more != nil; b = b.more {
		own := *b.more
		b.more = &own
	}
}

func (t *table[V]) ownPages() {
	if t.owned != t.epoch {
		t.pages, t.owned = slices.Clone(t.pages), t.epoch
	}
}

// grow splits one bucket: what has the next bit of its hash set goes to a new bucket.
func (t *table[V]) grow() {
	last := 1<<t.level + t.split
	if last/pageBuckets == uint64(len(t.pages)) {
		t.ownPages()
		t.pages = append(t.pages, pageRef[V]{page: &page[V]{}, epoch: t.epoch})
	}
	fromPage, from := t.bucket(t.split)
	toPage, to := t.bucket(last)
	all := *from
	*from = bucket[V]{}
	for b := &all; b != nil; b = b.more {
		for _, row := range b.rows[:b.n] {
			t.count(fromPage, b, row, -1)
			if h := t.hash(row.name()); h&(1<<t.level) == 0 {
				t.add(fromPage, from, h, row)
			} else {
				t.add(toPage, to, h, row)
			}
		}
	}
	if t.split++; t.split == 1<<t.level {
		t.level, t.split = t.level+1, 0
	}
}

// add puts a row behind those that a bucket has.
func (t *table[V]) add(p *pageRef[V], first *bucket[V], h uint64, row V) {
	b := first.last()
	if b.n == bucketRows {
		b.more = &bucket[V]{}
		b = b.more
	}
	b.rows[b.n], b.tags[b.n] = row, tag(h)
	b.n++
	t.count(p, b, row, +1)
}

// count notes that a row that arc may meet has come into a bucket, by +1, or has gone from it, by -1.
func (t *table[V]) count(p *pageRef[V], b *bucket[V], row V, by int) {
	if t.ring != nil && t.ring(row) {
		b.met += uint8(by)
		p.met += by
		t.met += by
	}
}
