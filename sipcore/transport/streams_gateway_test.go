package transport

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"holdline/fsm/pb"
)

// tlsGateway listens for TLS, shows the certificate that the test says, and tells which name it was asked for.
type tlsGateway struct {
	flow     Flow // to it
	shows    atomic.Pointer[tls.Certificate]
	asked    chan string
	accepted chan net.Conn
}

func (n *namedLab) gateway(addr string) *tlsGateway {
	n.t.Helper()
	g := &tlsGateway{asked: make(chan string, 16), accepted: make(chan net.Conn, 16)}
	ln, err := tls.Listen("tcp4", addr+":0", &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		g.asked <- h.ServerName
		return g.shows.Load(), nil
	}}) //nolint:gosec // a test
	if err != nil {
		n.t.Fatal(err)
	}
	done := make(chan struct{})
	n.t.Cleanup(func() { _ = ln.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n.t.Cleanup(func() { _ = c.Close() })
			if c.SetDeadline(time.Now().Add(20*time.Second)) == nil && c.(*tls.Conn).Handshake() == nil {
				g.accepted <- c
			}
		}
	}()
	g.flow = Flow{Group: 1, Proto: pb.Transport_TLS, Port: n.ports[pb.Transport_TLS], Remote: ln.Addr().(*net.TCPAddr).AddrPort()}
	return g
}

// fresh ends all connections with gateways.
func (n *namedLab) fresh() {
	n.t.Helper()
	n.DropGroup(1)
	for end := time.Now().Add(20 * time.Second); n.Len() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			n.t.Fatal("connections stay")
		}
	}
}

// TestStreamsGatewayNames: a request of a dialog that goes to a gateway's bare address goes to a peer that proves one of the gateway's names, or that
// address; others go by what they name, and an address of nobody must be proven itself.
func TestStreamsGatewayNames(t *testing.T) {
	gw, other, unknown := certificate(t, "gw.example.net"), certificate(t, "other.example.net"), certificate(t, "gw.example.net")
	authorities := x509.NewCertPool()
	authorities.AddCert(gw.Leaf)
	authorities.AddCert(other.Leaf)
	n := newNamedLab(t, authorities)
	nine, one := n.gateway("127.0.0.9"), n.gateway("127.0.0.1") // certificates of tests are for the latter's address, too
	dialog := func(g *tlsGateway) callee { return callee{name: g.flow.Remote.Addr().String(), dialog: true} }
	names := func(names ...string) { n.gateways.Store(&names) }
	asked := func(g *tlsGateway, want string) {
		t.Helper()
		select {
		case got := <-g.asked:
			if got != want {
				t.Errorf("asked for %q, want %q", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("nobody asks for %q", want)
		}
	}

	accepted := func(g *tlsGateway) net.Conn {
		t.Helper()
		select {
		case c := <-g.accepted:
			return c
		case <-time.After(20 * time.Second):
			t.Fatal("no connection comes about")
		}
		return nil
	}

	names("gw.example.net")
	nine.shows.Store(gw)
	n.request(nine.flow, dialog(nine))
	asked(nine, "gw.example.net")
	c := accepted(nine)
	n.arrives("to a gateway's address", c, invite)
	n.request(nine.flow, dialog(nine))
	n.arrives("again", c, invite)
	n.request(nine.flow, callee{name: "gw.example.net"})
	n.arrives("to the name that was proven", c, invite)
	n.refused(nine.flow, callee{name: nine.flow.Remote.Addr().String()})
	asked(nine, "")
	n.refused(nine.flow, callee{name: "sbc.example.net"})
	asked(nine, "sbc.example.net")
	n.fresh()

	n.refused(nine.flow, callee{name: "sbc.example.net", dialog: true})
	asked(nine, "sbc.example.net")
	const ok = "SIP/2.0 200 OK\r\n\r\n"
	n.who.Store(&callee{dialog: true}) // it names nobody
	n.out.Send(nine.flow, []byte(ok))
	asked(nine, "gw.example.net")
	n.arrives("a response", accepted(nine), ok)
	n.fresh()

	for what, cert := range map[string]*tls.Certificate{"another name": other, "an unknown authority": unknown} {
		nine.shows.Store(cert)
		n.refused(nine.flow, dialog(nine))
		asked(nine, "gw.example.net")
		if n.Len() > 0 {
			t.Errorf("a connection with %s", what)
		}
	}
	one.shows.Store(other)
	n.request(one.flow, dialog(one))
	asked(one, "gw.example.net")
	n.arrives("to who proves the address", accepted(one), invite)
	n.fresh()

	names()
	nine.shows.Store(gw)
	n.refused(nine.flow, dialog(nine))
	asked(nine, "")

	names("first.example.net", "gw.example.net")
	n.request(nine.flow, dialog(nine))
	asked(nine, "first.example.net")
	c = accepted(nine)
	n.arrives("to the second of two gateways", c, invite)
	n.request(nine.flow, callee{name: "gw.example.net"})
	n.arrives("to its name", c, invite)
	n.refused(nine.flow, callee{name: "first.example.net"})
	asked(nine, "first.example.net")
	n.fresh()

	n.verify.Store(false)
	nine.shows.Store(other)
	n.request(nine.flow, dialog(nine))
	asked(nine, "first.example.net")
	n.arrives("unverified", accepted(nine), invite)
}

// TestStreamsGatewayPending: until a peer has proven one of several names, its connection is for requests of dialogs alone.
func TestStreamsGatewayPending(t *testing.T) {
	n := newNamedLab(t, nil)
	n.gateways.Store(&[]string{"first.example.net", "gw.example.net"})
	ln, err := net.Listen("tcp4", "127.0.0.9:0") // which never shakes hands
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	to := Flow{Group: 1, Proto: pb.Transport_TLS, Port: n.ports[pb.Transport_TLS], Remote: ln.Addr().(*net.TCPAddr).AddrPort()}
	for i, who := range []callee{{name: "127.0.0.9", dialog: true}, {name: "127.0.0.9", dialog: true}, {name: "first.example.net"}, {name: "first.example.net"}} {
		n.request(to, who)
		if got, want := n.counters.dialed.Load(), uint64(1+i/2); got != want {
			t.Errorf("%d connections were begun, want %d", got, want)
		}
	}
	n.DropGroup(1)
	for range 4 {
		<-n.lost
	}
}
