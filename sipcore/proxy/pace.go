package proxy

import (
	"sync/atomic"
	"time"
)

// Pace lets so many through in a second, for what must not cost more under a flood. The second is in its low bits, how many above. Safe for concurrent
// use; the zero value is ready.
type Pace struct{ state atomic.Uint64 }

// Admits reports whether one more of most a second is let through in the second of now, which is in ns.
func (p *Pace) Admits(now int64, most uint64) bool {
	const secondBits, mask = 44, 1<<44 - 1
	second := uint64(now/int64(time.Second)) & mask
	for {
		was := p.state.Load()
		n := was >> secondBits
		if at := was & mask; second <= at {
			second = at // one goroutine's time may be a little behind another's
		} else {
			n = 0
		}
		if n >= most {
			return false
		}
		if p.state.CompareAndSwap(was, second|(n+1)<<secondBits) {
			return true
		}
	}
}
