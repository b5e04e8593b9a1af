package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ErrClosed is returned by a Space that has been closed.
var ErrClosed = errors.New("network namespace is closed")

// Space is one network namespace. It has no name in the file system: it is held by one OS thread and by the processes
// in it, so it is gone as soon as they are, however the drill ends. Safe for concurrent use.
type Space struct {
	Name string

	jobs  chan func()
	done  chan struct{}
	once  sync.Once
	fd    netns.NsHandle
	links *netlink.Handle
	inode uint64
}

// NewSpace makes a namespace with the loopback interface up.
func NewSpace(name string) (*Space, error) {
	s := &Space{Name: name, jobs: make(chan func()), done: make(chan struct{})}
	ready := make(chan error, 1)
	go s.hold(ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("make network namespace %s: %w", name, err)
	}
	if err := s.loopbackUp(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// hold owns the thread that lives in the namespace. It is never unlocked: when the goroutine ends the runtime ends the
// thread with it, which also ends (Pdeathsig) whatever was started from it.
func (s *Space) hold(ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		// The main thread cannot be ended, and /proc/self/ns speaks of it: leave it where it is.
		go s.hold(ready)
		<-s.done
		runtime.UnlockOSThread()
		return
	}
	fd, err := netns.New()
	if err != nil {
		ready <- err
		return
	}
	s.fd = fd
	var st unix.Stat_t
	if err := unix.Fstat(int(fd), &st); err != nil {
		ready <- err
		return
	}
	s.inode = st.Ino
	if s.links, err = netlink.NewHandleAt(fd); err != nil {
		fd.Close()
		ready <- err
		return
	}
	ready <- nil
	for {
		select {
		case job := <-s.jobs:
			job()
		case <-s.done:
			s.links.Close()
			fd.Close()
			return
		}
	}
}

func (s *Space) loopbackUp() error {
	lo, err := s.links.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback of %s: %w", s.Name, err)
	}
	if err := s.links.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set loopback of %s up: %w", s.Name, err)
	}
	return nil
}

// Do runs fn on the thread that lives in the namespace and returns its error. Sockets that fn opens stay in the
// namespace wherever they are used later. fn must not block for long and must not call Do.
func (s *Space) Do(fn func() error) error {
	result := make(chan error, 1)
	select {
	case s.jobs <- func() { result <- fn() }:
		return <-result
	case <-s.done:
		return fmt.Errorf("%s: %w", s.Name, ErrClosed)
	}
}

// Start starts a command inside the namespace. The kernel kills it when the namespace is closed or this process ends.
func (s *Space) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr.Setpgid = true // Ctrl-C at the terminal is for the drill, which then ends its nodes in order
	return s.Do(cmd.Start)
}

// Links is a netlink handle that works in the namespace from any thread.
func (s *Space) Links() *netlink.Handle { return s.links }

// Inode identifies the namespace, as in /proc/PID/ns/net.
func (s *Space) Inode() uint64 { return s.inode }

// AddAddress gives an interface of the namespace an address.
func (s *Space) AddAddress(ifname string, prefix netip.Prefix) error {
	return s.changeAddress(ifname, prefix, "add", s.links.AddrAdd)
}

// RemoveAddress takes it away.
func (s *Space) RemoveAddress(ifname string, prefix netip.Prefix) error {
	return s.changeAddress(ifname, prefix, "remove", s.links.AddrDel)
}

func (s *Space) changeAddress(ifname string, prefix netip.Prefix, what string, change func(netlink.Link, *netlink.Addr) error) error {
	link, err := s.links.LinkByName(ifname)
	if err != nil {
		return fmt.Errorf("find %s in %s: %w", ifname, s.Name, err)
	}
	addr, err := netlink.ParseAddr(prefix.String())
	if err != nil {
		return fmt.Errorf("address %v: %w", prefix, err)
	}
	if err := change(link, addr); err != nil {
		return fmt.Errorf("%s %v, %s in %s: %w", what, prefix, ifname, s.Name, err)
	}
	return nil
}

// Close ends the namespace and every process that Start started in it. It may be called twice.
func (s *Space) Close() { s.once.Do(func() { close(s.done) }) }
