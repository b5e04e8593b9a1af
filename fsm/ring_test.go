package fsm

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"holdline/fsm/pb"
)

// TestArcs goes around tables of many sizes, in arcs of any length and with any limit: each row is met once, at the same place in all of them.
func TestArcs(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	table := newRing[*tableRow]()
	place := map[string]uint64{}
	for n := range 5000 {
		table.set(&tableRow{fmt.Sprint(n), n})
		if n%97 == 0 {
			table.delete(fmt.Sprint(n / 2))
		}
		if n%251 != 0 {
			continue
		}
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
		if len(met) != table.len() {
			t.Fatalf("%d of %d rows met in %d arcs", len(met), table.len(), steps)
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

// TestArcsEven: equal arcs hold about equally many phones, and a limit bounds what is looked at.
func TestArcsEven(t *testing.T) {
	if testing.Short() {
		t.Skip("fills the table")
	}
	const phones, arcs = 20_000, 100
	l := newLoad(t, phones)
	l.register(phones)
	least, most, all := phones, 0, 0
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
		least, most, all = min(least, len(got)), max(most, len(got)), all+len(got)
	}
	if all != phones || least < phones/arcs/2 || most > phones/arcs*2 {
		t.Errorf("%d phones in all, from %d to %d in an arc", all, least, most)
	}
	l.must(cmd(&pb.Register{Aor: phone(7), CallId: "other", Cseq: 1, Txn: []byte("t"), RemoveAll: true, Group: 1, Epoch: 5}))
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
