package vip

import (
	"time"

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
	// after it makes this clock run ahead by the length of one system call: a lease ends early rather than late.
	base := time.Now()
	return Clock{base: base, offset: readClock(unix.CLOCK_MONOTONIC)}
}

// Now is CLOCK_MONOTONIC in nanoseconds.
func (c Clock) Now() int64 { return int64(time.Since(c.base)) + c.offset }

func readClock(id int32) int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(id, &ts) // cannot fail: these clocks exist on every Linux
	return ts.Nano()
}

// guardClock is the guard's time: CLOCK_MONOTONIC_RAW, which nobody slews.
type guardClock struct {
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
	slept, ok := sleptSoFar(readClock)
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
func sleptSoFar(read func(id int32) int64) (int64, bool) {
	for range 5 {
		before := read(unix.CLOCK_MONOTONIC)
		boot := read(unix.CLOCK_BOOTTIME)
		if read(unix.CLOCK_MONOTONIC)-before <= clockNoise/2 {
			return boot - before, true
		}
	}
	return 0, false
}
