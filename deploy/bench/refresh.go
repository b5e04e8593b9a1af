package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"holdline/deploy/lab/netlab"
)

const (
	refreshSockets = 4
	refreshPort    = 7001 // the first socket's; users are dealt out to the sockets in turn
	refreshStride  = 7919 // users are refreshed far apart: their rows are in nobody's cache
	refreshKept    = 200_000
)

// refreshed names what user i's phone says the same in each of its REGISTERs.
type refreshed struct {
	name string
	i    int
}

func newRefreshed(i int) refreshed { return refreshed{benchUser(i), i} }

func (u refreshed) port() int { return refreshPort + u.i%refreshSockets }

func (u refreshed) local() string { return fmt.Sprintf("%s:%d", callerAddr, u.port()) }

func (u refreshed) callID() string { return fmt.Sprintf("reg-%s-%s", u.name, u.local()) }

func (u refreshed) contact() string { return fmt.Sprintf("sip:%s@%s", u.name, u.local()) }

// refresher renews bindings that are there, each with a nonce that is good: one message each way.
type refresher struct {
	sockets []*registerSocket
}

// newRefresher deals out users of a table of that many to its sockets, spread over the whole table, at most refreshKept.
func newRefresher(from *netlab.Box, target string, users int) (*refresher, error) {
	r := &refresher{}
	for i := range refreshSockets {
		conn, err := dialBound(from, target, refreshPort+i)
		if err != nil {
			return nil, err
		}
		r.sockets = append(r.sockets, &registerSocket{conn: conn, local: fmt.Sprintf("%s:%d", callerAddr, refreshPort+i)})
	}
	seen := make(map[int]bool)
	for k := 0; len(seen) < min(users, refreshKept); k++ {
		i := k * refreshStride % users
		if users%refreshStride == 0 || seen[i] {
			return nil, fmt.Errorf("%d users cannot be gone through in steps of %d", users, refreshStride)
		}
		seen[i] = true
		s := r.sockets[i%refreshSockets]
		s.users = append(s.users, &registrant{name: benchUser(i), cseq: 1})
	}
	return r, nil
}

func (r *refresher) close() {
	for _, s := range r.sockets {
		s.conn.Close()
	}
}

func dialBound(from *netlab.Box, target string, port int) (*net.UDPConn, error) {
	to, err := netip.ParseAddrPort(target)
	if err != nil {
		return nil, err
	}
	var conn *net.UDPConn
	err = from.Do(func() (err error) {
		local := netip.AddrPortFrom(netip.MustParseAddr(callerAddr), uint16(port))
		conn, err = net.DialUDP("udp4", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(to))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open socket %d: %w", port, err)
	}
	return conn, conn.SetReadBuffer(8 << 20)
}

// run refreshes at a rate for d. The first REGISTER of each socket is refused and so brings the nonce that the others use.
func (r *refresher) run(ctx context.Context, perSecond int, d time.Duration) (sum outcome, err error) {
	if err := r.challenge(ctx); err != nil {
		return sum, err
	}
	var wg sync.WaitGroup
	errs := make([]error, len(r.sockets))
	for i, s := range r.sockets {
		s.rate, s.o, s.delays = perSecond/len(r.sockets), outcome{}, nil
		wg.Go(func() { errs[i] = s.run(ctx, d) })
	}
	wg.Wait()
	for i, s := range r.sockets {
		if errs[i] != nil {
			return sum, errs[i]
		}
		sum.Calls += s.o.Calls
		sum.OK += s.o.OK
		sum.Failed += s.o.Failed
		sum.Retransmissions += s.o.Retransmissions
		s.turn()
	}
	sum.Rate = float64(sum.Calls) / d.Seconds()
	return sum, nil
}

// challenge gives all users a fresh nonce: it is bound to the realm and the time alone.
func (r *refresher) challenge(ctx context.Context) error {
	for _, s := range r.sockets {
		first := s.users[0]
		first.nonce = ""
		if err := s.conn.SetReadDeadline(time.Time{}); err != nil { // the round before ended with one
			return err
		}
		one := &registerSocket{conn: s.conn, local: s.local, rate: 50, users: []*registrant{first}}
		if err := one.run(ctx, 40*time.Millisecond); err != nil {
			return err
		}
		if err := s.conn.SetReadDeadline(time.Time{}); err != nil {
			return err
		}
		if first.nonce == "" || one.o.OK == 0 {
			return fmt.Errorf("user %s could not be registered: %d refused", first.name, one.o.Failed)
		}
		for _, u := range s.users {
			u.nonce, u.realm = first.nonce, first.realm
		}
	}
	return nil
}

// turn puts the users who were refreshed behind those whose turn has not come.
func (s *registerSocket) turn() {
	n := min(s.o.Calls, len(s.users))
	s.users = append(slices.Clone(s.users[n:]), s.users[:n]...)
}
