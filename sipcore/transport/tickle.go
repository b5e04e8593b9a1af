package transport

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Tickler tells peers of TCP connections that another node had from an address that theirs are gone. It sends bare ACKs with numbers
// that fit nothing. A peer that still believes in such a connection answers with an ACK that says where it stands
// (RFC 9293 §3.10.7.4, an unacceptable segment); our kernel knows no such connection and resets it (§3.10.7.1). One that the kernel
// does have takes the peer's answer for a duplicate ACK, so nothing happens to it.
//
// It needs CAP_NET_RAW. It is for one goroutine at a time.
type Tickler struct {
	local netip.Addr
	fd    int
	buf   [ip6Header + tcpHeader]byte
}

const (
	ip4Header = 20
	ip6Header = 40
	tcpHeader = 20
	hopLimit  = 64
	flagACK   = 0x10
)

// NewTickler makes a tickler for connections from an address, which this machine need not have yet. The error is the kernel's: without
// CAP_NET_RAW there is none to be had.
func NewTickler(local netip.Addr) (*Tickler, error) {
	local = local.Unmap()
	family, bind := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Addr: as4(local)})
	level, free := unix.IPPROTO_IP, unix.IP_FREEBIND
	if local.Is6() {
		family, bind = unix.AF_INET6, &unix.SockaddrInet6{Addr: local.As16()}
		level, free = unix.IPPROTO_IPV6, unix.IPV6_FREEBIND
	}
	// IPPROTO_RAW is for sending only, whole packets with their IP header: nothing that comes in is copied to the socket.
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW)
	if err != nil {
		return nil, fmt.Errorf("tell phones that their connections are gone: %w; serve needs CAP_NET_RAW", os.NewSyscallError("socket", err))
	}
	err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, free, 1))
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, bind))
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("tell phones that their connections are gone: %w", err)
	}
	return &Tickler{local: local, fd: fd}, nil
}

// as4 is an IPv4 address as its bytes, and zeros for another.
func as4(a netip.Addr) (b [4]byte) {
	if a.Is4() {
		b = a.As4()
	}
	return b
}

// Close gives the socket back.
func (t *Tickler) Close() error { return os.NewSyscallError("close", unix.Close(t.fd)) }

// Tickle sends one ACK to the far end of a connection from port. It never blocks: what the kernel does not take is an error.
func (t *Tickler) Tickle(port uint16, remote netip.AddrPort) error {
	to := netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	if to.Addr().Is4() != t.local.Is4() || to.Port() == 0 || port == 0 {
		return fmt.Errorf("tickle %s from %s: not the ends of a connection", remote, t.local)
	}
	packet := t.packet(port, to, rand.Uint32(), rand.Uint32()) //nolint:gosec // not secret: numbers that fit nothing
	var sa unix.Sockaddr = &unix.SockaddrInet4{Addr: as4(to.Addr())}
	if to.Addr().Is6() {
		sa = &unix.SockaddrInet6{Addr: to.Addr().As16()}
	}
	if err := unix.Sendto(t.fd, packet, unix.MSG_DONTWAIT, sa); err != nil {
		return fmt.Errorf("tickle %s: %w", remote, os.NewSyscallError("sendto", err))
	}
	return nil
}

// packet writes the IP packet. The kernel fills in length and checksum of the IPv4 header.
func (t *Tickler) packet(port uint16, to netip.AddrPort, seq, ack uint32) []byte {
	clear(t.buf[:])
	ip, be := t.buf[:ip4Header], binary.BigEndian
	if t.local.Is4() {
		src, dst := t.local.As4(), to.Addr().As4()
		ip[0], ip[8], ip[9] = 4<<4|ip4Header/4, hopLimit, unix.IPPROTO_TCP
		be.PutUint16(ip[6:], 1<<14) // don't fragment
		copy(ip[12:], src[:])
		copy(ip[16:], dst[:])
	} else {
		ip = t.buf[:ip6Header]
		src, dst := t.local.As16(), to.Addr().As16()
		ip[0], ip[6], ip[7] = 6<<4, unix.IPPROTO_TCP, hopLimit
		be.PutUint16(ip[4:], tcpHeader)
		copy(ip[8:], src[:])
		copy(ip[24:], dst[:])
	}
	tcp := t.buf[len(ip) : len(ip)+tcpHeader]
	be.PutUint16(tcp, port)
	be.PutUint16(tcp[2:], to.Port())
	be.PutUint32(tcp[4:], seq)
	be.PutUint32(tcp[8:], ack)
	tcp[12], tcp[13] = tcpHeader/4<<4, flagACK
	be.PutUint16(tcp[14:], 1<<15) // window
	addrs := ip[12:ip4Header]
	if to.Addr().Is6() {
		addrs = ip[8:ip6Header]
	}
	be.PutUint16(tcp[16:], ^fold(sum16(addrs)+sum16(tcp)+unix.IPPROTO_TCP+tcpHeader))
	return t.buf[:len(ip)+tcpHeader]
}

// sum16 adds up 16-bit words; b has an even length.
func sum16(b []byte) (sum uint32) {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	return sum
}

// fold makes the Internet checksum's one's complement sum of it (RFC 1071).
func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
