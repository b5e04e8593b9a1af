package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdline/fsm/pb"
)

// StreamEndpoint is one address and port of a VIP to accept connections on, whether or not this node owns the VIP.
type StreamEndpoint struct {
	Endpoint
	Proto pb.Transport // TCP, TLS, WS or WSS
}

func (ep StreamEndpoint) key() streamKey { return streamKey{ep.Endpoint.key(), ep.Proto} }

// streamListener accepts the connections of an endpoint.
type streamListener struct {
	s       *Streams
	ep      StreamEndpoint
	ln      *net.TCPListener
	closing atomic.Bool
	stop    chan struct{}
}

// SetEndpoints opens and closes listeners so that exactly these endpoints are listened on. An endpoint that cannot be opened
// is left out and named in the error; the others are served. Connections of endpoints that are gone are closed.
func (s *Streams) SetEndpoints(eps []StreamEndpoint) error {
	gone, err := s.setEndpoints(eps)
	for _, c := range gone {
		c.reset(endClosed)
	}
	return err
}

func (s *Streams) setEndpoints(eps []StreamEndpoint) (gone []*conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed && len(eps) > 0 {
		return nil, fmt.Errorf("open SIP listeners: %w", errClosed)
	}
	want := map[streamKey]StreamEndpoint{}
	for _, ep := range eps {
		want[ep.key()] = ep
	}
	var errs []error
	for k, l := range s.listeners {
		if want[k] != l.ep {
			delete(s.listeners, k)
			errs = append(errs, l.close())
			for _, c := range s.conns {
				if c.flow.key() == k.key && c.flow.Proto == k.proto {
					gone = append(gone, c)
				}
			}
		}
	}
	for k, ep := range want {
		if s.listeners[k] != nil {
			continue
		}
		l, err := s.listen(ep)
		if err != nil {
			errs = append(errs, &ListenError{ep.Proto, ep.Local, err})
			continue
		}
		s.listeners[k] = l
		s.wg.Go(l.run)
	}
	return gone, errors.Join(errs...)
}

func (s *Streams) listen(ep StreamEndpoint) (*streamListener, error) {
	if !ep.Local.IsValid() || ep.Local.Addr().Zone() != "" || ep.Local.Addr().Is4In6() {
		return nil, errLocal
	}
	if ep.Proto < pb.Transport_TCP || ep.Proto > pb.Transport_WSS {
		return nil, fmt.Errorf("%s is not a stream transport", ep.Proto)
	}
	lc := net.ListenConfig{Control: listening(ep.Local.Addr(), s.o.Limits.First/2), KeepAlive: -1}
	ln, err := lc.Listen(context.Background(), tcpNetwork(ep.Local.Addr()), ep.Local.String())
	if err != nil {
		return nil, err
	}
	return &streamListener{s: s, ep: ep, ln: ln.(*net.TCPListener), stop: make(chan struct{})}, nil
}

func tcpNetwork(a netip.Addr) string {
	if a.Is6() {
		return "tcp6"
	}
	return "tcp4"
}

// freebind lets a socket be bound to an address that this machine may not have. For connections of ours the kernel chooses
// the port only when it knows the far end, so that ports are not used up.
func freebind(local netip.Addr, dial bool) func(_, _ string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var opt error
		err := c.Control(func(fd uintptr) {
			level, name := unix.IPPROTO_IP, unix.IP_FREEBIND
			if local.Is6() {
				level, name = unix.IPPROTO_IPV6, unix.IPV6_FREEBIND
			}
			opt = unix.SetsockoptInt(int(fd), level, name, 1)
			if dial && opt == nil {
				opt = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			}
		})
		return errors.Join(err, opt)
	}
}

// listening is freebind for a listener, whose connections the kernel keeps to itself until their peers say something, or a time of whole
// seconds is over: on every stream transport it is the client that speaks first, and who says nothing costs this process nothing.
func listening(local netip.Addr, silent time.Duration) func(network, address string, c syscall.RawConn) error {
	bind := freebind(local, false)
	return func(network, address string, c syscall.RawConn) error {
		var opt error
		err := c.Control(func(fd uintptr) {
			opt = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, int(silent/time.Second))
		})
		return errors.Join(bind(network, address, c), err, opt)
	}
}

func (l *streamListener) close() error {
	l.closing.Store(true)
	close(l.stop)
	return l.ln.Close()
}

// run accepts until the listener is closed.
func (l *streamListener) run() {
	const shortest, longest = 5 * time.Millisecond, time.Second
	wait := shortest
	for {
		raw, err := l.ln.AcceptTCP()
		if err == nil {
			wait = shortest
			l.s.accepted(l.ep, raw)
			continue
		}
		if l.closing.Load() {
			return
		}
		// Out of descriptors, most likely: those who wait are served when others have gone.
		l.s.counters.acceptErrors.Add(1)
		l.s.log.Warn("accepting SIP connections", "local", l.ep.Local.String(), "err", err)
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-l.stop:
		}
		t.Stop()
		wait = min(2*wait, longest)
	}
}

// accepted takes in a new connection, or refuses it.
func (s *Streams) accepted(ep StreamEndpoint, raw *net.TCPConn) {
	remote := raw.RemoteAddr().(*net.TCPAddr).AddrPort()
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	c := &conn{
		s: s, raw: raw, rw: raw, open: true, source: sourceOf(remote.Addr()),
		flow: Flow{Group: ep.Group, VIP: ep.VIP, Proto: ep.Proto, Port: ep.Local.Port(), Remote: remote},
	}
	var ok bool
	if c.epoch, ok = s.o.Lease(ep.Group); !ok {
		s.counters.notOwned.Add(1)
		abort(raw)
		return
	}
	if !s.admit(c) {
		s.counters.refused.Add(1)
		abort(raw)
		return
	}
	s.counters.accepted.Add(1)
	tune(raw)
	s.wg.Go(c.serve)
}

// sourceOf is what the connections from an address are counted by: of IPv6 its /64, all of which a single host has for itself (RFC 4291 §2.5.4).
func sourceOf(a netip.Addr) netip.Addr {
	const network = 64
	if a.Is4() {
		return a
	}
	return netip.PrefixFrom(a.WithZone(""), network).Masked().Addr()
}

// abort closes a connection without lingering: the peer gets a reset, and no state is left here.
func abort(raw *net.TCPConn) {
	_ = raw.SetLinger(0)
	_ = raw.Close()
}

// tune lets dead peers be noticed: probes when nothing is said, and a bound on how long what was sent may go unacknowledged.
func tune(raw *net.TCPConn) {
	const unacknowledged = 30 * time.Second
	_ = raw.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4})
	if rc, err := raw.SyscallConn(); err == nil {
		_ = rc.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledged/time.Millisecond))
		})
	}
}
