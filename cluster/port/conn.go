package port

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// conn is a TCP connection whose reads and writes the Go scheduler is not told of. They never wait, as its poller does that; told of each
// of them the scheduler would wake its monitor each time (docs/performance-log.md has what that cost).
type conn struct {
	net.Conn
	raw     syscall.RawConn
	in, out transfer
}

// transfer is one direction of a connection, and the call that it is at.
type transfer struct {
	mu    sync.Mutex // held over a whole Read or Write
	call  uintptr
	flags uintptr
	b     []byte
	n     int
	errno syscall.Errno
	try   func(fd uintptr) bool // made once, so that calls allocate nothing
}

func newConn(c *net.TCPConn) (*conn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	q := &conn{Conn: c, raw: raw}
	q.in.init(unix.SYS_RECVFROM, unix.MSG_DONTWAIT)
	q.out.init(unix.SYS_SENDTO, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	return q, nil
}

func (t *transfer) init(call, flags uintptr) {
	t.call, t.flags, t.try = call, flags, t.once
}

// once makes the system call; false: it would have had to wait.
func (t *transfer) once(fd uintptr) bool {
	for {
		n, _, errno := unix.RawSyscall6(t.call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(t.b))), uintptr(len(t.b)), t.flags, 0, 0)
		switch errno {
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			t.n, t.errno = int(n), errno
			return true
		}
	}
}

// do makes the call with b, when wait, a method of RawConn, says that it can be made.
func (t *transfer) do(wait func(func(uintptr) bool) error, name string, b []byte) (int, error) {
	t.b, t.n, t.errno = b, 0, 0
	defer func() { t.b = nil }()
	if err := wait(t.try); err != nil { // closed, or its deadline has passed
		return 0, err
	}
	if t.errno != 0 {
		return 0, os.NewSyscallError(name, t.errno)
	}
	return t.n, nil
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	n, err := c.in.do(c.raw.Read, "recvfrom", b)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	written := 0
	for written < len(b) {
		n, err := c.out.do(c.raw.Write, "sendto", b[written:])
		if err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}
