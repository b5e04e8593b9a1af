package proxy

import (
	"runtime"
	"testing"
)

// TestEndedCallsKeepLittle: for half a minute after a call its two transactions absorb what comes again (Timers J and L, RFC 3261
// §17.2.2, RFC 6026 §7.1). At thousands of calls a second that is most of what a node holds.
func TestEndedCallsKeepLittle(t *testing.T) {
	const calls, most = 4000, 2300 // octets a call
	c := newBenchCall(t)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what pools had kept is gone by the second
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	c.script(0)
	before := heap()
	for i := range calls {
		c.script(i + 1)
	}
	each := (heap() - before) / calls
	if n := c.s.Len(); n != 2*(calls+1) {
		t.Fatalf("%d transactions of %d calls", n, calls+1)
	}
	t.Logf("%d octets a call", each)
	if each > most {
		t.Errorf("an ended call keeps %d octets, want %d at most", each, most)
	}
	runtime.KeepAlive(c)
}

// TestFloodIsForgotten: three minutes after a flood what its transactions took is free again, and those under way go on.
func TestFloodIsForgotten(t *testing.T) {
	c := newBenchCall(t)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range 4000 {
		c.script(i)
	}
	flooded := heap() - before
	for range 3 {
		c.now += trimEvery
		c.s.Advance(c.v, c.now)
		c.script(5000) // somebody calls now and then
	}
	if left := heap() - before; left > flooded/8 {
		t.Errorf("of %d octets %d are still held", flooded, left)
	}
	if n := c.s.Len(); n != 2 {
		t.Errorf("%d transactions", n)
	}
	runtime.KeepAlive(c)
}
