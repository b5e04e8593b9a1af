package proxy

import "time"

// FSMClock tells FSM time between entries, and while there is no raft leader: it goes on from the last entry by this node's
// monotonic clock.
type FSMClock struct {
	last int64 // FSM time of the last entry seen, ms
	at   int64 // and when it was first seen, in the core's time
}

// See returns FSM time in ms. applied is what the state machine says; now the core's time, in ns.
func (f *FSMClock) See(applied, now int64) int64 {
	if applied != f.last || f.at == 0 {
		f.last, f.at = applied, now
	}
	return f.last + (now-f.at)/int64(time.Millisecond)
}
