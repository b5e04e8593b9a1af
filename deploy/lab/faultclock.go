package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"holdline/deploy/lab/node"
	"holdline/deploy/lab/userns"
)

// clockHold is how long the clock stays stepped.
const clockHold = 2 * time.Second

// clockPrefix begins the name of a fault that steps the wall clock: clock+1h, clock-1h.
const clockPrefix = "clock"

var errNoClockStep = errors.New("it steps the wall clock of this machine, for everything that runs on it: as root, with --allow-clock-step")

// stepOf reads such a name.
func stepOf(name string) (time.Duration, bool) {
	d, err := time.ParseDuration(strings.TrimPrefix(name, clockPrefix))
	return d, strings.HasPrefix(name, clockPrefix) && err == nil && d != 0
}

// mayStep says whether this drill may step the clock.
func (o Options) mayStep() bool { return o.AllowClockStep && !userns.Inside() }

// steppedClock steps CLOCK_REALTIME and back. No namespace has that clock: the machine's own is stepped, so all nodes see it.
func steppedClock(by time.Duration) func(*cluster, *node.Node) (blow, error) {
	return func(*cluster, *node.Node) (blow, error) {
		if err := stepClock(0); err != nil { // what may not be done is better known before
			return blow{}, err
		}
		return blow{
			inflict: func() error { return stepClock(by) }, hold: clockHold,
			mend: func(context.Context) error { return stepClock(-by) },
		}, nil
	}
}

// stepClock sets the wall clock by that much forward.
func stepClock(by time.Duration) error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	to := unix.NsecToTimespec(now.Nano() + int64(by))
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &to); err != nil {
		return fmt.Errorf("step the clock by %v: %w; it takes root on the machine itself", by, err)
	}
	return nil
}
