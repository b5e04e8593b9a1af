// Package beat is the process's sense of time where that must be cheap: a wait that wakes one thread once, and alarms of many that ring at
// common moments.
//
// Go's own timers are dearer than they look in a process that is idle most of the time. Its poller waits in whole milliseconds, so that
// each timer wakes it twice, and its monitor (sysmon) sleeps no longer than until the next timer and then looks round every 20 µs
// until all threads sleep again. A timer of the kernel's is an event like a datagram that comes in: it does neither. docs/performance-log.md has the figures.
package beat

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Timer is a timer of the kernel's, timerfd_create(2), on CLOCK_MONOTONIC; one of Go's when there is none to be had. Set and Close
// are safe for concurrent use; one goroutine may Wait or Sleep.
type Timer struct {
	file *os.File
	raw  syscall.RawConn
	set  func(fd uintptr) // Sleep's alone, as is
	in   unix.ItimerSpec  // what it sets

	spare  *time.Timer // instead of all that
	closed chan struct{}
}

// NewTimer makes a timer that is not set.
func NewTimer() *Timer {
	t, err := newTimer()
	if err != nil {
		t = &Timer{spare: time.NewTimer(time.Hour), closed: make(chan struct{})}
		t.spare.Stop()
	}
	return t
}

func newTimer() (*Timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	t := &Timer{file: os.NewFile(uintptr(fd), "timer")}
	t.set = func(fd uintptr) { settime(fd, &t.in) }
	if err = t.file.SetReadDeadline(time.Time{}); err == nil { // else the runtime does not watch it
		t.raw, err = t.file.SyscallConn()
	}
	if err != nil {
		t.file.Close()
		return nil, err
	}
	return t, nil
}

// drained takes the count of expirations; false: it has not expired. It never blocks, so the scheduler is not told.
func drained(fd uintptr) bool {
	var count [8]byte
	_, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&count)), uintptr(len(count)))
	return errno != unix.EAGAIN && errno != unix.EINTR
}

func settime(fd uintptr, s *unix.ItimerSpec) {
	// The file is one of these, and the time is valid: it cannot fail.
	_, _, _ = unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(s)), 0, 0, 0)
}

func after(d time.Duration) unix.ItimerSpec {
	return unix.ItimerSpec{Value: unix.NsecToTimespec(max(int64(d), 1))} // 0 would unset it
}

// Set has the timer expire after d, instead of when it was to before.
func (t *Timer) Set(d time.Duration) {
	if t.spare != nil {
		t.spare.Reset(d)
		return
	}
	s := after(d)
	_ = t.raw.Control(func(fd uintptr) { settime(fd, &s) }) // fails when it is closed: nobody waits then
}

// Wait returns true when the timer has expired, and false once it is closed.
func (t *Timer) Wait() bool {
	if t.spare == nil {
		return t.raw.Read(drained) == nil
	}
	select {
	case <-t.spare.C:
		return true
	case <-t.closed:
		return false
	}
}

// Sleep waits for d, and returns false once the timer is closed. It allocates nothing.
func (t *Timer) Sleep(d time.Duration) bool {
	if t.spare != nil {
		t.spare.Reset(d)
	} else {
		t.in = after(d)
		if t.raw.Control(t.set) != nil {
			return false
		}
	}
	return t.Wait()
}

// Close ends who waits. A timer is closed once.
func (t *Timer) Close() {
	if t.spare == nil {
		_ = t.file.Close()
	} else {
		close(t.closed)
	}
}
