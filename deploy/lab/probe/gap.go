// Package probe measures how long a VIP gives no answer.
package probe

import "time"

// Patience is how soon an answer must come to count: T1, after which a phone would send again (RFC 3261 §17.1.1.1). An answer that a
// box had in its queue through the fault is no sign that the VIP was served.
const Patience = 500 * time.Millisecond

// Sample is one probe.
type Sample struct {
	Sent     time.Time // with monotonic reading
	Answered time.Time // zero: never
}

func (s Sample) ok() bool { return !s.Answered.IsZero() && s.Answered.Sub(s.Sent) <= Patience }

// Gap is what a run of probes to one VIP says.
type Gap struct {
	Sent, Lost int
	Longest    time.Duration // between the sending of two answered probes with none answered between them
	Start      time.Time     // when the last probe before it was sent
	Pause      time.Duration // longest time between two probes: the measurement's own grain
}

// Measure finds the longest gap in samples, which are in the order of their sending, with from and to as the ends of the measurement: a
// VIP that never answers again is missing until to.
func Measure(samples []Sample, from, to time.Time) Gap {
	var g Gap
	last, lastSent := from, from
	note := func(at time.Time) {
		if d := at.Sub(last); d > g.Longest {
			g.Longest, g.Start = d, last
		}
		last = at
	}
	for _, s := range samples {
		if s.Sent.Before(from) || s.Sent.After(to) {
			continue
		}
		g.Sent++
		g.Pause = max(g.Pause, s.Sent.Sub(lastSent))
		lastSent = s.Sent
		if s.ok() {
			note(s.Sent)
		} else {
			g.Lost++
		}
	}
	note(to)
	g.Pause = max(g.Pause, to.Sub(lastSent))
	return g
}
