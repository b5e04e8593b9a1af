package fsm

import (
	"hash/maphash"
	"slices"

	"github.com/cespare/xxhash/v2"
)

const (
	pageBuckets = 64 // a first write after a copy copies a page (2.5 KiB) and a bucket
	bucketLoad  = 6  // rows a bucket has on average before the table grows by one
	bucketRoom  = 4  // by how many rows a bucket's array grows
)

// table finds rows by name, in a time that grows with their number only by what the processor's caches miss: one page, one bucket,
// the row. A sorted tree of names would read twenty strings on the way. Rows come out in no order: what is told to anyone is
// sorted by a tree of names beside the table.
//
// It grows by linear hashing, one bucket at a time, so that no insertion takes long. Its copy costs nothing: pages
// and buckets are shared and copied when written to. One goroutine writes; reads must exclude writes, those of a copy need not.
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
	met int
}

type page[V named] struct {
	epoch   uint64
	buckets [pageBuckets]bucket[V]
}

type bucket[V named] struct {
	epoch uint64
	met   int // of the rows, those that arc meets
	rows  []slot[V]
}

type slot[V named] struct {
	hash uint64
	row  V
}

func newTable[V named]() table[V] {
	return table[V]{seed: maphash.MakeSeed(), pages: []pageRef[V]{{page: &page[V]{}}}, level: 6}
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
	for _, s := range t.pages[i/pageBuckets].buckets[i%pageBuckets].rows {
		if s.hash == h && s.row.name() == name {
			return s.row, true
		}
	}
	return row, false
}

// set puts a row in and reports whether it replaced one.
func (t *table[V]) set(row V) bool {
	h := t.hash(row.name())
	p, b := t.bucket(t.index(h))
	for i := range b.rows {
		if s := &b.rows[i]; s.hash == h && s.row.name() == row.name() {
			t.count(p, b, s.row, -1)
			t.count(p, b, row, +1)
			s.row = row
			return true
		}
	}
	b.add(slot[V]{h, row})
	t.count(p, b, row, +1)
	if t.n++; t.n > bucketLoad*int(1<<t.level+t.split) {
		t.grow()
	}
	return false
}

func (t *table[V]) delete(name string) (row V, found bool) {
	h := t.hash(name)
	at := t.index(h)
	i := t.find(at, h, name)
	if i < 0 {
		return row, false
	}
	p, b := t.bucket(at)
	row = b.rows[i].row
	b.rows = slices.Delete(b.rows, i, i+1)
	if len(b.rows) == 0 {
		b.rows = nil
	}
	t.count(p, b, row, -1)
	t.n--
	return row, true
}

func (t *table[V]) find(at, h uint64, name string) int {
	return slices.IndexFunc(t.pages[at/pageBuckets].buckets[at%pageBuckets].rows, func(s slot[V]) bool { return s.hash == h && s.row.name() == name })
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
		own.epoch = t.epoch
		p.page = &own
	}
	b := &p.buckets[i%pageBuckets]
	if b.epoch != t.epoch {
		b.rows, b.epoch = slices.Clone(b.rows), t.epoch
	}
	return p, b
}

func (t *table[V]) ownPages() {
	if t.owned != t.epoch {
		t.pages, t.owned = slices.Clone(t.pages), t.epoch
	}
}

// grow splits one bucket: what has the next bit of its hash set goes to a new bucket.
func (t *table[V]) grow() {
	last := 1<<t.level + t.split
	if last%pageBuckets == 0 {
		t.ownPages()
		t.pages = append(t.pages, pageRef[V]{page: &page[V]{epoch: t.epoch}})
	}
	fromPage, from := t.bucket(t.split)
	toPage, to := t.bucket(last)
	rows := from.rows
	from.rows = nil
	for _, s := range rows {
		if s.hash&(1<<t.level) == 0 {
			from.add(s)
			continue
		}
		to.add(s)
		t.count(fromPage, from, s.row, -1)
		t.count(toPage, to, s.row, +1)
	}
	if t.split++; t.split == 1<<t.level {
		t.level, t.split = t.level+1, 0
	}
}

func (b *bucket[V]) add(s slot[V]) {
	if len(b.rows) == cap(b.rows) {
		rows := make([]slot[V], len(b.rows), len(b.rows)+bucketRoom)
		copy(rows, b.rows)
		b.rows = rows
	}
	b.rows = append(b.rows, s)
}

// count notes that a row that arc may meet has come into a bucket, by +1, or has gone from it, by -1.
func (t *table[V]) count(p *pageRef[V], b *bucket[V], row V, by int) {
	if t.ring != nil && t.ring(row) {
		b.met += by
		p.met += by
		t.met += by
	}
}
