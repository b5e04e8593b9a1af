package txn

import (
	"fmt"
	"testing"

	"holdline/sipcore/wire"
)

// filled is a table in steady state: cells come and go, as many as there are now.
func filled(t testing.TB, cells int) (*Table, *Pool) {
	t.Helper()
	tab, pool := NewTable(2*cells), &Pool{}
	for i := range cells {
		c := tab.New(benchKey(i), wire.Invite)
		if c == nil {
			t.Fatalf("no room for cell %d", i)
		}
		c.Request = pool.Copy([]byte("request"))
		tab.Start(c, tab.NewLeg(c), 0, pool.Copy([]byte("leg")))
	}
	return tab, pool
}

// benchKey spreads keys as MACs are spread.
func benchKey(i int) Key { return Key{uint64(i + 1), uint64(i+1) * 0x9e3779b97f4a7c15} }

// TestNoAllocation: a transaction is found, made and ended without the heap once the table has been as large before.
func TestNoAllocation(t *testing.T) {
	if raced {
		t.Skip("the race detector makes pools forget")
	}
	const cells = 1000
	tab, pool := filled(t, cells)
	request, leg := []byte("request"), []byte("leg")
	i := 0
	check := func(what string, fn func()) {
		t.Helper()
		for range 2 * cells { // steady
			fn()
		}
		if n := testing.AllocsPerRun(cells, fn); n != 0 {
			t.Errorf("%s: %.0f allocations", what, n)
		}
	}
	check("find", func() {
		i++
		if k := benchKey(i % cells); tab.Find(k) == nil || tab.FindLo(k.Lo) == nil {
			t.Fatal("a cell is not found")
		}
		if tab.Find(benchKey(cells+1)) != nil {
			t.Fatal("a cell is found that was never made")
		}
	})
	next := cells
	check("make, answer and end", func() {
		next++
		c := tab.New(benchKey(next), wire.Invite)
		if c == nil {
			t.Fatal("no cell")
		}
		c.Request = pool.Copy(request)
		tab.Start(c, tab.NewLeg(c), 0, pool.Copy(leg))
		tab.Free(c)
	})
	if tab.Len() != cells {
		t.Errorf("%d cells are left, want %d", tab.Len(), cells)
	}
	check("nothing to expire", func() {
		if _, ok := tab.Expire(1); ok {
			t.Fatal("something has expired at once")
		}
	})
}

// BenchmarkFind looks up transactions, in an order that no cache foresees.
func BenchmarkFind(b *testing.B) {
	for _, cells := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(cells), func(b *testing.B) {
			tab, _ := filled(b, cells)
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i += 7919
				if tab.Find(benchKey(i%cells)) == nil {
					b.Fatal("a cell is not found")
				}
			}
		})
	}
}
