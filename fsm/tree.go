package fsm

import (
	"cmp"

	"github.com/google/btree"
)

// degree of the trees: nodes of 31 to 63 rows, so that a first write after a copy copies a few KiB.
const degree = 32

// tree is a sorted map whose copy costs nothing: nodes are shared and copied when written to. One goroutine writes; reads of
// a tree must exclude its writes, those of a copy need not.
//
// It must let go of rows that are replaced or removed: a stale pointer in the slack of a node would keep every old
// row alive. tidwall/btree shares a split node's array between its halves and does so.
type tree[K cmp.Ordered, V any] struct {
	t *btree.BTreeG[pair[K, V]]
}

type pair[K cmp.Ordered, V any] struct {
	value V // first: one that takes no room takes none here
	key   K
}

func newTree[K cmp.Ordered, V any]() tree[K, V] {
	return tree[K, V]{btree.NewG(degree, func(a, b pair[K, V]) bool { return a.key < b.key })}
}

// copy returns a tree with the same rows. It marks the tree as shared: it is a write.
func (t tree[K, V]) copy() tree[K, V] { return tree[K, V]{t.t.Clone()} }

func (t tree[K, V]) len() int { return t.t.Len() }

func (t tree[K, V]) get(k K) (V, bool) {
	p, found := t.t.Get(pair[K, V]{key: k})
	return p.value, found
}

// set puts a row in and reports whether it replaced one.
func (t tree[K, V]) set(k K, v V) bool {
	_, replaced := t.t.ReplaceOrInsert(pair[K, V]{v, k})
	return replaced
}

func (t tree[K, V]) delete(k K) (V, bool) {
	p, found := t.t.Delete(pair[K, V]{key: k})
	return p.value, found
}

// scan goes through the rows by key until fn returns false.
func (t tree[K, V]) scan(fn func(K, V) bool) {
	t.t.Ascend(func(p pair[K, V]) bool { return fn(p.key, p.value) })
}

// from goes through the rows from k on until fn returns false.
func (t tree[K, V]) from(k K, fn func(K, V) bool) {
	t.t.AscendGreaterOrEqual(pair[K, V]{key: k}, func(p pair[K, V]) bool { return fn(p.key, p.value) })
}
