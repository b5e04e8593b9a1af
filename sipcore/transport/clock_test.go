package transport

import (
	"testing"
	"time"
)

// TestClockSteps: whatever the wall clock does between a datagram's stamp and its reading, the time computed for it is
// not later than the true one.
func TestClockSteps(t *testing.T) {
	const distance = int64(1e18) // real − raw before anything happens
	const arrival, reading = int64(50e9), int64(50e9 + 5e6)
	for name, c := range map[string]struct {
		stepBefore, stepAfter time.Duration // of the wall clock, before the stamp and between stamp and reading
		late                  bool          // the sampler ran after the step, before the reading
		exact                 bool
	}{
		"no step":                      {exact: true},
		"forward before the stamp":     {stepBefore: time.Hour, exact: true},
		"back before the stamp":        {stepBefore: -time.Hour},
		"forward while waiting":        {stepAfter: time.Hour},
		"back while waiting":           {stepAfter: -time.Hour},
		"back while waiting, sampled":  {stepAfter: -time.Hour, late: true},
		"slewed forward while waiting": {stepAfter: time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) {
			var k clock
			k.recent.Store(distance)
			k.older.Store(distance)
			stamp := arrival + distance + int64(c.stepBefore)
			now := distance + int64(c.stepBefore+c.stepAfter)
			if c.late {
				k.older.Store(k.recent.Swap(now))
			}
			at := min(reading, stamp-k.widest(now))
			if at > arrival {
				t.Errorf("%v later than it was", time.Duration(at-arrival))
			}
			if c.exact && at != arrival {
				t.Errorf("%v too early without need", time.Duration(arrival-at))
			}
		})
	}
}
