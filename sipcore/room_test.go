package sipcore

import (
	"math"
	"runtime"
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

// TestRoomTaken: what lives on the heap and is no transaction takes room, until the collection after its end; where there is no limit nothing does.
func TestRoomTaken(t *testing.T) {
	r := newRoom(64 << 20)
	look := func() int {
		runtime.GC()
		if !r.collected() {
			t.Error("it was not told of a collection")
		}
		return r.taken(1000)
	}
	before := look()
	if r.collected() {
		t.Error("told of a collection that there was not")
	}
	const ballast = 64 << 20
	b := make([]byte, ballast)
	with := look() - before
	runtime.KeepAlive(b)
	after := look() - before
	const want = ballast / transactionSize // more or less: what earlier tests have left goes, too
	if with < want/2 || with > want*3/2 || after > want/4 {
		t.Errorf("%d bytes take the room of %d transactions, want some %d; afterwards %d", ballast, with, want, after)
	}
	unlimited := newRoom(math.MaxInt64)
	if runtime.GC(); unlimited.collected() {
		t.Error("without a limit it matters what lives")
	}
}
