package transport

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // bytes received or sent
}

// sockaddr has room for an IPv4 or IPv6 socket address.
type sockaddr unix.RawSockaddrInet6

const (
	sockaddr4 = unix.SizeofSockaddrInet4
	sockaddr6 = unix.SizeofSockaddrInet6
)

// set writes an address and returns its size.
func (sa *sockaddr) set(a netip.AddrPort) uint32 {
	if a.Addr().Is4() {
		p := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		p.Family = unix.AF_INET
		p.Port = htons(a.Port())
		p.Addr = a.Addr().As4()
		return sockaddr4
	}
	*sa = sockaddr{Family: unix.AF_INET6, Port: htons(a.Port()), Addr: a.Addr().As16()}
	return sockaddr6
}

// get reads an address.
func (sa *sockaddr) get() netip.AddrPort {
	if sa.Family == unix.AF_INET {
		p := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(p.Addr), htons(p.Port))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), htons(sa.Port))
}

// htons turns a port from host to network order and back.
func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// recvmmsg and sendmmsg never block, so they are called without telling the scheduler.
func recvmmsg(fd uintptr, m []mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

func sendmmsg(fd uintptr, m []mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// control is what the kernel tells about a datagram besides its bytes.
type control struct {
	stamp   int64 // SCM_TIMESTAMPNS, CLOCK_REALTIME ns; 0 = none
	drops   uint32
	hasDrop bool
}

// parseControl reads the control messages in b.
func parseControl(b []byte) (c control) {
	const head = unix.SizeofCmsghdr
	for len(b) >= head {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		n := int(h.Len)
		if n < head || n > len(b) {
			return c
		}
		data := b[unix.CmsgLen(0):n]
		if h.Level == unix.SOL_SOCKET {
			switch h.Type {
			case unix.SCM_TIMESTAMPNS:
				if len(data) >= int(unsafe.Sizeof(unix.Timespec{})) {
					ts := (*unix.Timespec)(unsafe.Pointer(&data[0]))
					c.stamp = ts.Nano()
				}
			case unix.SO_RXQ_OVFL:
				if len(data) >= 4 {
					c.drops, c.hasDrop = binary.NativeEndian.Uint32(data), true
				}
			}
		}
		n = unix.CmsgSpace(n - unix.CmsgLen(0))
		if n > len(b) {
			return c
		}
		b = b[n:]
	}
	return c
}

// pointer is the address as msg_name wants it.
func (sa *sockaddr) pointer() *byte { return (*byte)(unsafe.Pointer(sa)) }
