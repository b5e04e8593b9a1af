package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is one UDP socket and its reader. The Go runtime's poller wakes the reader: measured, this costs half to a
// quarter of a locked OS thread that blocks in recvmmsg or epoll_wait (see DESIGN.md).
type socket struct {
	u       *UDP
	ep      Endpoint
	index   int // which of the endpoint's sockets
	conn    *net.UDPConn
	raw     syscall.RawConn
	drops   uint32 // SO_RXQ_OVFL as last seen; reader only
	pace    pace   // reader only
	errors  errorQueue
	closing atomic.Bool
}

// open opens one socket on an address that this node may not have: it is there when the VIP comes (IP_FREEBIND).
func (u *UDP) open(ep Endpoint, index int) (*socket, error) {
	if !ep.Local.IsValid() || ep.Local.Addr().Zone() != "" || ep.Local.Addr().Is4In6() {
		return nil, errLocal
	}
	network := "udp4"
	if ep.Local.Addr().Is6() {
		network = "udp6"
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var opt error
		err := c.Control(func(fd uintptr) { opt = u.setOptions(int(fd), ep.Local) })
		return errors.Join(err, opt)
	}}
	pc, err := lc.ListenPacket(context.Background(), network, ep.Local.String())
	if err != nil {
		return nil, err
	}
	s := &socket{u: u, ep: ep, index: index, conn: pc.(*net.UDPConn)}
	if s.raw, err = s.conn.SyscallConn(); err != nil {
		return nil, errors.Join(err, s.conn.Close())
	}
	return s, nil
}

var errLocal = errors.New("not a usable local address; name a plain IPv4 or IPv6 address and port")

type sockopt struct {
	name       string
	level, opt int
	value      int
}

func (u *UDP) setOptions(fd int, local netip.AddrPort) error {
	opts := []sockopt{
		{"SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1},
		{"SO_TIMESTAMPNS", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1},
		{"SO_RXQ_OVFL", unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1},
	}
	// DF off: large SIP datagrams are fragmented. RECVERR: ICMP errors are told, with what they quote.
	if local.Addr().Is4() {
		opts = append(opts,
			sockopt{"IP_FREEBIND", unix.IPPROTO_IP, unix.IP_FREEBIND, 1},
			sockopt{"IP_RECVERR", unix.IPPROTO_IP, unix.IP_RECVERR, 1},
			sockopt{"IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT})
	} else {
		opts = append(opts,
			sockopt{"IPV6_FREEBIND", unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1},
			sockopt{"IPV6_RECVERR", unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1},
			sockopt{"IPV6_MTU_DISCOVER", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT})
	}
	for _, o := range opts {
		if err := unix.SetsockoptInt(fd, o.level, o.opt, o.value); err != nil {
			return fmt.Errorf("set %s: %w", o.name, err)
		}
	}
	u.enlarge(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, u.o.ReceiveBuffer)
	u.enlarge(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, u.o.SendBuffer)
	return nil
}

// enlarge sets a socket buffer; without CAP_NET_ADMIN the kernel caps it at net.core.rmem_max or wmem_max.
func (u *UDP) enlarge(fd, force, plain, size int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) == nil {
		return
	}
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, size)
	got, gerr := unix.GetsockoptInt(fd, unix.SOL_SOCKET, plain)
	if err = errors.Join(err, gerr); err == nil && got >= size { // the kernel answers twice what it grants
		return
	}
	if u.warned.CompareAndSwap(false, true) {
		u.log.Warn("SIP socket buffers are smaller than wanted, bursts may be lost; "+
			"grant CAP_NET_ADMIN or raise net.core.rmem_max and net.core.wmem_max",
			"wanted", size, "got", got/2, "err", err)
	}
}

// close closes the socket; the reader ends by itself.
func (s *socket) close() error {
	s.closing.Store(true)
	return s.conn.Close()
}
