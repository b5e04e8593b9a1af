package cluster

import "testing"

// What is kept of the log goes by the size of its entries, also when a few large ones fill it.
func TestTrailingGoesBySize(t *testing.T) {
	for _, x := range []struct {
		entries, bytes int64
		want           uint64
	}{
		{0, 0, trailingMost},
		{500, 1 << 20, trailingMost}, // too few to tell
		{500, 150 << 20, trailingLeast},
		{100_000, 150 << 20, 42_666},
		{1_000, 128 << 20, trailingLeast},
		{200_000, 20 << 20, trailingMost},
	} {
		var r replica
		r.entries.Store(x.entries)
		r.bytes.Store(x.bytes)
		if got := r.trailing(); got != x.want {
			t.Errorf("%d entries of %d bytes: %d are kept, want %d", x.entries, x.bytes, got, x.want)
		}
	}
}
