package transport

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdline/deploy/lab/userns"
)

func TestMain(m *testing.M) {
	userns.ForTests() // the fence's test makes a network namespace
	goleak.VerifyTestMain(m)
}

// patience bounds waits for things that do happen.
const patience = 10 * time.Second

// start opens a transport on loopback endpoints with the handler.
func start(t *testing.T, o Options, addrs ...string) (*UDP, []Endpoint) {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	u, err := NewUDP(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	var eps []Endpoint
	for i, a := range addrs {
		eps = append(eps, Endpoint{Group: uint32(i + 1), VIP: uint8(i), Local: netip.AddrPortFrom(netip.MustParseAddr(a), freePort(t, a))})
	}
	if err := u.SetEndpoints(eps); err != nil {
		t.Fatal(err)
	}
	return u, eps
}

// freePort finds a UDP port that nothing uses.
func freePort(t *testing.T, addr string) uint16 {
	t.Helper()
	c, err := net.ListenPacket("udp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Skipf("no %s here: %v", addr, err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// phone is a plain socket.
func phone(t *testing.T, addr string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 0)))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// phoneAddr is the address of a phone.
func phoneAddr(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

func send(t *testing.T, c *net.UDPConn, to netip.AddrPort, b []byte) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort(b, to); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c *net.UDPConn) (string, netip.AddrPort) {
	t.Helper()
	b := make([]byte, 65536)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// echo sends each datagram back with its flow in front.
func echo(out *Sender, batch []Packet) {
	for _, p := range batch {
		out.Send(p.Flow, fmt.Appendf(nil, "%d.%d %s", p.Flow.Group, p.Flow.VIP, p.Data))
	}
}

func TestEchoOverManyEndpoints(t *testing.T) {
	_, eps := start(t, Options{Handler: echo, Readers: 2}, "127.0.0.1", "127.0.0.2", "127.0.0.3", "::1")
	for i, ep := range eps {
		from := "127.0.0.1"
		if ep.Local.Addr().Is6() {
			from = "::1"
		}
		for range 8 { // several peers reach both readers
			c := phone(t, from)
			send(t, c, ep.Local, []byte("hello"))
			got, src := receive(t, c)
			if want := fmt.Sprintf("%d.%d hello", i+1, i); got != want || src != ep.Local {
				t.Errorf("got %q from %v, want %q from %v", got, src, want, ep.Local)
			}
		}
	}
}

func TestLargestDatagram(t *testing.T) {
	_, eps := start(t, Options{Handler: func(out *Sender, batch []Packet) {
		for _, p := range batch {
			out.Send(p.Flow, p.Data)
		}
	}}, "127.0.0.1")
	c := phone(t, "127.0.0.1")
	big := bytes.Repeat([]byte("0123456789"), MaxDatagram/10+1)[:MaxDatagram]
	send(t, c, eps[0].Local, big)
	if got, _ := receive(t, c); got != string(big) {
		t.Errorf("got %d bytes back of %d", len(got), len(big))
	}
}

func TestReceiveTime(t *testing.T) {
	times := make(chan int64, 1)
	_, eps := start(t, Options{Handler: func(_ *Sender, batch []Packet) { times <- batch[0].At }}, "127.0.0.1")
	c := phone(t, "127.0.0.1")
	for range 20 {
		before := MonotonicRaw()
		send(t, c, eps[0].Local, []byte("OPTIONS"))
		at := <-times
		if now := MonotonicRaw(); at > now || at < before-int64(50*time.Millisecond) {
			t.Errorf("received %v after now, %v before it was sent", time.Duration(at-now), time.Duration(before-at))
		}
	}
}

// TestKeepalives: CRLF on UDP is ignored, a STUN Binding request can be answered, junk that looks like one is not.
func TestKeepalives(t *testing.T) {
	got := make(chan string, 8)
	u, eps := start(t, Options{Readers: 1, Handler: func(out *Sender, batch []Packet) {
		for _, p := range batch {
			if p.STUN {
				out.Send(p.Flow, AppendSTUN(nil, p.Data, p.Flow.Remote))
				continue
			}
			got <- string(p.Data)
		}
	}}, "127.0.0.1")
	c := phone(t, "127.0.0.1")
	stun := []byte("\x00\x01\x00\x00" + stunCookie + "abcdefghijkl")
	for _, b := range [][]byte{{}, []byte("\r\n\r\n"), {0, 0, 0, 0}, stun, []byte("X\r\n")} {
		send(t, c, eps[0].Local, b)
	}
	if g := <-got; g != "X\r\n" {
		t.Errorf("handler got %q", g)
	}
	answer := make([]byte, 100)
	n, err := c.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	local := c.LocalAddr().(*net.UDPAddr).AddrPort()
	want := []byte("\x01\x01\x00\x0c" + stunCookie + "abcdefghijkl\x00\x20\x00\x08\x00\x01")
	want = binary.BigEndian.AppendUint16(want, local.Port()^0x2112)
	want = append(want, 127^0x21, 0^0x12, 0^0xa4, 1^0x42)
	if !bytes.Equal(answer[:n], want) {
		t.Errorf("STUN answer % x, want % x", answer[:n], want)
	}
	for _, junk := range []string{"\x00\x01\x00\x04" + stunCookie + "abcdefghijkl", "\x01\x01\x00\x00" + stunCookie + "abcdefghijkl", ""} {
		if a := AppendSTUN(nil, []byte(junk), local); len(a) > 0 {
			t.Errorf("%q was answered", junk)
		}
	}
	if s := u.Stats(); s.Keepalives != 3 || s.STUN != 1 || s.Received != 1 {
		t.Errorf("counted %+v", s)
	}
}

// TestFreebind: sockets are open before the address is here.
func TestFreebind(t *testing.T) {
	u, _ := start(t, Options{Handler: echo})
	for _, a := range []string{"203.0.113.77:5060", "[2001:db8::77]:5060"} {
		if err := u.SetEndpoints([]Endpoint{{Group: 1, Local: netip.MustParseAddrPort(a)}}); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
}

func TestSetEndpoints(t *testing.T) {
	u, eps := start(t, Options{Handler: echo}, "127.0.0.1", "127.0.0.2")
	c := phone(t, "127.0.0.1")
	moved := eps[1]
	moved.Group = 9
	if err := u.SetEndpoints([]Endpoint{moved}); err != nil {
		t.Fatal(err)
	}
	send(t, c, moved.Local, []byte("x"))
	if got, _ := receive(t, c); got != "9.1 x" {
		t.Errorf("after renumbering got %q", got)
	}
	gone, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(eps[0].Local)) // without REUSEPORT: free only if closed
	if err != nil {
		t.Errorf("removed endpoint is still open: %v", err)
	} else {
		gone.Close()
	}
	out := u.NewSender()
	out.Send(Flow{Group: 1, Port: eps[0].Local.Port(), Remote: moved.Local}, []byte("x"))
	out.Flush()
	if s := u.Stats(); s.SendNoSocket != 1 {
		t.Errorf("a send from a closed endpoint was not counted: %+v", s)
	}

	taken := phoneAddr(phone(t, "127.0.0.1"))
	err = u.SetEndpoints([]Endpoint{moved, moved, {Group: 2, Local: taken}, {Group: 3, Local: netip.MustParseAddrPort("[fe80::1%lo]:5060")}})
	for _, want := range []string{"two addresses", taken.String(), "fe80::1"} {
		if err == nil || !bytes.Contains([]byte(err.Error()), []byte(want)) {
			t.Errorf("error %v does not name %q", err, want)
		}
	}
	send(t, c, moved.Local, []byte("y"))
	if got, _ := receive(t, c); got != "9.1 y" {
		t.Errorf("the good endpoint answers %q", got)
	}
}

func TestSenderOutsideHandler(t *testing.T) {
	u, eps := start(t, Options{Handler: echo}, "127.0.0.1")
	c := phone(t, "127.0.0.1")
	peer := phoneAddr(c)
	flow := Flow{Group: 1, Port: eps[0].Local.Port(), Remote: peer}
	out := u.NewSender()
	const n = 3*queueLen + 5
	for i := range n {
		out.Send(flow, fmt.Appendf(nil, "%d", i))
	}
	out.Send(flow, make([]byte, MaxDatagram+1))
	noPeer := flow
	noPeer.Remote = netip.AddrPort{}
	out.Send(noPeer, []byte("x"))
	otherFamily := flow
	otherFamily.Remote = netip.MustParseAddrPort("[::1]:5060")
	out.Send(otherFamily, []byte("x"))
	out.Flush()
	out.Flush()
	for i := range n {
		if got, _ := receive(t, c); got != fmt.Sprint(i) {
			t.Fatalf("datagram %d: %q", i, got)
		}
	}
	if s := u.Stats(); s.Sent != n || s.SendErrors != 3 {
		t.Errorf("counted %+v", s)
	}
}

// TestKernelDropsAreCounted overflows a small receive buffer while the handler stands still.
func TestKernelDropsAreCounted(t *testing.T) {
	entered, goOn, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var once, fin sync.Once
	u, eps := start(t, Options{Readers: 1, ReceiveBuffer: 4096, Handler: func(_ *Sender, batch []Packet) {
		once.Do(func() { close(entered); <-goOn })
		for _, p := range batch {
			if string(p.Data) == "last" {
				fin.Do(func() { close(done) })
			}
		}
	}}, "127.0.0.1")
	c := phone(t, "127.0.0.1")
	send(t, c, eps[0].Local, []byte("INVITE"))
	<-entered
	for range 200 {
		send(t, c, eps[0].Local, make([]byte, 1000))
	}
	close(goOn)
	for ok := false; !ok; { // the drop count comes with the next datagram that fits
		send(t, c, eps[0].Local, []byte("last"))
		select {
		case <-done:
			ok = true
		default:
			runtime.Gosched()
		}
	}
	if s := u.Stats(); s.KernelDrops < 100 {
		t.Errorf("dropped %d", s.KernelDrops)
	}
}

// TestCloseUnderFlood: closing and reopening while datagrams come in neither hangs nor leaks (goleak in TestMain).
func TestCloseUnderFlood(t *testing.T) {
	u, eps := start(t, Options{Handler: echo, Readers: 2}, "127.0.0.1", "127.0.0.2")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, ep := range eps {
		c := phone(t, "127.0.0.1")
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = c.WriteToUDPAddrPort([]byte("INVITE"), ep.Local) // refused while closed
				}
			}
		})
	}
	for i := range 40 {
		if err := u.SetEndpoints(eps[:i%2]); err != nil {
			t.Error(err)
		}
		if err := u.SetEndpoints(eps); err != nil {
			t.Error(err)
		}
	}
	if err := u.Close(); err != nil {
		t.Error(err)
	}
	close(stop)
	wg.Wait()
	if err := u.SetEndpoints(eps); err == nil {
		t.Error("endpoints opened after Close")
	}
}

// TestNoAllocationPerDatagram relays datagrams and counts what the process allocates.
func TestNoAllocationPerDatagram(t *testing.T) {
	_, eps := start(t, Options{Readers: 1, Handler: func(out *Sender, batch []Packet) {
		for _, p := range batch {
			out.Send(p.Flow, p.Data)
		}
	}}, "127.0.0.1")
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(eps[0].Local))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 700)
	round := func() {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	round() // the first takes batch and queue from the heap
	if n := testing.AllocsPerRun(1000, round); n >= 1 {
		t.Errorf("%.1f allocations per datagram relayed", n)
	}
}
