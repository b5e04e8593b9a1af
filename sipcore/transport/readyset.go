package transport

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readySet is an epoll instance of our own, which the Go runtime's poller watches in turn. The runtime would ask for every
// event of a socket: each datagram that has left frees send buffer, which it calls writable, and wakes a thread for it; so
// does each that comes while its reader already means to look in a moment. Here only arrivals count, and none of a muted socket.
type readySet struct {
	file   *os.File // keeps the descriptor, and parks who waits in it
	raw    syscall.RawConn
	events []unix.EpollEvent // of the one reader
}

// maxReady is how many ready sockets one look takes.
const maxReady = 64

func newReadySet() (*readySet, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // else the runtime would not watch it
		return nil, errors.Join(fmt.Errorf("fcntl: %w", err), unix.Close(fd))
	}
	r := &readySet{file: os.NewFile(uintptr(fd), "sip-sockets"), events: make([]unix.EpollEvent, maxReady)}
	if r.raw, err = r.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, r.file.Close())
	}
	return r, nil
}

// watch lets a socket's arrivals be told under id, edge by edge. The kernel forgets the socket when it is closed.
func (r *readySet) watch(socket syscall.RawConn, id int32) error {
	return r.control(socket, unix.EPOLL_CTL_ADD, unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: id})
}

// unwatch ends that.
func (r *readySet) unwatch(socket syscall.RawConn) error {
	return r.control(socket, unix.EPOLL_CTL_DEL, unix.EpollEvent{})
}

// tell switches whether a watched socket's arrivals are told. Switched on, it tells at once of what is there; errors are told anyway.
func (r *readySet) tell(socket syscall.RawConn, id int32, on bool) error {
	e := unix.EpollEvent{Events: unix.EPOLLET, Fd: id}
	if on {
		e.Events |= unix.EPOLLIN
	}
	return r.control(socket, unix.EPOLL_CTL_MOD, e)
}

func (r *readySet) control(socket syscall.RawConn, op int, e unix.EpollEvent) error {
	var errno, inner error
	err := r.raw.Control(func(set uintptr) {
		inner = socket.Control(func(fd uintptr) { errno = unix.EpollCtl(int(set), op, int(fd), &e) })
	})
	if err = errors.Join(err, inner, errno); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// ready is what became ready since the last look. It never blocks, so it is called without telling the scheduler.
func (r *readySet) ready(fd uintptr) []unix.EpollEvent {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&r.events[0])), uintptr(len(r.events)), 0, 0, 0)
	if errno != 0 {
		return nil
	}
	return r.events[:n]
}

func (r *readySet) close() error { return r.file.Close() }
