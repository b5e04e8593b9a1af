package transport

import (
	"time"

	"holdline/sipcore/beat"
)

// One reader does for all sockets while it is far from busy: what comes then is read in one go, and half as many wake-ups and system
// calls carry it. Beyond that each reader has a socket of each endpoint, over which the kernel spreads peers by their addresses.
const (
	spreadLook  = 200 * time.Millisecond
	spreadAbove = 0.7 // busy share of the one reader
	narrowBelow = 0.5 // busy shares of all readers together
	narrowAfter = 10  // looks in a row
)

// spreading decides whether the sockets are spread over the readers. Not safe for concurrent use.
type spreading struct {
	on    bool
	quiet int // looks in a row with little to do
}

// look takes the sum of the readers' busy shares.
func (s *spreading) look(busy float64) {
	switch {
	case !s.on:
		s.on = busy > spreadAbove
		s.quiet = 0
	case busy >= narrowBelow:
		s.quiet = 0
	default:
		if s.quiet++; s.quiet >= narrowAfter {
			s.on = false
		}
	}
}

// follow keeps the sockets as the load wants them, until the transport is closed.
func (u *UDP) follow() {
	look := beat.NewAlarm()
	defer look.Stop()
	var s spreading
	var last time.Duration
	var then time.Time // of the look before; the first is at any moment, perhaps so soon that a few datagrams would seem to keep a reader busy
	for {
		look.Next(spreadLook)
		select {
		case <-u.closed:
			return
		case <-look.C:
		}
		busy, now, was := u.busy(), time.Now(), s.on
		if !then.IsZero() {
			s.look(float64(busy-last) / float64(now.Sub(then)))
		}
		last, then = busy, now
		if s.on != was {
			u.setSpread(s.on)
		}
	}
}

// busy is how long all readers have worked so far.
func (u *UDP) busy() time.Duration {
	var sum int64
	for _, r := range u.read {
		sum += r.busy.Load()
	}
	return time.Duration(sum)
}

// setSpread hands sockets over to the readers that are to read them. What comes from one peer is always on one socket, and a socket
// changes hands between two looks at it, so the order of what a peer sends is kept.
func (u *UDP) setSpread(on bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.spread = on
	for _, l := range u.table.Load().open {
		for _, s := range l.sockets {
			if err := s.handTo(u.readerOf(s)); err != nil {
				u.log.Error("handing a SIP socket over to another reader", "local", l.ep.Local.String(), "err", err)
			}
		}
	}
}

// readerOf is who is to read a socket. u.mu is held.
func (u *UDP) readerOf(s *socket) *reader {
	if u.spread {
		return u.read[s.index]
	}
	return u.read[0]
}

// handTo gives the socket to another reader.
func (s *socket) handTo(r *reader) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.reader == r {
		return nil
	}
	if err := s.reader.drop(s); err != nil {
		return err
	}
	return r.take(s)
}
