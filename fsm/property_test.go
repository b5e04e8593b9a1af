package fsm

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestReplicasAreEqual feeds two replicas the same log; a third restores a snapshot taken somewhere and applies the rest. All
// must end with the same bytes and the same results, with indexes and counters that agree with the rows.
func TestReplicasAreEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := drawLog(t)
		cut := rapid.IntRange(0, len(log)).Draw(t, "cut")
		one, two, late := New(), New(), New()
		var taken *Snapshot
		var early []byte
		for i, e := range log {
			if i == cut {
				taken, early = two.Snapshot(), snapshotBytes(t, two)
			}
			a, b := one.Apply(uint64(i+1), e), two.Apply(uint64(i+1), e)
			if len(a) != len(b) {
				t.Fatalf("entry %d: %d and %d results", i, len(a), len(b))
			}
			for k := range a {
				if a[k].String() != b[k].String() {
					t.Fatalf("entry %d: results differ:\n%v\n%v", i, a[k], b[k])
				}
			}
		}
		if taken == nil {
			taken, early = two.Snapshot(), snapshotBytes(t, two)
		}
		// Written now, long after: the machine went on, the snapshot must not have.
		var image bytes.Buffer
		if _, err := taken.WriteTo(&image); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(image.Bytes(), early) {
			t.Fatal("a snapshot changed after it was taken")
		}
		if err := late.Restore(&image); err != nil {
			t.Fatal(err)
		}
		checkDerived(t, late)
		for i, e := range log[min(cut, len(log)):] {
			late.Apply(uint64(cut+i+1), e)
		}
		want := snapshotBytes(t, one)
		if !bytes.Equal(want, snapshotBytes(t, two)) {
			t.Fatal("two replicas fed the same log differ")
		}
		if !bytes.Equal(want, snapshotBytes(t, late)) {
			t.Fatal("snapshot and rest of the log differ from the whole log")
		}
		for _, m := range []*Machine{one, late} {
			checkDerived(t, m)
		}
		if a, b := one.Counts(), late.Counts(); a != b {
			t.Fatalf("counts %+v and %+v", a, b)
		}
	})
}
