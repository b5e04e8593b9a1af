package transport

import "time"

const (
	// gatherTime is how long a reader lets datagrams gather before it reads again, while they come fast. Waking a reader and
	// a sendmmsg cost more than most messages' handling; at fastRate a millisecond gathers enough to share them.
	// It delays a message by half of it on average. docs/performance-log.md has the figures.
	gatherTime = time.Millisecond
	fastRate   = 2000 // datagrams/s on one socket
	paceWindow = 10 * time.Millisecond
)

// pace tells whether datagrams come fast, from what came in the last window. Not safe for concurrent use.
type pace struct {
	start int64 // of the window, ns of CLOCK_MONOTONIC_RAW
	n     int
	fast  bool
}

func (p *pace) count(now int64, n int) {
	p.n += n
	elapsed := now - p.start
	if elapsed < int64(paceWindow) {
		return
	}
	p.fast = int64(p.n)*int64(time.Second) >= fastRate*elapsed
	p.start, p.n = now, 0
}
