package transport

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"holdline/fsm/pb"
)

// namedLab is a streamLab whose requests over TLS are meant for what the test says, and who is verified if the test says so.
type namedLab struct {
	*streamLab
	who      atomic.Pointer[callee]
	gateways atomic.Pointer[[]string] // called at any address
	verify   atomic.Bool
	out      *Sender
}

func newNamedLab(t *testing.T, authorities *x509.CertPool) *namedLab {
	n := &namedLab{}
	n.who.Store(&callee{})
	n.gateways.Store(&[]string{})
	n.verify.Store(true)
	n.streamLab = newStreamLab(t, StreamOptions{
		Authorities: authorities, VerifyPeers: n.verify.Load,
		ServerName:   func([]byte) (string, bool) { w := n.who.Load(); return w.name, w.dialog },
		GatewayNames: func(netip.Addr) []string { return slices.Clone(*n.gateways.Load()) },
	})
	n.out = n.u.NewSender()
	return n
}

// request sends a request that is meant for who.
func (n *namedLab) request(to Flow, who callee) {
	n.who.Store(&who)
	n.out.Send(to, []byte(invite))
}

// refused sends one that must not be delivered.
func (n *namedLab) refused(to Flow, who callee) {
	n.t.Helper()
	n.request(to, who)
	select {
	case lost := <-n.lost:
		if lost != invite {
			n.t.Errorf("to %q: %q", who.name, lost)
		}
	case <-time.After(20 * time.Second):
		n.t.Fatalf("a request to %q was sent", who.name)
	}
}

// arrives waits for the next request or response on one of a gateway's connections.
func (n *namedLab) arrives(what string, c net.Conn, msg string) {
	n.t.Helper()
	if got := read(n.t, c, len(msg)); got != msg {
		n.t.Errorf("%s: %q", what, got)
	}
}

// TestStreamsNames: over TLS a connection carries requests for the name that its peer has proven, and those of dialogs; for others there
// is one of their own, or none. Where nobody is verified, one serves all.
func TestStreamsNames(t *testing.T) {
	cert := certificate(t, "a.example.net", "c.example.net")
	authorities := x509.NewCertPool()
	authorities.AddCert(cert.Leaf)
	n := newNamedLab(t, authorities)
	gw, err := tls.Listen("tcp4", "127.0.0.9:0", &tls.Config{Certificates: []tls.Certificate{*cert}}) //nolint:gosec // a test
	if err != nil {
		t.Fatal(err)
	}
	defer gw.Close()
	accepted := make(chan net.Conn, 4)
	go func() {
		for {
			c, err := gw.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
			if c.SetDeadline(time.Now().Add(20*time.Second)) == nil && c.(*tls.Conn).Handshake() == nil {
				accepted <- c
			}
		}
	}()
	to := Flow{Group: 1, Proto: pb.Transport_TLS, Port: n.ports[pb.Transport_TLS], Remote: gw.Addr().(*net.TCPAddr).AddrPort()}

	n.request(to, callee{name: "a.example.net"})
	n.request(to, callee{name: "A.example.net."})
	a := <-accepted
	n.arrives("to its name", a, invite+invite)
	for _, who := range []callee{{name: "b.example.net"}, {name: to.Remote.Addr().String()}, {}} {
		n.refused(to, who)
	}
	n.request(to, callee{name: "c.example.net"})
	c := <-accepted
	n.arrives("to another name of its", c, invite)
	n.request(to, callee{name: to.Remote.Addr().String(), dialog: true})
	n.arrives("in a dialog", a, invite)
	n.request(to, callee{name: "c.example.net", dialog: true})
	n.arrives("in a dialog, to a name", c, invite)
	const ok = "SIP/2.0 200 OK\r\n\r\n"
	n.out.Send(to, []byte(ok))
	n.arrives("a response", a, ok)

	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	n.until("ended", &n.counters.ended[endPeer], 4) // those that did not come about, too
	n.request(to, callee{name: to.Remote.Addr().String(), dialog: true})
	n.arrives("in a dialog, of the connections that are left", c, invite)
	n.verify.Store(false)
	n.request(to, callee{name: "b.example.net"})
	n.arrives("to a name that nobody need prove", c, invite)

	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	n.until("ended", &n.counters.ended[endPeer], 5)
	n.request(to, callee{name: "b.example.net"})
	b := <-accepted
	n.arrives("over a connection on which nothing was proven", b, invite)
	n.verify.Store(true)
	n.request(to, callee{name: "a.example.net"})
	n.arrives("to its name, now that it is to be proven", <-accepted, invite)
	n.until("dialed", &n.counters.dialed, 7)
	n.mu.RLock()
	defer n.mu.RUnlock()
	if len(n.conns) != 2 || len(n.peers) != 1 || len(n.peers[to.peer()]) != 2 || n.dialing != 0 {
		t.Errorf("%d connections, %d peers, %d dialing", len(n.conns), len(n.peers), n.dialing)
	}
}

// TestStreamsReuseTLS: a connection that the peer has opened proves no name. It is used for requests where none is wanted.
func TestStreamsReuseTLS(t *testing.T) {
	n := newNamedLab(t, nil)
	n.o.Certificates.Set(nil, certificate(t, "self"))
	c := tls.Client(n.dialTCP(pb.Transport_TLS), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a test
	n.put(c, invite)
	f := n.got().Flow
	to := f
	to.Conn, to.Remote = 0, netip.AddrPortFrom(f.Remote.Addr(), 9)
	n.Reuse(f.Conn, 9)
	for _, who := range []callee{{name: "gw.example.net"}, {name: "127.0.0.1"}, {name: "127.0.0.1", dialog: true}} {
		n.refused(to, who)
	}
	n.verify.Store(false)
	n.request(to, callee{name: "gw.example.net"})
	n.arrives("unverified", c, invite)
}
