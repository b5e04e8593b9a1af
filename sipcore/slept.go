package sipcore

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// slept is for how long the machine has been suspended since it booted. The core's time, like every monotonic clock, stands still meanwhile, and the
// rest of the cluster goes on.
type slept struct {
	ns    atomic.Int64
	apart atomic.Int64 // wall clock less the core's time, as of when see had it looked
}

// so is the answer as of the last look, in ns.
func (s *slept) so() int64 { return s.ns.Load() }

// sleptLeast is what counts as sleep: two clocks cannot be read at the same instant.
const sleptLeast = int64(10 * time.Millisecond)

// look reads the clocks, and leaves the answer as it is when they cannot be.
func (s *slept) look() {
	if ns, ok := readSlept(readClock); ok && ns-s.ns.Load() >= sleptLeast {
		s.ns.Store(ns)
	}
}

// see looks if the wall clock has gone on further than the core's time did, as it does while the machine sleeps, or was set. It is a few ns, looking is three system
// calls: so whoever asks for the time sees to it that nothing done after a sleep is taken to be from before it.
func (s *slept) see(wall, now int64) {
	apart := wall - now
	if d := apart - s.apart.Load(); d >= sleptLeast || d <= -sleptLeast {
		s.look()
		s.apart.Store(apart)
	}
}

// readSlept is CLOCK_BOOTTIME less CLOCK_MONOTONIC. A process that is stopped between the two readings must not take that for sleep of the
// machine, so it tries again when they took long.
func readSlept(read func(id int32) (int64, error)) (ns int64, ok bool) {
	for range 5 {
		before, err1 := read(unix.CLOCK_MONOTONIC)
		boot, err2 := read(unix.CLOCK_BOOTTIME)
		after, err3 := read(unix.CLOCK_MONOTONIC)
		if err1 != nil || err2 != nil || err3 != nil {
			return 0, false
		}
		if after-before < sleptLeast/2 {
			return boot - before, true
		}
	}
	return 0, false
}

func readClock(id int32) (int64, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		return 0, err
	}
	return t.Nano(), nil
}
