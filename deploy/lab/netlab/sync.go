package netlab

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Syncs holds up every fsync and fdatasync of what is started in a Space: the disk of a box as slow as it is told to be. The kernel
// hands each call to this process (seccomp's user notification), which lets it go on when its time has come.
type Syncs struct {
	listener int
	stop     [2]int // a pipe: closing its writing end ends run
	delay    atomic.Int64
	held     atomic.Uint64

	mu     sync.Mutex
	closed bool // guards listener: its number may be another file's by then
}

// seccomp_notif and seccomp_notif_resp of linux/seccomp.h.
type (
	notification struct {
		id    uint64
		pid   uint32
		flags uint32
		nr    int32
		arch  uint32
		ip    uint64
		args  [6]uint64
	}
	answer struct {
		id    uint64
		val   int64
		error int32
		flags uint32
	}
)

const goOn = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE

// HoldSyncs begins to watch the syncs of what Start starts from now on. Call it once, before anything is started.
func (s *Space) HoldSyncs() (*Syncs, error) {
	y := &Syncs{}
	if err := unix.Pipe2(y.stop[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	err := s.Do(func() (err error) {
		y.listener, err = filterSyncs()
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hold the syncs of %s: %w; the kernel needs CONFIG_SECCOMP_FILTER", s.Name, err), unix.Close(y.stop[0]), unix.Close(y.stop[1]))
	}
	go y.run()
	go func() {
		<-s.done
		unix.Close(y.stop[1])
	}()
	return y, nil
}

// Delay makes each sync from now on take at least that long.
func (y *Syncs) Delay(d time.Duration) { y.delay.Store(int64(d)) }

// Held is how many syncs have been delayed.
func (y *Syncs) Held() uint64 { return y.held.Load() }

// filterSyncs installs the filter on the calling thread; what it starts inherits it.
func filterSyncs() (listener int, err error) {
	const nr = 0 // seccomp_data.nr
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: nr},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: unix.SYS_FSYNC},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_FDATASYNC},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// Without CAP_SYS_ADMIN the kernel wants a promise that nothing gains privileges; the lab's root in a user namespace has it.
	flags := uintptr(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	for _, f := range []uintptr{flags, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER} { // the second flag is there from 5.19 on
		fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, f, uintptr(unsafe.Pointer(&prog)))
		if errno == 0 {
			return int(fd), nil
		}
		err = errno
	}
	return 0, err
}

// run answers until the space is closed.
func (y *Syncs) run() {
	defer unix.Close(y.stop[0])
	defer y.close()
	fds := []unix.PollFd{{Fd: int32(y.listener), Events: unix.POLLIN}, {Fd: int32(y.stop[0])}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if fds[1].Revents != 0 || fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0 {
			return
		}
		if fds[0].Revents&unix.POLLIN == 0 {
			continue
		}
		var n notification
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(y.listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n))); errno != 0 {
			continue // the caller has died meanwhile
		}
		d := time.Duration(y.delay.Load())
		if d == 0 {
			y.release(n.id)
			continue
		}
		y.held.Add(1)
		time.AfterFunc(d, func() { y.release(n.id) })
	}
}

func (y *Syncs) close() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.closed = true
	unix.Close(y.listener)
}

func (y *Syncs) release(id uint64) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.closed {
		return
	}
	a := answer{id: id, flags: goOn}
	// Fails only when the caller has died.
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(y.listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&a)))
}
