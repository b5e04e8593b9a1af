package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

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
	o.Undelivered = func(b []byte) { l.lost <- string(b) }
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

func (l *streamLab) listen(group uint32) {
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
	if err := l.SetEndpoints(eps); err != nil {
		l.t.Fatal(err)
	}
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

func TestStreamsLimits(t *testing.T) {
	l := newStreamLab(t, StreamOptions{Limits: StreamLimits{ConnsPerSource: 4, Unproven: 2}})
	first := l.dialTCP(pb.Transport_TCP)
	l.put(first, invite)
	l.got()
	a, b := l.dialTCP(pb.Transport_TCP), l.dialTCP(pb.Transport_TCP)
	l.until("accepted", &l.counters.accepted, 3)
	c := l.dialTCP(pb.Transport_TCP) // the oldest silent one makes room
	l.until("evicted", &l.counters.evicted, 1)
	if ended(a) == nil {
		t.Error("still there")
	}
	for _, x := range []net.Conn{first, b, c} {
		l.put(x, invite)
		l.got()
	}
	d := l.dialTCP(pb.Transport_TCP)
	l.put(d, invite)
	l.got()
	e, err := l.tryTCP(pb.Transport_TCP)
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

func certificate(t testing.TB, names ...string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// shown is the certificate that a client sees who asks for name.
func (l *streamLab) shown(name string, max uint16) (*tls.Conn, *x509.Certificate, error) {
	c := tls.Client(l.dialTCP(pb.Transport_TLS), &tls.Config{ServerName: name, InsecureSkipVerify: true, MaxVersion: max}) //nolint:gosec // a test
	if err := c.Handshake(); err != nil {
		return nil, nil, err
	}
	return c, c.ConnectionState().PeerCertificates[0], nil
}

// TestStreamsTLS: certificates go by name and are replaced while connections live on.
func TestStreamsTLS(t *testing.T) {
	l := newStreamLab(t, StreamOptions{})
	if _, _, err := l.shown("a.example.com", 0); err == nil {
		t.Error("a handshake without a certificate")
	}
	a, b, self := certificate(t, "a.example.com"), certificate(t, "*.b.example.com"), certificate(t, "self")
	l.o.Certificates.Set([]NamedCertificate{{[]string{"a.example.com"}, a}, {[]string{"*.b.example.com"}, b}}, self)
	var old *tls.Conn
	for name, want := range map[string]*tls.Certificate{"A.example.com": a, "x.b.example.com": b, "nobody": self, "": self} {
		c, got, err := l.shown(name, tls.VersionTLS12)
		if err != nil || !got.Equal(want.Leaf) {
			t.Fatalf("%q: %v %v", name, got, err)
		}
		old = c
	}
	next := certificate(t, "a.example.com")
	l.o.Certificates.Set([]NamedCertificate{{[]string{"a.example.com"}, next}}, nil)
	if c, got, err := l.shown("a.example.com", 0); err != nil || !got.Equal(next.Leaf) || c.ConnectionState().Version != tls.VersionTLS13 {
		t.Fatal("the new certificate is not shown:", err)
	}
	if _, _, err := l.shown("nobody", 0); err == nil {
		t.Error("a certificate for an unknown name")
	}
	l.echo.Store(true)
	l.put(old, invite)
	if got := read(t, old, len(invite)); got != invite {
		t.Errorf("%q", got)
	}
}

func TestStreamsWebSocket(t *testing.T) {
	origins := []string{}
	l := newStreamLab(t, StreamOptions{Origins: func() []string { return origins }})
	self := certificate(t, "self")
	l.o.Certificates.Set(nil, self)
	l.echo.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // a test
	defer client.CloseIdleConnections()
	for _, url := range []string{"ws://" + l.addr(pb.Transport_WS).String(), "wss://" + l.addr(pb.Transport_WSS).String() + "/any"} {
		ws, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: []string{"sip"}, HTTPClient: client})
		if err != nil {
			t.Fatal(err)
		}
		msg := sipText("no length is needed: " + strings.Repeat("x", 20000))
		for _, m := range []string{msg, "\r\n\r\n"} {
			if err := ws.Write(ctx, websocket.MessageText, []byte(m)); err != nil {
				t.Fatal(err)
			}
			want := m
			if m == "\r\n\r\n" {
				want = "\r\n"
			} else {
				ws.SetReadLimit(1 << 16)
			}
			if _, got, err := ws.Read(ctx); err != nil || string(got) != want {
				t.Fatal(len(got), err)
			}
		}
		if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
	}
	url := "ws://" + l.addr(pb.Transport_WS).String()
	if _, _, err := websocket.Dial(ctx, url, nil); err == nil {
		t.Error("a WebSocket without subprotocol sip")
	}
	origins = []string{"phone.example.com"}
	for origin, want := range map[string]bool{"https://phone.example.com": true, "https://evil.example.com": false} {
		ws, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: []string{"sip"}, HTTPHeader: http.Header{"Origin": {origin}}})
		if (err == nil) != want {
			t.Errorf("origin %s: %v", origin, err)
		}
		if ws != nil {
			_ = ws.CloseNow()
		}
	}
}

// TestStreamsDial: requests to an address go over one connection of ours from the VIP; if it cannot be opened, the sender is
// told; responses whose connection is gone go to their Via.
func TestStreamsDial(t *testing.T) {
	l := newStreamLab(t, StreamOptions{Limits: StreamLimits{Dial: 5 * time.Second}})
	gw, err := net.Listen("tcp4", "127.0.0.9:0")
	if err != nil {
		t.Fatal(err)
	}
	defer gw.Close()
	to := Flow{Group: 1, Proto: pb.Transport_TCP, Port: l.ports[1], Remote: gw.Addr().(*net.TCPAddr).AddrPort()}
	out := l.u.NewSender()
	out.Send(to, []byte(invite))
	out.Send(to, []byte(invite))
	c, err := gw.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if a := c.RemoteAddr().(*net.TCPAddr); !a.IP.Equal(net.IPv4(127, 0, 0, 1)) {
		t.Errorf("called from %s", a)
	}
	if got := read(t, c, 2*len(invite)); got != invite+invite {
		t.Errorf("%q", got)
	}
	l.put(c, "SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP x\r\nl: 0\r\n\r\n")
	if p := l.got(); p.Flow.Remote != to.Remote || p.Flow.Conn == 0 {
		t.Errorf("%+v", p.Flow)
	}
	gone := to
	gone.Conn, gone.Remote = 1, netip.MustParseAddrPort("127.0.0.8:9")
	fallback := gw.Addr().(*net.TCPAddr).AddrPort()
	l.fallback.Store(&fallback)
	out.Send(gone, []byte("SIP/2.0 487 Gone\r\n\r\n"))
	if got := read(t, c, 20); !strings.Contains(got, "487") {
		t.Errorf("%q", got)
	}
	out.Send(gone, []byte(invite)) // but not a request: it is meant for that connection's peer alone
	if lost := <-l.lost; lost != invite {
		t.Errorf("%q", lost)
	}
	if err := gw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	l.until("ended", &l.counters.ended[endPeer], 1)
	out.Send(to, []byte(invite))
	if lost := <-l.lost; lost != invite {
		t.Errorf("%q", lost)
	}
	if l.dialing != 0 || l.Len() != 0 {
		t.Errorf("%d dialing, %d connections", l.dialing, l.Len())
	}
}

// TestStreamsDialTLS: a gateway must hold a certificate for the name that it was called by.
func TestStreamsDialTLS(t *testing.T) {
	verify := atomic.Bool{}
	l := newStreamLab(t, StreamOptions{
		VerifyPeers: verify.Load,
		ServerName:  func([]byte) string { return "gw.example.net" },
	})
	names := make(chan string, 4)
	gw, err := tls.Listen("tcp4", "127.0.0.9:0", &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		names <- h.ServerName
		return certificate(t, "other.example.net"), nil
	}}) //nolint:gosec // a test
	if err != nil {
		t.Fatal(err)
	}
	defer gw.Close()
	to := Flow{Group: 1, Proto: pb.Transport_TLS, Port: l.ports[2], Remote: gw.Addr().(*net.TCPAddr).AddrPort()}
	go func() {
		for {
			c, err := gw.Accept()
			if err != nil {
				return
			}
			b := make([]byte, len(invite))
			if _, err := io.ReadFull(c, b); err == nil {
				names <- string(b)
			}
			_ = c.Close()
		}
	}()
	out := l.u.NewSender()
	out.Send(to, []byte(invite))
	if got := <-names; got != "gw.example.net" {
		t.Errorf("asked for %q", got)
	}
	if got := <-names; got != invite {
		t.Errorf("%q", got)
	}
	l.until("ended", &l.counters.ended[endPeer], 1)
	verify.Store(true)
	out.Send(to, []byte(invite))
	if lost := <-l.lost; lost != invite {
		t.Errorf("%q", lost)
	}
}

// TestStreamsReuse: a connection of the peer's is used for requests once it is vouched for (RFC 5923).
func TestStreamsReuse(t *testing.T) {
	l := newStreamLab(t, StreamOptions{})
	c := l.dialTCP(pb.Transport_TCP)
	l.put(c, invite)
	f := l.got().Flow
	to := f
	to.Conn, to.Remote = 0, netip.AddrPortFrom(f.Remote.Addr(), 9)
	out := l.u.NewSender()
	out.Send(to, []byte(invite))
	<-l.lost // nobody listens there
	l.Reuse(f.Conn, 9)
	out.Send(to, []byte(invite))
	if got := read(t, c, len(invite)); got != invite {
		t.Errorf("%q", got)
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
