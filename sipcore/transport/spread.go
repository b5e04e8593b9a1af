package transport

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// One reader does for all while it is far from busy: what comes then gathers in one place, and half as many batches, wake-ups and
// system calls carry it. Beyond that the kernel spreads peers over all readers by their addresses.
const (
	spreadLook  = 200 * time.Millisecond
	spreadAbove = 0.7 // busy share of the one reader
	narrowBelow = 0.5 // busy shares of all readers together
	narrowAfter = 10  // looks in a row
)

// spreading decides whether datagrams are spread. Not safe for concurrent use.
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
	t := time.NewTicker(spreadLook)
	defer t.Stop()
	var s spreading
	last, then := u.busy(), time.Now()
	for {
		select {
		case <-u.closed:
			return
		case <-t.C:
		}
		busy, now := u.busy(), time.Now()
		was := s.on
		s.look(float64(busy-last) / float64(now.Sub(then)))
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

func (u *UDP) setSpread(on bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.spread = on
	for _, l := range u.table.Load().open {
		if err := l.setSpread(on); err != nil {
			u.log.Warn("spreading SIP datagrams over readers", "local", l.ep.Local.String(), "err", err)
		}
	}
}

// setSpread lets the kernel choose the socket by the datagram's addresses, or take the first.
func (l *listener) setSpread(on bool) error {
	if len(l.sockets) < 2 {
		return nil
	}
	var serr error
	err := l.sockets[0].raw.Control(func(fd uintptr) {
		if on {
			serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
			return
		}
		first := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
		serr = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: 1, Filter: &first[0]})
	})
	if err = errors.Join(err, serr); err != nil {
		return fmt.Errorf("choose among the sockets of a port: %w", err)
	}
	return nil
}
