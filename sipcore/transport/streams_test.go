package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"holdline/fsm/pb"
)

func TestStreamsTCP(t *testing.T) {
	l := newStreamLab(t, StreamOptions{})
	c := l.dialTCP(pb.Transport_TCP)
	l.put(c, invite[:40])
	l.put(c, invite[40:]+"\r\n\r\n"+invite)
	one, two := l.got(), l.got()
	if string(one.Data) != invite || string(two.Data) != invite || one.Flow != two.Flow {
		t.Fatalf("%q %q %+v %+v", one.Data, two.Data, one.Flow, two.Flow)
	}
	want := Flow{Group: 1, Proto: pb.Transport_TCP, Port: l.ports[1], Remote: c.LocalAddr().(*net.TCPAddr).AddrPort(), Conn: one.Flow.Conn}
	if one.Flow != want || want.Conn == 0 {
		t.Errorf("flow %+v, want %+v", one.Flow, want)
	}
	if pong := read(t, c, 2); pong != "\r\n" {
		t.Errorf("a ping was answered by %q", pong)
	}
	out := l.u.NewSender()
	out.Send(one.Flow, []byte(invite))
	if got := read(t, c, len(invite)); got != invite {
		t.Errorf("%q", got)
	}
	byAddress := one.Flow
	byAddress.Conn = 0
	out.Send(byAddress, []byte("SIP/2.0 200 OK\r\n\r\n")) // a response goes where the request came from
	read(t, c, 18)
	if l.Len() != 1 {
		t.Errorf("%d connections", l.Len())
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	l.until("ended by peer", &l.counters.ended[endPeer], 1)
	out.Send(one.Flow, []byte(invite))
	if lost := <-l.lost; lost != invite {
		t.Errorf("%q", lost)
	}
	if l.Len() != 0 || len(l.sources) != 0 || len(l.remotes) != 0 || l.unproven.n != 0 {
		t.Error("something is left of the connection")
	}
}

func TestStreamsMisframed(t *testing.T) {
	l := newStreamLab(t, StreamOptions{})
	c := l.dialTCP(pb.Transport_TCP)
	l.echo.Store(true)
	l.put(c, sipText("no length")+strings.Repeat("x", 10000))
	b, err := io.ReadAll(c)
	if err != nil || string(b) != sipText("") {
		t.Errorf("%q %v", b, err)
	}
	l.until("framing", &l.counters.ended[endFraming], 1)
	junk := l.dialTCP(pb.Transport_TCP)
	l.put(junk, "GET / HTTP/1.1\r\n\r\n")
	if err := ended(junk); err == nil {
		t.Error("junk is listened to")
	}
}

// TestStreamsSlowLoris: a message that does not come to its end costs the connection, and so does silence; memory is what one
// message may take.
func TestStreamsSlowLoris(t *testing.T) {
	l := newStreamLab(t, StreamOptions{Limits: StreamLimits{First: 100 * time.Millisecond, Message: 150 * time.Millisecond, Idle: time.Hour}})
	silent, slow, known := l.dialTCP(pb.Transport_TCP), l.dialTCP(pb.Transport_TCP), l.dialTCP(pb.Transport_TCP)
	tlsSilent, wsSilent := l.dialTCP(pb.Transport_TLS), l.dialTCP(pb.Transport_WS)
	l.put(slow, invite[:10])
	l.put(known, invite+invite[:len(invite)-1])
	l.put(wsSilent, "GET / HTTP/1.1\r\nHost: ")
	l.got()
	for name, c := range map[string]net.Conn{"silent": silent, "slow": slow, "known": known, "TLS": tlsSilent, "WS": wsSilent} {
		if err := ended(c); errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := l.Len(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// TestStreamsSilent: who connects and says nothing is the kernel's business alone, until something is said.
func TestStreamsSilent(t *testing.T) {
	l := newStreamLab(t, StreamOptions{})
	silent, other := l.dialTCP(pb.Transport_TCP), l.dialTCP(pb.Transport_TCP)
	l.put(other, invite)
	l.got()
	if n := l.counters.accepted.Load(); n != 1 { // accepted in the order in which they came
		t.Errorf("%d connections were accepted, want the one that has spoken", n)
	}
	l.put(silent, invite)
	l.got()
}

func TestStreamsLimits(t *testing.T) {
	l := newStreamLab(t, StreamOptions{Limits: StreamLimits{ConnsPerSource: 4, Unproven: 2}})
	first := l.dialTCP(pb.Transport_TCP)
	l.put(first, invite)
	l.got()
	begun := func() net.Conn {
		c := l.dialTCP(pb.Transport_TCP)
		l.put(c, invite[:1])
		return c
	}
	a := begun()
	l.until("accepted", &l.counters.accepted, 2)
	b := begun()
	l.until("accepted", &l.counters.accepted, 3)
	c := begun() // the oldest that has not sent a message makes room
	l.until("evicted", &l.counters.evicted, 1)
	if ended(a) == nil {
		t.Error("still there")
	}
	for _, x := range []net.Conn{b, c} {
		l.put(x, invite[1:])
		l.got()
	}
	l.put(first, invite)
	l.got()
	d := l.dialTCP(pb.Transport_TCP)
	l.put(d, invite)
	l.got()
	e, err := l.tryTCP(pb.Transport_TCP)
	if err == nil {
		_, err = e.Write([]byte(invite))
	}
	l.until("refused", &l.counters.refused, 1)
	if err == nil && ended(e) == nil {
		t.Error("the fifth of a source was let in")
	}
}

// TestStreamsSilentReader: a peer that does not read loses its connection; another is served meanwhile.
func TestStreamsSilentReader(t *testing.T) {
	l := newStreamLab(t, StreamOptions{Limits: StreamLimits{Queue: 64 << 10}})
	deaf, good := l.dialTCP(pb.Transport_TCP), l.dialTCP(pb.Transport_TCP)
	l.put(deaf, invite)
	to := l.got().Flow
	out := l.u.NewSender()
	big := []byte(sipText(strings.Repeat("x", 30000), "l: 30000"))
	for l.counters.ended[endSlow].Load() == 0 {
		began := time.Now()
		out.Send(to, big)
		if d := time.Since(began); d > 5*time.Second {
			t.Fatalf("sending took %v", d)
		}
	}
	for len(l.lost) > 0 {
		<-l.lost
	}
	l.echo.Store(true)
	l.put(good, invite)
	if got := read(t, good, len(invite)); got != invite {
		t.Errorf("%q", got)
	}
}

func TestStreamsLease(t *testing.T) {
	l := newStreamLab(t, StreamOptions{})
	c := l.dialTCP(pb.Transport_TCP)
	l.put(c, invite)
	l.got()
	l.epoch.Store(2) // lost and acquired again: the peer's connection is not of this lease
	l.put(c, invite)
	if err := ended(c); errors.Is(err, io.EOF) {
		t.Error("the connection was not reset:", err)
	}
	l.epoch.Store(0)
	if c, err := l.tryTCP(pb.Transport_TCP); err == nil && errors.Is(ended(c), io.EOF) {
		t.Error("a node without the lease lets connections in:", err)
	}
	l.epoch.Store(3)
	d := l.dialTCP(pb.Transport_TCP)
	l.put(d, invite)
	l.got()
	l.DropGroup(1)
	if err := ended(d); errors.Is(err, io.EOF) {
		t.Error("the lost group's connection was not reset:", err)
	}
	if len(l.in) > 0 {
		t.Error("the old connection's message was handled")
	}
}

// TestStreamsThawed: a node that lost a group and has it again, and has heard of neither, sends nothing over the connections of before.
func TestStreamsThawed(t *testing.T) {
	l := newStreamLab(t, StreamOptions{})
	c := l.dialTCP(pb.Transport_TCP)
	l.put(c, invite)
	flow := l.got().Flow
	l.epoch.Store(3)
	out := l.u.NewSender()
	out.Send(flow, []byte(invite))
	if got := <-l.lost; got != invite {
		t.Errorf("undelivered: %q", got)
	}
	if err := ended(c); errors.Is(err, io.EOF) {
		t.Error("the connection was not reset:", err)
	}
}

// TestStreamsMany: messages of many connections come through whole and in order, both ways.
func TestStreamsMany(t *testing.T) {
	const conns, each = 50, 40
	l := newStreamLab(t, StreamOptions{})
	l.echo.Store(true)
	errs := make(chan error, conns)
	for i := range conns {
		c := l.dialTCP(pb.Transport_TCP)
		var want []string
		for k := range each {
			body := strings.Repeat(fmt.Sprintf("%d/%d ", i, k), k*7)
			want = append(want, sipText(body, lengthHeader(body)))
		}
		go func() {
			_, err := io.WriteString(c, strings.Join(want, ""))
			errs <- err
		}()
		go func() {
			all := strings.Join(want, "")
			got := make([]byte, len(all))
			_, err := io.ReadFull(bufio.NewReader(c), got)
			if err == nil && string(got) != all {
				err = errors.New("other messages came back")
			}
			errs <- err
		}()
	}
	if i := slices.IndexFunc(make([]int, 2*conns), func(int) bool { err := <-errs; t.Log(err); return err != nil }); i >= 0 {
		t.Fatal("see above")
	}
}

// TestStreamsIPv6: connections over IPv6, accepted and opened from the VIP.
func TestStreamsIPv6(t *testing.T) {
	gw, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	defer gw.Close()
	l := newStreamLab(t, StreamOptions{})
	port := l.ports[pb.Transport_TCP]
	ep := StreamEndpoint{Endpoint{Group: 1, Local: netip.AddrPortFrom(netip.IPv6Loopback(), port)}, pb.Transport_TCP}
	if err := l.SetEndpoints([]StreamEndpoint{ep}); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp6", ep.Local.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l.put(c, invite)
	if f := l.got().Flow; f.Remote != c.LocalAddr().(*net.TCPAddr).AddrPort() {
		t.Errorf("%+v", f)
	}
	to := Flow{Group: 1, Proto: pb.Transport_TCP, Port: port, Remote: gw.Addr().(*net.TCPAddr).AddrPort()}
	l.u.NewSender().Send(to, []byte(invite))
	in := make(chan net.Conn, 1)
	go func() {
		if c, err := gw.Accept(); err == nil {
			in <- c
		}
	}()
	select {
	case c := <-in:
		defer c.Close()
		if got := read(t, c, len(invite)); got != invite {
			t.Errorf("%q", got)
		}
	case lost := <-l.lost:
		t.Fatalf("not sent: %q", lost)
	}
}

// TestStreamsKeepAlive: a peer that has promised pings loses its connection when they stay away, not while they come; so does one
// that is silent already when it is known. WebSockets are left alone.
func TestStreamsKeepAlive(t *testing.T) {
	const idle = 400 * time.Millisecond
	l := newStreamLab(t, StreamOptions{})
	pinging, quiet, others := l.dialTCP(pb.Transport_TCP), l.dialTCP(pb.Transport_TCP), l.dialTCP(pb.Transport_TCP)
	for _, c := range []net.Conn{pinging, quiet, others} {
		l.put(c, invite)
		if flow := l.got().Flow; c != others {
			l.KeepAlive(flow.Conn, idle)
		}
	}
	l.KeepAlive(12345, idle) // no such connection
	for range 12 {
		l.put(pinging, "\r\n\r\n")
		pong := make([]byte, 2)
		if _, err := io.ReadFull(pinging, pong); err != nil {
			t.Fatal("closed in spite of pings:", err)
		}
		time.Sleep(idle / 8)
	}
	if err := ended(quiet); errors.Is(err, context.DeadlineExceeded) {
		t.Error("a silent connection is still there")
	}
	if err := ended(pinging); errors.Is(err, context.DeadlineExceeded) {
		t.Error("a connection that has fallen silent is still there")
	}
	l.until("idle", &l.counters.ended[endIdle], 2)
	if n := l.Len(); n != 1 {
		t.Errorf("%d connections, want the one that has promised nothing", n)
	}
}
