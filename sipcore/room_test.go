package sipcore

import (
	"math"
	"testing"
)

// TestRoomFor: a node without a limit to its memory has the usual room for transactions, one with a limit what three quarters of it hold.
func TestRoomFor(t *testing.T) {
	for memory, want := range map[int64]int{math.MaxInt64: maxTransactions, 512 << 20: 196_608, 18 << 30: 7_077_888} {
		if got := roomFor(memory); got != want {
			t.Errorf("%d bytes: room for %d, want %d", memory, got, want)
		}
	}
}
