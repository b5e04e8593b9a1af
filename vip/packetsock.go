package vip

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// packetSock sends and hears whole frames of one kind (ARP or neighbour discovery) on one interface.
type packetSock struct {
	fd    int
	index int
	proto uint16
}

// openPacket opens a packet socket for ARP (v4) or neighbour discovery. The kernel filters, so that a busy network
// does not wake the guard.
func openPacket(index int, v4 bool) (*packetSock, error) {
	proto := uint16(unix.ETH_P_ARP)
	var filter []bpf.Instruction
	if !v4 {
		proto = unix.ETH_P_IPV6
		filter = []bpf.Instruction{
			bpf.LoadAbsolute{Off: etherLen + 6, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_ICMPV6, SkipTrue: 4},
			bpf.LoadAbsolute{Off: etherLen + ip6Len, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: ndAdvert, SkipTrue: 1},
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: ndSolicit, SkipTrue: 1},
			bpf.RetConstant{Val: 128},
			bpf.RetConstant{Val: 0},
		}
	}
	// Protocol 0 until the filter is in place: nothing unfiltered is queued.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket (needs CAP_NET_RAW): %w", err)
	}
	p := &packetSock{fd: fd, index: index, proto: proto}
	if filter != nil {
		err = attach(fd, filter)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(proto), Ifindex: index})
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open packet socket on interface %d: %w", index, err)
	}
	return p, nil
}

func attach(fd int, filter []bpf.Instruction) error {
	raw, err := bpf.Assemble(filter)
	if err != nil {
		return fmt.Errorf("assemble filter: %w", err)
	}
	prog := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		prog[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return os.NewSyscallError("attach filter", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(prog)), Filter: unsafe.SliceData(prog)}))
}

// watch narrows an ARP socket to frames whose sender is one of addrs.
func (p *packetSock) watch(addrs []netip.Addr) error {
	filter := []bpf.Instruction{bpf.LoadAbsolute{Off: etherLen + 14, Size: 4}}
	for i, a := range addrs {
		b := a.As4()
		v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		filter = append(filter, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(len(addrs) - i)})
	}
	return attach(p.fd, append(filter, bpf.RetConstant{Val: 0}, bpf.RetConstant{Val: 128}))
}

func (p *packetSock) send(frame []byte) error {
	err := unix.Sendto(p.fd, frame, unix.MSG_DONTWAIT, &unix.SockaddrLinklayer{
		Protocol: htons(p.proto), Ifindex: p.index, Halen: 6,
	})
	return os.NewSyscallError("send frame", err)
}

// recv reads one waiting frame; n = 0: none.
func (p *packetSock) recv(b []byte) (n int, err error) {
	for {
		n, _, err = unix.Recvfrom(p.fd, b, unix.MSG_DONTWAIT)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return 0, os.NewSyscallError("receive frame", err)
		}
	}
}

func (p *packetSock) close() { unix.Close(p.fd) }

func htons(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

func toMAC(h net.HardwareAddr) (macAddr, bool) {
	if len(h) != 6 {
		return macAddr{}, false
	}
	return macAddr(h), true
}
