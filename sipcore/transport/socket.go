package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is one UDP socket. A reader has it among others; anybody may send on it.
type socket struct {
	u       *UDP
	ep      Endpoint
	index   int      // which of the endpoint's sockets
	file    *os.File // keeps the descriptor; never waited on
	raw     syscall.RawConn
	errors  errorQueue
	closing atomic.Bool

	reading sync.Mutex // guards the rest; held for a look. Taken before a reader's
	reader  *reader    // who reads it
	id      int32      // in the reader's set
	drops   uint32     // SO_RXQ_OVFL as last seen
	pace    pace
	muted   bool             // the reader is not told of arrivals
	more    bool             // the reader left something in it
	read    func(fd uintptr) // socket.drain for the reader's present batch, kept so that reading does not allocate
	batch   *rxBatch         // of the reader, while it reads
}

// open opens one socket on an address that this node may not have: it is there when the VIP comes (IP_FREEBIND).
func (u *UDP) open(ep Endpoint, index int) (*socket, error) {
	if !ep.Local.IsValid() || ep.Local.Addr().Zone() != "" || ep.Local.Addr().Is4In6() {
		return nil, errLocal
	}
	family := unix.AF_INET
	if ep.Local.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	s := &socket{u: u, ep: ep, index: index, file: os.NewFile(uintptr(fd), ep.Local.String())}
	s.read = s.drain
	if err := u.setOptions(fd, ep.Local); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	if err := unix.Bind(fd, socketAddress(ep.Local)); err != nil {
		return nil, errors.Join(fmt.Errorf("bind: %w", err), s.file.Close())
	}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	return s, nil
}

func socketAddress(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
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
		u.log.Warn(fmt.Sprintf("SIP socket buffers are smaller than wanted, bursts may be lost: sysctl -w net.core.rmem_max=%d net.core.wmem_max=%d, and restart, or grant CAP_NET_ADMIN",
			u.o.ReceiveBuffer, u.o.SendBuffer), "wanted", size, "got", got/2, "err", err)
	}
}

// close closes the socket; its reader forgets it.
func (s *socket) close() error {
	s.closing.Store(true)
	err := s.file.Close() // the kernel takes it out of the reader's set
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.reader != nil {
		s.reader.forget(s)
	}
	return err
}
