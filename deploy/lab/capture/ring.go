package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"holdline/deploy/lab/netlab"
)

// The ring holds frameSize × frameCount bytes: more than a second of the highest rate a drill reaches.
const (
	frameSize  = 256
	blockSize  = 1 << 16
	frameCount = 1 << 16
)

// Capture records every frame that enters the switch with one of some VIPs as source. Safe for concurrent use.
type Capture struct {
	fd      int
	ring    []byte
	wake    int // eventfd that ends the reader
	stopped atomic.Bool
	done    chan struct{}

	mu     sync.Mutex
	frames []Frame
	err    error
	drops  int
}

// Start begins capturing on the ports of the switch: frames as boxes put them onto their cables, before the switch does
// anything with them. Frames that leave the switch are not looked at.
func Start(sw *netlab.Space, vips []netip.Addr, ports []int) (*Capture, error) {
	c := newCapture()
	if err := sw.Do(func() error { return c.open(vips, ports) }); err != nil {
		c.release()
		return nil, fmt.Errorf("capture on the switch: %w", err)
	}
	go c.read()
	return c, nil
}

// StartHere captures what comes in at interfaces of this machine, by their indexes. It needs CAP_NET_RAW.
func StartHere(vips []netip.Addr, interfaces []int) (*Capture, error) {
	c := newCapture()
	if err := c.open(vips, interfaces); err != nil {
		c.release()
		return nil, fmt.Errorf("capture on this machine: %w", err)
	}
	go c.read()
	return c, nil
}

func newCapture() *Capture { return &Capture{fd: -1, wake: -1, done: make(chan struct{})} }

func (c *Capture) open(vips []netip.Addr, ports []int) error {
	var err error
	// Protocol 0 receives nothing until bound, so no frame comes in before the filter and the ring stand.
	if c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return fmt.Errorf("open a packet socket: %w", err)
	}
	if c.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("open an eventfd: %w", err)
	}
	if err := attach(c.fd, vips, ports); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(c.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return fmt.Errorf("choose the ring's version: %w", err)
	}
	req := unix.TpacketReq{Block_size: blockSize, Block_nr: frameSize * frameCount / blockSize, Frame_size: frameSize, Frame_nr: frameCount}
	if err := unix.SetsockoptTpacketReq(c.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return fmt.Errorf("make the ring: %w", err)
	}
	if c.ring, err = unix.Mmap(c.fd, 0, frameSize*frameCount, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map the ring: %w", err)
	}
	// Interface 0 is every port: one ring keeps the order between them, and a port going down does not end it.
	if err := unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL)}); err != nil {
		return fmt.Errorf("bind the packet socket: %w", err)
	}
	return nil
}

func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// attach has the kernel pass only frames that come in through one of the ports with one of the VIPs as source.
func attach(fd int, vips []netip.Addr, ports []int) error {
	prog, err := bpf.Assemble(program(vips, ports))
	if err != nil {
		return fmt.Errorf("build the filter: %w", err)
	}
	raw := make([]unix.SockFilter, len(prog))
	for i, in := range prog {
		raw[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(raw)), Filter: &raw[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog); err != nil {
		return fmt.Errorf("attach the filter: %w", err)
	}
	return nil
}

func program(vips []netip.Addr, ports []int) []bpf.Instruction {
	p := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
	}
	for i, port := range ports {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(port), SkipTrue: uint8(len(ports) - i)})
	}
	p = append(p,
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: offType, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: typeIPv4, SkipTrue: 2},
		bpf.LoadAbsolute{Off: offIPSrc, Size: 4},
		bpf.Jump{Skip: 3},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeARP, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: offARPSend, Size: 4},
	)
	for i, vip := range vips {
		a := vip.As4()
		p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(a[:]), SkipTrue: uint8(len(vips) - i)})
	}
	return append(p, bpf.RetConstant{Val: 0}, bpf.RetConstant{Val: snap})
}

// read takes frames out of the ring until Stop, and then what is left in it.
func (c *Capture) read() {
	defer close(c.done)
	fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}, {Fd: int32(c.wake), Events: unix.POLLIN}}
	next := 0
	for {
		last := c.stopped.Load() // read before draining: frames that came before Stop are all taken
		next = c.drain(next)
		if last {
			return
		}
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			c.fail(fmt.Errorf("wait for frames: %w", err))
			return
		}
	}
}

func (c *Capture) drain(next int) int {
	for {
		slot := c.ring[next*frameSize : (next+1)*frameSize]
		hdr := (*unix.Tpacket2Hdr)(unsafe.Pointer(&slot[0]))
		status := (*uint32)(unsafe.Pointer(&hdr.Status))
		if atomic.LoadUint32(status)&unix.TP_STATUS_USER == 0 {
			return next
		}
		c.take(hdr, slot)
		atomic.StoreUint32(status, unix.TP_STATUS_KERNEL)
		next = (next + 1) % frameCount
	}
}

func (c *Capture) take(hdr *unix.Tpacket2Hdr, slot []byte) {
	from, to := int(hdr.Mac), int(hdr.Mac)+int(hdr.Snaplen)
	if from > len(slot) || to > len(slot) {
		c.fail(fmt.Errorf("frame of %d bytes at %d does not fit its slot", hdr.Snaplen, hdr.Mac))
		return
	}
	f, ok := parse(slot[from:to])
	if !ok {
		return
	}
	sll := (*unix.RawSockaddrLinklayer)(unsafe.Pointer(&slot[tpacketAlign(int(unsafe.Sizeof(*hdr)))]))
	f.Sender.Port = int(sll.Ifindex)
	f.At = time.Unix(int64(hdr.Sec), int64(hdr.Nsec))
	c.mu.Lock()
	c.frames = append(c.frames, f)
	c.mu.Unlock()
}

func tpacketAlign(n int) int { return (n + unix.TPACKET_ALIGNMENT - 1) &^ (unix.TPACKET_ALIGNMENT - 1) }

func (c *Capture) fail(err error) {
	c.mu.Lock()
	c.err = errors.Join(c.err, err)
	c.mu.Unlock()
}

// Stop ends the capture and returns the frames in the order of their time stamps, and how many the kernel had to drop
// for want of room. A capture with drops proves nothing about owners.
func (c *Capture) Stop() (frames []Frame, dropped int, err error) {
	if c.stopped.Swap(true) {
		return nil, 0, errors.New("stop the capture: it is stopped")
	}
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	if _, err := unix.Write(c.wake, one[:]); err != nil {
		return nil, 0, fmt.Errorf("stop the capture: %w", err)
	}
	<-c.done
	stats, statErr := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if statErr != nil {
		c.fail(fmt.Errorf("read the capture's counters: %w", statErr))
	} else {
		c.drops = int(stats.Drops)
	}
	c.release()
	slices.SortStableFunc(c.frames, func(a, b Frame) int { return a.At.Compare(b.At) })
	return c.frames, c.drops, c.err
}

func (c *Capture) release() {
	if c.ring != nil {
		c.failIf(unix.Munmap(c.ring))
		c.ring = nil
	}
	for _, fd := range []int{c.fd, c.wake} {
		if fd >= 0 {
			c.failIf(unix.Close(fd))
		}
	}
}

func (c *Capture) failIf(err error) {
	if err != nil {
		c.fail(fmt.Errorf("release the capture: %w", err))
	}
}
