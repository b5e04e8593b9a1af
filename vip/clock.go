package vip

import (
	"math"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Clock reads CLOCK_MONOTONIC in nanoseconds without a system call: the time in which Client.Lease answers.
// The zero Clock is not usable; see NewClock.
type Clock struct {
	base   time.Time
	offset int64
}

// NewClock makes a Clock.
func NewClock() Clock {
	// The runtime's own monotonic reading is CLOCK_MONOTONIC through the vDSO, with an unknown zero. Reading the system's
	// after it makes this clock run ahead by the length of one system call: a lease ends early rather than late. The best of some
	// readings, as a process that stands still between the two would be ahead by that for good.
	c := Clock{base: time.Now(), offset: math.MaxInt64}
	for range 5 {
		since := int64(time.Since(c.base))
		c.offset = min(c.offset, readClock(unix.CLOCK_MONOTONIC)-since)
	}
	return c
}

// Now is CLOCK_MONOTONIC in nanoseconds.
func (c Clock) Now() int64 { return int64(time.Since(c.base)) + c.offset }

func readClock(id int32) int64 {
	var ts unix.Timespec
	// It cannot fail, as these clocks exist on every Linux, nor block: the scheduler need not be told, which would wake its monitor.
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, uintptr(id), uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Nano()
}

// guardClock is the guard's time: CLOCK_MONOTONIC_RAW, which nobody slews.
type guardClock struct {
	mono  Clock // spares system calls
	slept int64
	known bool
}

func (guardClock) now() int64 { return readClock(unix.CLOCK_MONOTONIC_RAW) }

// monotonic converts a time of now's clock for the core, which reads CLOCK_MONOTONIC. That one may be slewed (chrony:
// by 8 % at most) over what is left of a lease; an owner stops at 0.8 of its grant, which covers it.
func (c guardClock) monotonic(t, now int64) int64 {
	return t - now + readClock(unix.CLOCK_MONOTONIC)
}

// suspended tells whether the machine has slept since the last call: CLOCK_BOOTTIME went on, CLOCK_MONOTONIC did not.
func (c *guardClock) suspended() bool {
	if c.mono.base.IsZero() {
		c.mono = NewClock()
	}
	slept, ok := sleptSoFar(c.mono.Now, readClock)
	if !ok {
		return false
	}
	jump := c.known && slept-c.slept > clockNoise
	if !c.known || jump || slept < c.slept {
		c.slept, c.known = slept, true
	}
	return jump
}

// clockNoise is how far two readings of clocks may lie apart.
const clockNoise = int64(2 * time.Millisecond)

// sleptSoFar is how long the machine has slept since it booted. The clocks are read one after the other: a process that is not
// running for a while in between would think that the machine had slept, so the reading is bracketed, and tried again. It gives up
// when that happens every time; the next turn will tell.
func sleptSoFar(monotonic func() int64, read func(id int32) int64) (int64, bool) {
	for range 5 {
		before := monotonic()
		boot := read(unix.CLOCK_BOOTTIME)
		if monotonic()-before <= clockNoise/2 {
			return boot - before, true
		}
	}
	return 0, false
}
