package transport

import (
	"net/netip"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Unreachable is word that a datagram of ours has not arrived: an ICMP error, or the kernel's own finding that there is no way.
type Unreachable struct {
	Remote netip.AddrPort // where the datagram was to go
	// Hard: the host itself says that nobody listens there (port or protocol unreachable). Else a router, or our own
	// kernel, says that it does not get there now.
	Hard bool
	// Quoted is the beginning of the datagram, as much of it as the error has brought back: 8 bytes of UDP header and nothing
	// here from the laziest routers, about 500 bytes from Linux. Anybody can forge an error: only what is known to nobody
	// but us and those on the path, such as a branch, proves one. Valid until the handler returns.
	Quoted []byte
}

// maxErrors is how many errors are taken from a socket at a time.
const maxErrors = 256

// errorQueue is room for reading a socket's error queue.
type errorQueue struct {
	mu   sync.Mutex // guards all of it
	data []byte
	oob  []byte
}

// pending reports whether errno is what an ICMP error leaves on a socket for whichever call comes next: it then says nothing about
// that call's datagrams, and the error queue has the rest.
func pending(errno unix.Errno) bool {
	switch errno {
	case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENONET, unix.ENOPROTOOPT, unix.EACCES,
		unix.EPROTO, unix.EOPNOTSUPP, unix.EMSGSIZE:
		return true
	}
	return false
}

// takeErrors reads the socket's error queue. Readers and senders do when a call failed for an error that was pending. Whoever
// consumes the socket's pending error must: there is no other sign that the queue has something.
func (s *socket) takeErrors(fd uintptr) {
	q := &s.errors
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.data == nil {
		q.data, q.oob = make([]byte, 1500), make([]byte, 256)
	}
	for range maxErrors {
		n, oobn, _, from, err := unix.Recvmsg(int(fd), q.data, q.oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		s.u.counters.icmpErrors.Add(1)
		remote, ok := addrPortOf(from)
		errno, ok2 := extendedError(q.oob[:oobn])
		if ok && ok2 {
			s.u.unreachable(remote, errno, q.data[:n])
		}
	}
}

// unreachable tells the user of an error that concerns reaching a peer.
func (u *UDP) unreachable(remote netip.AddrPort, errno unix.Errno, quoted []byte) {
	x := Unreachable{Remote: remote, Quoted: quoted}
	switch errno {
	case unix.ECONNREFUSED, unix.ENOPROTOOPT:
		x.Hard = true
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENONET, unix.EACCES:
	default:
		return
	}
	if u.o.Unreachable != nil {
		u.o.Unreachable(x)
	}
}

// extendedError reads the errno of an ICMP error from the control messages of an error queue's message.
func extendedError(oob []byte) (unix.Errno, bool) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, false
	}
	for _, m := range msgs {
		four := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		six := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if !four && !six || len(m.Data) < int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			continue
		}
		e := (*unix.SockExtendedErr)(unsafe.Pointer(&m.Data[0]))
		return unix.Errno(e.Errno), e.Origin == unix.SO_EE_ORIGIN_ICMP || e.Origin == unix.SO_EE_ORIGIN_ICMP6
	}
	return 0, false
}

func addrPortOf(sa unix.Sockaddr) (netip.AddrPort, bool) {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), true
	}
	return netip.AddrPort{}, false
}
