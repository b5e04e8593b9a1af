package transport

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdline/fsm/pb"
)

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

// TestStreamsGivenUp: a connection that is given up while it is being opened was one of those being opened, and once.
func TestStreamsGivenUp(t *testing.T) {
	l := newStreamLab(t, StreamOptions{})
	gw, err := net.Listen("tcp4", "127.0.0.9:0")
	if err != nil {
		t.Fatal(err)
	}
	defer gw.Close()
	to := Flow{Group: 1, Proto: pb.Transport_TLS, Port: l.ports[pb.Transport_TLS], Remote: gw.Addr().(*net.TCPAddr).AddrPort()}
	l.u.NewSender().Send(to, []byte(invite))
	c, err := gw.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	read(t, c, 1) // TLS has begun, and waits for us
	l.DropGroup(1)
	if lost := <-l.lost; lost != invite {
		t.Errorf("%q", lost)
	}
	l.until("given up", &l.counters.dialsFailed, 1)
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.dialing != 0 {
		t.Errorf("%d connections are being opened, want none", l.dialing)
	}
}

// TestStreamsDialTLS: a gateway must hold a certificate for the name that it was called by.
func TestStreamsDialTLS(t *testing.T) {
	verify := atomic.Bool{}
	l := newStreamLab(t, StreamOptions{
		VerifyPeers: verify.Load,
		ServerName:  func([]byte) (string, bool) { return "gw.example.net", false },
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

// TestMendPeer: what is said of a peer that cannot be verified fits what is wrong with it; to go without verifying comes last.
func TestMendPeer(t *testing.T) {
	gw, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*certificate(t, "gw.example.net")}}) //nolint:gosec // a test
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := gw.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1)) // shakes hands, and is refused
			_ = c.Close()
		}
	}()
	defer func() {
		gw.Close()
		<-done
	}()
	for name, want := range map[string]string{
		"gw.example.net":    "add the authority that signed its certificate on every box (update-ca-certificates), which counts after `systemctl restart holdline`",
		"other.example.net": "have its certificate mended, or the name that it is called by",
	} {
		_, err := tls.Dial("tcp4", gw.Addr().String(), &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12})
		said := mendPeer(err)
		if first, last := strings.Index(said, want), strings.Index(said, "sip.tls-verify no"); first < 0 || last < first {
			t.Errorf("of %s (%v): %s", name, err, said)
		}
	}
	if said := mendPeer(io.EOF); said != "" {
		t.Errorf("of a connection that broke: %s", said)
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
