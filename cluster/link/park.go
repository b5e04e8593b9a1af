package link

import (
	"sync"
	"sync/atomic"
	"time"
)

// parking holds SIP frames for which there is no owner to send to just now, and those that have become this node's own.
type parking struct {
	wake chan struct{}

	parkMu sync.Mutex
	own    []frame // this node holds the lease
	parked []frame
}

type counters struct {
	dropped, resent, refused atomic.Uint64
}

// Stats counts what happened to SIP frames.
type Stats struct {
	Dropped uint64 // too old, too large, or no room
	Resent  uint64 // sent on to another owner
	Refused uint64 // taken back because the peer did not own the group
}

// Stats returns the counts so far.
func (l *Link) Stats() Stats {
	return Stats{Dropped: l.stats.dropped.Load(), Resent: l.stats.resent.Load(), Refused: l.stats.refused.Load()}
}

func (l *Link) park(f frame, own bool) {
	l.parkMu.Lock()
	room := len(l.own)+len(l.parked) < parkedMost
	switch {
	case !room:
		l.stats.dropped.Add(1)
	case own:
		l.own = append(l.own, f)
	default:
		l.parked = append(l.parked, f)
	}
	l.parkMu.Unlock()
	l.rouse() // unpark looks at both lists and sets its timer
}

func (l *Link) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// unpark delivers own frames and tries parked ones again.
func (l *Link) unpark() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	retry := time.Now()
	for {
		l.parkMu.Lock()
		own := l.own
		l.own = nil
		var parked []frame
		if now := time.Now(); !now.Before(retry) {
			parked, l.parked = l.parked, nil
			retry = now.Add(retryAfter)
		}
		waiting := len(l.parked) > 0
		l.parkMu.Unlock()
		for _, f := range own {
			if mine, _, held := l.opt.Owners.Lease(f.group); held && mine >= f.epoch {
				l.opt.Handler.Frame(l.opt.Self, f.group, mine, f.data)
			} else {
				l.park(f, false)
			}
		}
		for _, f := range parked {
			l.route(f)
		}
		if waiting {
			timer.Reset(time.Until(retry))
		} else {
			timer.Reset(time.Hour)
		}
		select {
		case <-l.wake:
		case <-timer.C:
		case <-l.ctx.Done():
			return
		}
	}
}
