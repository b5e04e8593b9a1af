package transport

import (
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// clock turns the kernel's receive times (CLOCK_REALTIME) into CLOCK_MONOTONIC_RAW such that the result is never later
// than the truth, even when the wall clock was stepped while datagrams were waiting or the process was stopped.
//
// Reading raw time first and real time after it can only make the distance real − raw too large, and so a receive time
// too early. The distances of the last one to two seconds count too, and the largest is taken: a step back between
// stamp and reading is covered by the older ones, a step forward by the newest. An early time costs at most a
// retransmission just after a takeover; a late one could let a datagram of the former owner's time through.
type clock struct {
	recent, older atomic.Int64 // real − raw, ns
}

// sampleEvery bounds by how much slewing of the wall clock (at most 500 ppm) makes receive times too early: 1 ms.
const sampleEvery = time.Second

// read returns raw time and the distance of real time from it.
func (c *clock) read() (raw, distance int64) {
	raw = MonotonicRaw()
	return raw, time.Now().UnixNano() - raw
}

// sample notes the distance as it is now.
func (c *clock) sample() {
	_, d := c.read()
	if c.recent.Load() == 0 {
		c.recent.Store(d)
	}
	c.older.Store(c.recent.Swap(d))
}

// run samples until done.
func (c *clock) run(done <-chan struct{}) {
	t := time.NewTicker(sampleEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			c.sample()
		case <-done:
			return
		}
	}
}

// widest returns the largest distance of the recent past.
func (c *clock) widest(now int64) int64 {
	return max(now, c.recent.Load(), c.older.Load())
}

// MonotonicRaw reads CLOCK_MONOTONIC_RAW in nanoseconds, the clock of leases and of Packet.At.
func MonotonicRaw() int64 { return readClock(unix.CLOCK_MONOTONIC_RAW) }

// Monotonic reads CLOCK_MONOTONIC in nanoseconds.
func Monotonic() int64 { return readClock(unix.CLOCK_MONOTONIC) }

func readClock(id uintptr) int64 {
	var ts unix.Timespec
	// Raw: it never blocks, and telling the scheduler of it would wake the runtime's monitor from its sleep.
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		return 0 // cannot happen on Linux ≥ 2.6.28; 0 makes datagrams look old, which is safe
	}
	return ts.Nano()
}
