package sipcore

import (
	"math/bits"
	"time"
)

// Keep-alives go around the ring of registrations (fsm.Machine.Arc) once an interval. Where they are follows from FSM time alone, so each phone has its
// own moment in the interval, spread evenly over all of them, and a new owner of a VIP group goes on where the last one was: no phone
// waits for longer than an interval because of a takeover, and no two for the same moment.

const (
	// clockSlack is how far FSM time may go back before it counts as another time: this node learns of it with some delay.
	clockSlack = int64(time.Second)
	// stallSeen is how much of a stall is made up for at once.
	stallSeen = int64(100 * time.Millisecond)
)

// round is how far a walk has come, as the time at which it was due there, in ns.
type round struct{ done int64 }

// advance goes on towards now and returns from when to when what was due is due at last. The walk leaves out nothing and is never faster than
// twice the time that has passed; one that is far behind, or ahead since FSM time went back, makes up for it by that.
func (r *round) advance(now, passed, interval int64) (from, to int64) {
	if r.done > now+clockSlack {
		r.done -= (r.done - now + interval - 1) / interval * interval // the same place, in an earlier round
	}
	if behind := now - r.done; behind > interval {
		r.done += behind / interval * interval
	}
	from = r.done
	r.done += max(0, min(now-r.done, 2*min(passed, stallSeen)))
	return from, r.done
}

// placeAt is the place on the ring that is due at t.
func placeAt(t, interval int64) uint64 {
	t %= interval
	if t < 0 {
		t += interval
	}
	q, _ := bits.Div64(uint64(t), 0, uint64(interval))
	return q
}
