package fsm

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

type tableRow struct {
	key   string
	value int
}

func (r *tableRow) name() string { return r.key }

// TestTable compares a table with a Go map over random writes, and each copy taken on the way with what the map was then.
func TestTable(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	live, want := newTable[*tableRow](), map[string]int{}
	type copied struct {
		table[*tableRow]
		want map[string]int
	}
	var copies []copied
	check := func(what string, got *copied) {
		t.Helper()
		if got.len() != len(got.want) {
			t.Errorf("%s: %d rows, want %d", what, got.len(), len(got.want))
		}
		for i := range 4000 {
			k := fmt.Sprint(i)
			row, found := got.get(k)
			if v, is := got.want[k]; found != is || found && (row.value != v || row.key != k) {
				t.Fatalf("%s: %s is %v, %v; want %d, %v", what, k, row, found, v, is)
			}
		}
	}
	for i := range 40_000 {
		k := fmt.Sprint(r.IntN(min(i/4+1, 4000)))
		_, is := want[k]
		if i%16_000 > 12_000 || i%5 == 0 { // now and then most of it goes
			if row, found := live.delete(k); found != is || found && row.key != k {
				t.Fatalf("delete %s: %v, want %v", k, found, is)
			}
			delete(want, k)
		} else {
			if live.set(&tableRow{k, i}) != is {
				t.Fatalf("set %s: replaced %v, want %v", k, !is, is)
			}
			want[k] = i
		}
		if i%3001 == 0 {
			c := copied{live.copy(), map[string]int{}}
			for k, v := range want {
				c.want[k] = v
			}
			copies = append(copies, c)
		}
	}
	check("table", &copied{live, want})
	for i := range copies {
		check(fmt.Sprint("copy ", i), &copies[i])
	}
}

// TestTableSpreads holds the number of rows in a bucket to what makes a look-up quick.
func TestTableSpreads(t *testing.T) {
	table := newTable[*tableRow]()
	for i := range 100_000 {
		table.set(&tableRow{fmt.Sprintf("4930%07d@example.com", i), i})
	}
	buckets, most, behind := 0, 0, 0
	for _, p := range table.pages {
		for i := range p.buckets {
			n := 0
			for b := &p.buckets[i]; b != nil; b = b.more {
				if b != &p.buckets[i] {
					behind += int(b.n)
				}
				n += int(b.n)
				if b.more != nil && b.n != bucketRows || b.n == 0 && n > 0 {
					t.Fatalf("a bucket has %d rows and others follow it, or it follows others and has none", b.n)
				}
			}
			buckets, most = buckets+1, max(most, n)
		}
	}
	if want := 1<<table.level + int(table.split); buckets < want || want < 100_000/bucketLoad {
		t.Errorf("%d buckets, room for %d, for %d rows", want, buckets, table.len())
	}
	if most > 8*bucketLoad || behind > table.len()/10 {
		t.Errorf("up to %d rows in a bucket, %d of %d behind a first one", most, behind, table.len())
	}
}

// BenchmarkTable finds rows that the processor's caches don't hold any more, as a REGISTER does: its phone was last heard of minutes ago.
func BenchmarkTable(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table := newTable[*tableRow]()
			for i := range n {
				table.set(&tableRow{phone(i), i})
			}
			names := make([]string, min(n, 200_000))
			for i := range names {
				names[i] = phone(i * 7919 % n)
			}
			i := 0
			for b.Loop() {
				i = (i + 1) % len(names)
				if _, found := table.get(names[i]); !found {
					b.Fatal(names[i])
				}
			}
		})
	}
}
