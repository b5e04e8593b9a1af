package fsm

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"holdline/fsm/pb"
)

// TestArcs goes around tables of many sizes, in arcs of any length and with any limit: each row that is to be met is met once, at the same place in
// all of them, and no other. Each row, to be met or not, is seen by a walk over all.
func TestArcs(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	odd := func(row *tableRow) bool { return row.value%2 == 1 }
	table := newRing(odd)
	place := map[string]uint64{}
	for n := range 5000 {
		table.set(&tableRow{fmt.Sprint(n), n})
		table.set(&tableRow{fmt.Sprint(n / 3), r.Int()}) // may be one to be met now, or no longer
		if n%97 == 0 {
			table.delete(fmt.Sprint(n / 2))
		}
		if n%251 != 0 {
			continue
		}
		checkMet(t, &table)
		met := map[string]int{}
		steps := 0
		for from := uint64(0); ; {
			to := from + r.Uint64()>>r.IntN(20)
			if to < from {
				to = 0
			}
			next := table.arc(from, to, 1+r.IntN(100), func(row *tableRow) {
				met[row.key]++
				if p, known := place[row.key]; known && (p < from || to != 0 && p >= to) {
					t.Fatalf("%s has moved from %x to between %x and %x", row.key, p, from, to)
				}
			})
			if steps++; next == 0 {
				break
			}
			if next <= from && to != from {
				t.Fatalf("from %x to %x it stopped at %x", from, to, next)
			}
			from = next
		}
		want := 0
		for i := range n + 1 {
			if row, found := table.get(fmt.Sprint(i)); found && odd(row) {
				want++
			}
		}
		all := 0
		for from, more := uint64(0), true; more; more = from != 0 {
			from = table.each(from, 1+r.IntN(100), func(*tableRow) { all++ })
		}
		if all != table.len() {
			t.Fatalf("%d of %d rows", all, table.len())
		}
		if len(met) != want {
			t.Fatalf("%d of %d rows met in %d arcs", len(met), want, steps)
		}
		for k, times := range met {
			if times != 1 {
				t.Fatalf("%s was met %d times", k, times)
			}
		}
		for k := range met {
			if _, known := place[k]; !known {
				place[k] = placeOf(&table, k)
			}
		}
	}
}

// checkMet compares what a table counts of rows that arc meets with the rows.
func checkMet[V named](t tester, table *table[V]) {
	t.Helper()
	all := 0
	for _, p := range table.pages {
		before := all
		for i := range p.buckets {
			for b := &p.buckets[i]; b != nil; b = b.more {
				n := 0
				for _, row := range b.rows[:b.n] {
					if table.ring(row) {
						n++
					}
				}
				if all += n; int(b.met) != n {
					t.Errorf("a bucket counts %d rows that are to be met and has %d", b.met, n)
				}
			}
		}
		if n := all - before; p.met != n {
			t.Errorf("a page counts %d rows that are to be met and has %d", p.met, n)
		}
	}
	if table.met != all {
		t.Errorf("%d rows are counted that are to be met, there are %d", table.met, all)
	}
}

// placeOf finds a row's place by halving the ring.
func placeOf(t *table[*tableRow], key string) uint64 {
	var place uint64
	for bit := uint64(1) << 63; bit != 0; bit >>= 1 {
		found := false
		for from := place; from != place+bit; {
			from = t.arc(from, place+bit, 1000, func(row *tableRow) { found = found || row.key == key })
		}
		if !found {
			place += bit
		}
	}
	return place
}

// TestArcsEven: equal arcs hold about equally many phones, and a limit bounds what is looked at. Phones that need no keep-alive are not seen.
func TestArcsEven(t *testing.T) {
	if testing.Short() {
		t.Skip("fills the table")
	}
	const (
		users  = 40_000
		phones = users / 2 // those that do not keep their flow themselves
		arcs   = 100
	)
	l := newLoad(t, users)
	l.register(users)
	b := &pb.Batch{}
	for i := 0; i < users; i += 2 {
		c := l.registration(i)
		c.GetRegister().Changes[0].Binding.KeepsFlow = false
		b.Commands = append(b.Commands, c)
	}
	l.apply(l.encode(b))
	least, most, met := phones, 0, 0
	for i := range uint64(arcs) {
		const size = 1<<64/arcs + 1
		var got []Registrant
		from, to := i*size, (i+1)*size
		if i == arcs-1 {
			to = 0
		}
		for from != to {
			had := len(got)
			if got, from = l.Arc(from, to, 50, got); len(got)-had > 50+8*bucketLoad {
				t.Fatalf("%d rows at once", len(got)-had)
			}
		}
		for _, r := range got {
			if len(r.Bindings) != 1 || r.AoR == "" {
				t.Fatalf("%+v", r)
			}
		}
		least, most, met = min(least, len(got)), max(most, len(got)), met+len(got)
	}
	if met != phones || least < phones/arcs/2 || most > phones/arcs*2 {
		t.Errorf("%d phones in all, from %d to %d in an arc", met, least, most)
	}
	l.must(cmd(&pb.Register{Aor: phone(8), CallId: "other", Cseq: 1, Txn: []byte("t"), RemoveAll: true, Group: 1, Epoch: 5}))
	left := 0
	for from, more := uint64(0), true; more; more = from != 0 {
		var got []Registrant
		got, from = l.Arc(from, 0, 1000, nil)
		left += len(got)
	}
	if left != phones-1 {
		t.Errorf("%d phones are left", left)
	}
}

// BenchmarkArc passes by phones that are not to be kept alive, all but one: a node does so with all of them in each interval.
func BenchmarkArc(b *testing.B) {
	const rows = 1_000_000
	table := newRing(func(r *tableRow) bool { return r.value == 0 })
	for i := range rows {
		table.set(&tableRow{fmt.Sprintf("user%d@example.com", i), i})
	}
	for b.Loop() {
		for from, more := uint64(0), true; more; more = from != 0 {
			from = table.arc(from, 0, 256, func(r *tableRow) {
				if r.value != 0 {
					b.Fatal(r.key)
				}
			})
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(1<<table.level+table.split), "ns/bucket")
}
