package fsm

// listing is a table with its rows' names in order beside it: found by hash, listed sorted. Writing to a row that is there leaves
// the order alone.
type listing[V named] struct {
	rows  table[V]
	names tree[string, struct{}]
}

func newListing[V named](rows table[V]) listing[V] {
	return listing[V]{rows, newTree[string, struct{}]()}
}

// copy is the listing as it is now, to be read only. It is a write itself.
func (l *listing[V]) copy() listing[V] { return listing[V]{l.rows.copy(), l.names.copy()} }

func (l *listing[V]) len() int { return l.rows.len() }

func (l *listing[V]) get(name string) (V, bool) { return l.rows.get(name) }

// set puts a row in and reports whether it replaced one.
func (l *listing[V]) set(row V) bool {
	replaced := l.rows.set(row)
	if !replaced {
		l.names.set(row.name(), struct{}{})
	}
	return replaced
}

func (l *listing[V]) delete(name string) (V, bool) {
	row, found := l.rows.delete(name)
	if found {
		l.names.delete(name)
	}
	return row, found
}

// scan goes through the rows by name until fn returns false.
func (l *listing[V]) scan(fn func(V) bool) {
	l.names.scan(func(name string, _ struct{}) bool {
		row, _ := l.rows.get(name)
		return fn(row)
	})
}
