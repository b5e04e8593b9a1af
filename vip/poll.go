package vip

import (
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pollRaw is how long a sleep may be that the Go scheduler is not told of.
const pollRaw = int64(20e6)

// poll waits for input or for d nanoseconds. EINTR is no error.
//
// A sleep between heartbeats is made behind the scheduler's back: told of it, the runtime would give the loop's
// processor away and back three hundred times a second and keep its monitor awake, which together cost five times
// as much as all of the guard's own work. There is a second processor for the other goroutines (see tuneRuntime), and a stop of the
// world waits for the loop's next turn (see GuardEnv).
func poll(fds []unix.PollFd, d int64) error {
	ts := unix.NsecToTimespec(max(d, 0))
	syscall := unix.Syscall6
	if d <= pollRaw {
		syscall = unix.RawSyscall6
	}
	_, _, errno := syscall(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)),
		uintptr(unsafe.Pointer(&ts)), 0, 8, 0) // no signal mask; 8 is its size in the kernel
	if errno != 0 && errno != unix.EINTR {
		return os.NewSyscallError("ppoll", errno)
	}
	return nil
}

// recvFrom reads a datagram without waiting, behind the scheduler's back like poll, and without the system call and the allocation that
// unix.Recvfrom adds to find out the sender.
func recvFrom(fd int, b []byte) (n int, from netip.Addr, err error) {
	var sa unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, from, errno
	}
	switch sa.Addr.Family {
	case unix.AF_INET:
		from = netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&sa)).Addr)
	case unix.AF_INET6:
		from = netip.AddrFrom16((*unix.RawSockaddrInet6)(unsafe.Pointer(&sa)).Addr)
	}
	return int(r), from, nil
}

// rawAddr is a socket address as the kernel reads it.
type rawAddr struct {
	v4  unix.RawSockaddrInet4
	v6  unix.RawSockaddrInet6
	is6 bool
}

func rawAddrOf(a netip.AddrPort) *rawAddr {
	port := htons(a.Port())
	if a.Addr().Is4() {
		return &rawAddr{v4: unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port, Addr: a.Addr().As4()}}
	}
	return &rawAddr{v6: unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: a.Addr().As16()}, is6: true}
}

// sendTo sends a datagram without waiting, behind the scheduler's back like poll.
func sendTo(fd int, b []byte, to *rawAddr) error {
	at, size := unsafe.Pointer(&to.v4), unsafe.Sizeof(to.v4)
	if to.is6 {
		at, size = unsafe.Pointer(&to.v6), unsafe.Sizeof(to.v6)
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT, uintptr(at), size)
	if errno != 0 {
		return os.NewSyscallError("sendto", errno)
	}
	return nil
}
