package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"holdline/fsm/pb"
)

// streamLab is a server on 127.0.0.1 with one endpoint per transport; what comes in is handed to the test.
type streamLab struct {
	*Streams
	u        *UDP
	t        testing.TB
	ports    [5]uint16
	in       chan Packet
	lost     chan string
	epoch    atomic.Uint64 // 0: the lease is elsewhere
	fallback atomic.Pointer[netip.AddrPort]
	echo     atomic.Bool
}

func newStreamLab(t testing.TB, o StreamOptions) *streamLab {
	t.Helper()
	l := &streamLab{t: t, in: make(chan Packet, 64), lost: make(chan string, 64)}
	l.epoch.Store(1)
	handler := func(out *Sender, batch []Packet) {
		for _, p := range batch {
			if l.echo.Load() {
				out.Send(p.Flow, p.Data)
				continue
			}
			p.Data = bytes.Clone(p.Data)
			l.in <- p
		}
	}
	u, err := NewUDP(Options{Readers: 1, Handler: handler})
	if err != nil {
		t.Fatal(err)
	}
	l.u = u
	o.UDP, o.Handler = u, handler
	o.Lease = func(uint32) (uint64, bool) { e := l.epoch.Load(); return e, e != 0 }
	o.Undelivered = func(_ uint64, b []byte) { l.lost <- string(b) }
	o.Fallback = func([]byte) (netip.AddrPort, bool) {
		a := l.fallback.Load()
		if a == nil {
			return netip.AddrPort{}, false
		}
		return *a, true
	}
	if l.Streams, err = NewStreams(o); err != nil {
		t.Fatal(err)
	}
	l.listen(1)
	t.Cleanup(func() {
		if err := errors.Join(l.Streams.Close(), u.Close()); err != nil {
			t.Error(err)
		}
	})
	return l
}

// listen opens an endpoint per transport, on ports that are free; another program may take one in between.
func (l *streamLab) listen(group uint32) {
	l.t.Helper()
	err := l.tryListen(group)
	for range 10 {
		if err == nil {
			return
		}
		if err := l.SetEndpoints(nil); err != nil {
			l.t.Fatal(err)
		}
		err = l.tryListen(group)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *streamLab) tryListen(group uint32) error {
	l.t.Helper()
	var eps []StreamEndpoint
	for p := pb.Transport_TCP; p <= pb.Transport_WSS; p++ {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			l.t.Fatal(err)
		}
		l.ports[p] = ln.Addr().(*net.TCPAddr).AddrPort().Port()
		if err := ln.Close(); err != nil {
			l.t.Fatal(err)
		}
		eps = append(eps, StreamEndpoint{Endpoint{Group: group, Local: l.addr(p)}, p})
	}
	return l.SetEndpoints(eps)
}

func (l *streamLab) addr(p pb.Transport) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), l.ports[p])
}

func (l *streamLab) dialTCP(p pb.Transport) *net.TCPConn {
	l.t.Helper()
	c, err := l.tryTCP(p)
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

func (l *streamLab) tryTCP(p pb.Transport) (*net.TCPConn, error) {
	c, err := net.Dial("tcp4", l.addr(p).String())
	if err != nil {
		return nil, err
	}
	l.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

func (l *streamLab) got() Packet {
	l.t.Helper()
	select {
	case p := <-l.in:
		return p
	case <-time.After(20 * time.Second):
		l.t.Fatal("nothing came in")
	}
	return Packet{}
}

func (l *streamLab) put(c io.Writer, s string) {
	l.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		l.t.Fatal(err)
	}
}

// until waits for a counter.
func (l *streamLab) until(what string, c *atomic.Uint64, n uint64) {
	l.t.Helper()
	for end := time.Now().Add(20 * time.Second); c.Load() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("%s: %d, want %d", what, c.Load(), n)
		}
	}
}

func read(t testing.TB, c io.Reader, n int) string {
	t.Helper()
	b := make([]byte, n)
	k, err := io.ReadFull(c, b)
	if err != nil {
		t.Fatalf("read %q: %v", b[:k], err)
	}
	return string(b)
}

// ended reports how a connection ended: io.EOF, or a reset.
func ended(c net.Conn) error {
	_, err := io.Copy(io.Discard, c)
	if err == nil {
		return io.EOF
	}
	return err
}

var invite = sipText("hello", "Content-Length: 5")
