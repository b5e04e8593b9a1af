package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Numbers of linux/inet_diag.h and net/tcp_states.h.
const (
	sockDiagByFamily = 20
	sockDestroy      = 21
	diagIDLen        = 48 // struct inet_diag_sockid
	tcpTimeWait      = 6
	tcpClose         = 7
	tcpListen        = 10
)

// destroyConnections ends every TCP connection from one of addrs on this machine, listeners excepted: its peer is served
// by another node from now on. Best effort; the number destroyed comes with an error too. Call it after the fence has closed, so
// that no reset leaves.
func destroyConnections(addrs []netip.Addr) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, fmt.Errorf("open socket diagnostics: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return 0, fmt.Errorf("open socket diagnostics: %w", err)
	}
	d := diag{fd: fd, buf: make([]byte, 64<<10)}
	var ids []diagSock
	var errs []error
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} { // an IPv6 socket may carry IPv4
		found, err := d.list(family, addrs)
		errs = append(errs, err)
		ids = append(ids, found...)
	}
	n := 0
	for _, id := range ids {
		switch err := d.destroy(id); {
		case err == nil:
			n++
		case errors.Is(err, unix.EOPNOTSUPP):
			return n, fmt.Errorf("destroy connections: the kernel lacks CONFIG_INET_DIAG_DESTROY: %w", err)
		case !errors.Is(err, unix.ENOENT): // it has just ended by itself
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return n, fmt.Errorf("destroy connections: %w", err)
	}
	return n, nil
}

type diagSock struct {
	family uint8
	id     [diagIDLen]byte
}

type diag struct {
	fd  int
	seq uint32
	msg nlBuilder
	buf []byte
}

func (d *diag) send(typ, flags uint16, s diagSock, states uint32) error {
	d.seq++
	d.msg.reset()
	at := d.msg.begin(typ, unix.NLM_F_REQUEST|flags, d.seq)
	d.msg.b = append(d.msg.b, s.family, unix.IPPROTO_TCP, 0, 0)
	d.msg.b = binary.NativeEndian.AppendUint32(d.msg.b, states)
	d.msg.b = append(d.msg.b, s.id[:]...)
	d.msg.end(at)
	return os.NewSyscallError("send", unix.Sendto(d.fd, d.msg.b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
}

// replies calls f with each message until the end of the answer.
func (d *diag) replies(f func(body []byte)) error {
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); {
		n, _, err := unix.Recvfrom(d.fd, d.buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("receive", err)
		}
		for b := d.buf[:n]; len(b) >= unix.SizeofNlMsghdr; {
			size := int(binary.NativeEndian.Uint32(b))
			if size < unix.SizeofNlMsghdr || size > len(b) {
				break
			}
			body := b[unix.SizeofNlMsghdr:size]
			switch typ := binary.NativeEndian.Uint16(b[4:]); {
			case binary.NativeEndian.Uint32(b[8:]) != d.seq: // left over
			case typ == unix.NLMSG_DONE:
				return nil
			case typ == unix.NLMSG_ERROR && len(body) >= 4:
				if errno := -int32(binary.NativeEndian.Uint32(body)); errno != 0 {
					return unix.Errno(errno)
				}
				return nil
			default:
				f(body)
			}
			b = b[min(len(b), (size+3)&^3):]
		}
	}
	return os.ErrDeadlineExceeded
}

func (d *diag) list(family uint8, addrs []netip.Addr) ([]diagSock, error) {
	const states = (1<<13 - 1) &^ (1<<tcpListen | 1<<tcpTimeWait | 1<<tcpClose)
	if err := d.send(sockDiagByFamily, unix.NLM_F_DUMP, diagSock{family: family}, states); err != nil {
		return nil, err
	}
	var out []diagSock
	err := d.replies(func(b []byte) {
		if len(b) < 4+diagIDLen {
			return
		}
		s := diagSock{family: b[0], id: [diagIDLen]byte(b[4 : 4+diagIDLen])}
		src := netip.AddrFrom4([4]byte(s.id[4:8]))
		if s.family == unix.AF_INET6 {
			src = netip.AddrFrom16([16]byte(s.id[4:20])).Unmap()
		}
		if slices.Contains(addrs, src) {
			out = append(out, s)
		}
	})
	return out, err
}

func (d *diag) destroy(s diagSock) error {
	if err := d.send(sockDestroy, unix.NLM_F_ACK, s, 1<<13-1); err != nil {
		return err
	}
	return d.replies(func([]byte) {})
}
