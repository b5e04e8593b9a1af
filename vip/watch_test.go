package vip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// capture records, on the switch, every frame that names a VIP as its source, by who sent it.
type capture struct {
	fd    int
	stop  atomic.Bool
	done  chan struct{}
	mu    sync.Mutex
	seen  []sighting
	ports map[int]string
}

type sighting struct {
	at   time.Time
	port string // the box it came from
	what string
}

func (l *lan) capture(t testing.TB) *capture {
	t.Helper()
	c := &capture{done: make(chan struct{}), ports: map[int]string{}}
	l.sw.do(t, func() (err error) {
		for name := range l.boxes {
			ifi, err := net.InterfaceByName(name)
			if err != nil {
				return err
			}
			c.ports[ifi.Index] = name
		}
		c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return err
		}
		if err = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err == unix.EPERM { // a user namespace
			err = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<20)
		}
		return err
	})
	go c.run()
	t.Cleanup(c.end)
	return c
}

func (c *capture) run() {
	defer close(c.done)
	var buf [2048]byte
	var oob [64]byte
	for !c.stop.Load() {
		if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}, 20); n <= 0 {
			continue
		}
		n, oobn, _, from, err := unix.Recvmsg(c.fd, buf[:], oob[:], unix.MSG_DONTWAIT)
		if err != nil {
			continue
		}
		ll := from.(*unix.SockaddrLinklayer)
		port, ok := c.ports[ll.Ifindex]
		if !ok || ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		// The time at which the frame was put on the cable: on a busy machine it may then have waited in one processor's
		// queue while another's was served.
		msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(msgs) != 1 {
			panic(fmt.Sprintf("frame without a time stamp: %v %v", msgs, err))
		}
		ts := *(*unix.Timespec)(unsafe.Pointer(&msgs[0].Data[0]))
		if what := vipSource(buf[:n]); what != "" {
			c.mu.Lock()
			c.seen = append(c.seen, sighting{time.Unix(ts.Unix()), port, what})
			c.mu.Unlock()
		}
	}
}

// vipSource tells whether a frame has a VIP as its source; it does not use the code under test.
func vipSource(f []byte) string {
	v4, v6 := vip4().As4(), vip6().As16()
	switch {
	case len(f) >= 34 && f[12] == 8 && f[13] == 0 && [4]byte(f[26:30]) == v4:
		return "IPv4"
	case len(f) >= 42 && f[12] == 8 && f[13] == 6 && [4]byte(f[28:32]) == v4:
		return fmt.Sprintf("ARP %d", f[21])
	case len(f) >= 54 && f[12] == 0x86 && [16]byte(f[22:38]) == v6:
		return "IPv6"
	case len(f) >= 78 && f[12] == 0x86 && f[20] == 58 && f[54] == 136 && [16]byte(f[62:78]) == v6:
		return "NA"
	}
	return ""
}

func (c *capture) end() {
	if !c.stop.Swap(true) {
		<-c.done
		unix.Close(c.fd)
	}
}

// ownersOverlap reports the first frame of a box that has already been followed by another box's frame.
func (c *capture) ownersOverlap() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.SortStableFunc(c.seen, func(a, b sighting) int { return a.at.Compare(b.at) })
	gone := map[string]sighting{}
	now := ""
	for _, s := range c.seen {
		if by, was := gone[s.port]; was && s.port != now {
			return fmt.Errorf("%s sent %s with the VIP as source %s after %s had begun to (%s)", s.port, s.what, s.at.Sub(by.at), by.port, by.what)
		}
		if s.port != now {
			if now != "" {
				gone[now] = s
			}
			now = s.port
		}
	}
	return nil
}

// echo answers datagrams to the VIPs on a box, from sockets bound beforehand as the SIP core's are, and also chatters from
// the VIPs all the time, whoever owns them: a core that does not know that its lease has gone.
func (l *lan) echo(t testing.TB, name string) {
	t.Helper()
	// To a host that exists: datagrams that wait for a neighbour that never answers fill the socket's buffer, and
	// then the echo would wait too.
	host := 11 + len(l.boxes) - 1
	phone := map[bool]string{true: fmt.Sprintf("10.77.0.%d:9", host), false: fmt.Sprintf("[fd77::%d]:9", host)}
	for _, a := range []netip.Addr{vip4(), vip6()} {
		var conn net.PacketConn
		l.boxes[name].do(t, func() (err error) {
			lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
				level, opt := unix.IPPROTO_IP, unix.IP_FREEBIND
				if a.Is6() {
					level, opt = unix.IPPROTO_IPV6, unix.IPV6_FREEBIND
				}
				cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, opt, 1) })
				if cerr != nil {
					return cerr
				}
				return err
			}}
			conn, err = lc.ListenPacket(context.Background(), "udp", netip.AddrPortFrom(a, 5060).String())
			return err
		})
		to, err := net.ResolveUDPAddr("udp", phone[a.Is4()])
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		stop := make(chan struct{})
		wg.Go(func() {
			var buf [64]byte
			for {
				n, from, err := conn.ReadFrom(buf[:])
				if err != nil {
					return
				}
				_, _ = conn.WriteTo(buf[:n], from) // dropped by the fence, say
			}
		})
		wg.Go(func() {
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					_, _ = conn.WriteTo([]byte("chatter"), to)
				}
			}
		})
		t.Cleanup(func() {
			close(stop)
			conn.Close()
			wg.Wait()
		})
	}
}

// prober sends a datagram to the VIP every 2 ms from the phone and notes when answers come.
type prober struct {
	mu      sync.Mutex
	answers []time.Time
}

func (l *lan) probe(t testing.TB) *prober {
	t.Helper()
	var conn net.Conn
	l.boxes["phone"].do(t, func() (err error) {
		conn, err = net.Dial("udp", netip.AddrPortFrom(vip4(), 5060).String())
		return err
	})
	p := &prober{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				_, _ = conn.Write([]byte("probe")) // refused or unreachable while nobody owns it
			}
		}
	})
	wg.Go(func() {
		var buf [64]byte
		for {
			_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			_, err := conn.Read(buf[:])
			if err == nil {
				p.mu.Lock()
				p.answers = append(p.answers, time.Now())
				p.mu.Unlock()
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		wg.Wait()
		conn.Close()
	})
	return p
}

// answered waits for an answer after a time.
func (p *prober) answered(t testing.TB, after time.Time) time.Time {
	t.Helper()
	var at time.Time
	eventually(t, "the VIP answers", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i := len(p.answers) - 1; i >= 0 && p.answers[i].After(after); i-- {
			at = p.answers[i]
		}
		return !at.IsZero()
	})
	return at
}

// gap is the longest time without an answer from a time on.
func (p *prober) gap(since time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var worst time.Duration
	for i := 1; i < len(p.answers); i++ {
		if p.answers[i].After(since) {
			worst = max(worst, p.answers[i].Sub(p.answers[i-1]))
		}
	}
	return worst
}

// reset begins a new record.
func (c *capture) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = nil
}
