package netlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// DialTCP connects from an address of the namespace. Only making the socket needs the namespace's thread, so an address that nobody
// answers for holds nobody else up.
func (s *Space) DialTCP(ctx context.Context, from, to netip.AddrPort) (net.Conn, error) {
	conn, err := s.dialTCP(ctx, from, to)
	if err != nil {
		return nil, fmt.Errorf("connect from %v in %s to %v: %w", from, s.Name, to, err)
	}
	return conn, nil
}

func (s *Space) dialTCP(ctx context.Context, from, to netip.AddrPort) (net.Conn, error) {
	fd := -1
	err := s.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close() // the connection has its own copy
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: from.Addr().As4(), Port: int(from.Port())}); err != nil {
		return nil, err
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return nil, err
	}
	if err := connected(ctx, f); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

// connected waits until the kernel has an answer.
func connected(ctx context.Context, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) })() // wakes the wait below, whose error is ctx's
	var result error
	err = raw.Write(func(fd uintptr) bool {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		if err == nil { // writable too before anything was tried: only a peer means connected
			if _, err := unix.Getpeername(int(fd)); errors.Is(err, unix.ENOTCONN) {
				return false
			}
		}
		result = err
		return true
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(err, result)
}
