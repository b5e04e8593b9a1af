package vip

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wire sends raw frames out of an interface, through its egress hook, and sees all that come in.
type wire struct {
	fd    int
	index int
	mac   macAddr
}

// openWire runs in the namespace of the interface.
func openWire(dev string) (*wire, error) {
	ifi, err := net.InterfaceByName(dev)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifi.Index}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &wire{fd: fd, index: ifi.Index, mac: macAddr(ifi.HardwareAddr)}, nil
}

func (w *wire) close() { unix.Close(w.fd) }

// crosses sends a frame and tells whether it comes in at to.
func (w *wire) crosses(t testing.TB, to *wire, frame []byte) bool {
	t.Helper()
	w.send(t, frame)
	// Whatever the hook drops never comes; what it lets through may wait for a busy machine. So a second frame follows on
	// the same way, which the hook lets through, and the wait is for that one.
	end := appendARP(nil, arpRequest, w.mac, netip.AddrFrom4([4]byte{10, 77, 0, 11}), macAddr{}, netip.AddrFrom4([4]byte{10, 77, 0, 250}))
	w.send(t, end)
	passed := false
	var buf [2048]byte
	for late := time.Now().Add(2 * time.Second); time.Now().Before(late); {
		if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(to.fd), Events: unix.POLLIN}}, 100); n <= 0 {
			continue
		}
		n, _, err := unix.Recvfrom(to.fd, buf[:], unix.MSG_DONTWAIT)
		if err != nil {
			continue
		}
		if bytes.Equal(buf[:n], frame) {
			passed = true
		}
		if bytes.Equal(buf[:n], end) {
			return passed
		}
	}
	t.Fatal("the frame that ends the test frame's way has not come")
	return false
}

func (w *wire) send(t testing.TB, frame []byte) {
	t.Helper()
	err := unix.Sendto(w.fd, frame, 0, &unix.SockaddrLinklayer{
		Protocol: htons(binary.BigEndian.Uint16(frame[12:])), Ifindex: w.index, Halen: 6,
	})
	if err != nil && err != unix.ENOBUFS { // ENOBUFS: dropped by the hook
		t.Fatalf("send frame: %v", err)
	}
}

// udpFrame is a broadcast Ethernet frame with a UDP datagram whose payload is tag.
func udpFrame(mac macAddr, src, dst netip.Addr, tag byte) []byte {
	const size = 8 + 8
	udp := []byte{0x13, 0xc4, 0x13, 0xc4, 0, size, 0, 0, tag, 0, 0, 0, 0, 0, 0, 0}
	if src.Is4() {
		b := appendEther(nil, broadcastMAC(), mac, unix.ETH_P_IP)
		b = append(b, 0x45, 0, 0, 20+size, 0, 0, 0, 0, 64, unix.IPPROTO_UDP, 0, 0)
		b = append(b, src.AsSlice()...)
		b = append(b, dst.AsSlice()...)
		var sum uint32
		for i := etherLen; i < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		binary.BigEndian.PutUint16(b[etherLen+10:], ^uint16(sum>>16+sum))
		return append(b, udp...)
	}
	b := appendEther(nil, broadcastMAC(), mac, unix.ETH_P_IPV6)
	b = append(b, 0x60, 0, 0, 0, 0, size, unix.IPPROTO_UDP, 64)
	b = append(b, src.AsSlice()...)
	b = append(b, dst.AsSlice()...)
	return append(b, udp...)
}
