package vip

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// heartbeatSock carries lease packets. Plain system calls: nothing on the loop's way waits for another thread.
type heartbeatSock struct {
	fd   int
	addr netip.AddrPort
	to   map[uint32]*rawAddr // by node
	from map[netip.Addr]bool
	buf  []byte
}

// openHeartbeat binds the node's own address; it need not be there yet (IP_FREEBIND), as at boot.
func openHeartbeat(addr netip.AddrPort) (*heartbeatSock, error) {
	family, level, free, tos := unix.AF_INET, unix.IPPROTO_IP, unix.IP_FREEBIND, unix.IP_TOS
	if addr.Addr().Is6() {
		family, level, free, tos = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, unix.IPV6_TCLASS
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open heartbeat socket: %w", err)
	}
	const (
		cs6      = 0xc0 // network control (RFC 2474): switches and queues let it go first
		priority = 6    // the highest without CAP_NET_ADMIN
		buffer   = 1 << 20
	)
	for _, o := range [][3]int{
		{level, free, 1}, {level, tos, cs6}, {unix.SOL_SOCKET, unix.SO_PRIORITY, priority}, {unix.SOL_SOCKET, unix.SO_RCVBUF, buffer},
	} {
		if err := unix.SetsockoptInt(fd, o[0], o[1], o[2]); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("set up heartbeat socket: %w", err)
		}
	}
	if err := unix.Bind(fd, sockaddr(addr)); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind heartbeat socket to %s (is another guard running?): %w", addr, err)
	}
	return &heartbeatSock{fd: fd, addr: addr, buf: make([]byte, 16<<10)}, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// peers sets whom to send to and whom to listen to.
func (h *heartbeatSock) peers(nodes []Node, self uint32) {
	h.to, h.from = map[uint32]*rawAddr{}, map[netip.Addr]bool{}
	for _, n := range nodes {
		if n.Number != self {
			h.to[n.Number] = rawAddrOf(netip.AddrPortFrom(n.Addr, h.addr.Port()))
			h.from[n.Addr] = true
		}
	}
}

func (h *heartbeatSock) send(node uint32, b []byte) error {
	to, ok := h.to[node]
	if !ok {
		return nil // it has just left the configuration
	}
	if err := sendTo(h.fd, b, to); err != nil {
		return fmt.Errorf("send heartbeat: %w", err)
	}
	return nil
}

// recv returns one waiting datagram of a known node; nil: none is waiting. The bytes are valid until the next call.
// known is false for a stranger's, which is to be skipped.
func (h *heartbeatSock) recv() (b []byte, known bool, err error) {
	for {
		n, from, err := recvFrom(h.fd, h.buf)
		switch err {
		case nil:
			return h.buf[:n], h.from[from], nil
		case unix.EINTR:
		case unix.EAGAIN:
			return nil, false, nil
		default: // an ICMP error of an earlier send, read once
			return nil, false, os.NewSyscallError("receive heartbeat", err)
		}
	}
}

func (h *heartbeatSock) close() { unix.Close(h.fd) }
