package transport

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"
)

// told is an Unreachable that outlives its handler.
type told struct {
	remote netip.AddrPort
	hard   bool
	quoted string
}

func teller(ch chan told) func(Unreachable) {
	return func(x Unreachable) { ch <- told{x.Remote, x.Hard, string(x.Quoted)} }
}

// TestClosedPort: the host that refuses a datagram is named at once, with the beginning of what it refused, and nothing else that
// is sent or received on the socket suffers.
func TestClosedPort(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		t.Run(addr, func(t *testing.T) {
			const n = 100 // fits, twice, into the phone's receive buffer
			refused := make(chan told, n)
			u, eps := start(t, Options{Readers: 1, Handler: echo, Unreachable: teller(refused)}, addr)
			c := phone(t, addr)
			closed := netip.AddrPortFrom(netip.MustParseAddr(addr), freePort(t, addr))
			flow := Flow{Group: 1, Port: eps[0].Local.Port(), Remote: phoneAddr(c)}
			nobody := flow
			nobody.Remote = closed
			request := append([]byte("INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n"), bytes.Repeat([]byte{'x'}, 2000)...)
			out := u.NewSender()
			for i := range n {
				out.Send(nobody, request)
				out.Flush() // the error is pending for whoever calls next: the reader, or the next line
				out.Send(flow, fmt.Appendf(nil, "%d", i))
				out.Flush()
				send(t, c, eps[0].Local, fmt.Appendf(nil, "%d", i))
			}
			got := map[string]bool{}
			for range 2 * n {
				text, _ := receive(t, c)
				got[text] = true
			}
			for i := range n {
				if !got[fmt.Sprint(i)] || !got[fmt.Sprintf("1.0 %d", i)] {
					t.Fatalf("datagram %d is lost: %d of %d came", i, len(got), 2*n)
				}
				x := <-refused
				if x.remote != closed || !x.hard || len(x.quoted) < 400 || !bytes.HasPrefix(request, []byte(x.quoted)) {
					t.Fatalf("told %v, hard %v, quoting %d bytes %.30q", x.remote, x.hard, len(x.quoted), x.quoted)
				}
			}
			if s := u.Stats(); s.ICMPErrors != n || s.SendErrors != 0 || s.ReadErrors != 0 {
				t.Errorf("counted %+v", s)
			}
		})
	}
}

// TestClosedPortInBatch: errors that come while a batch is being sent cost none of it.
func TestClosedPortInBatch(t *testing.T) {
	const n = 150 // fits into the phone's receive buffer
	refused := make(chan told, n)
	u, eps := start(t, Options{Readers: 1, Handler: echo, Unreachable: teller(refused)}, "127.0.0.1")
	c := phone(t, "127.0.0.1")
	flow := Flow{Group: 1, Port: eps[0].Local.Port(), Remote: phoneAddr(c)}
	nobody := flow
	nobody.Remote = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), freePort(t, "127.0.0.1"))
	out := u.NewSender()
	for i := range n {
		out.Send(nobody, []byte("INVITE"))
		out.Send(flow, fmt.Appendf(nil, "%d", i))
	}
	out.Flush()
	for i := range n {
		if text, _ := receive(t, c); text != fmt.Sprint(i) {
			t.Fatalf("datagram %d: got %q", i, text)
		}
		<-refused
	}
	if s := u.Stats(); s.Sent != 2*n || s.SendErrors != 0 {
		t.Errorf("counted %+v", s)
	}
}

// TestNoRoute: what the kernel finds out itself is told too, but not as the host's word.
func TestNoRoute(t *testing.T) {
	ownNetwork(t)
	refused := make(chan told, 1)
	u, err := NewUDP(Options{Readers: 1, Handler: echo, Unreachable: teller(refused), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if err := u.SetEndpoints([]Endpoint{{Group: 1, Local: netip.MustParseAddrPort("127.0.0.1:5060")}}); err != nil {
		t.Fatal(err)
	}
	c := phone(t, "127.0.0.1")
	flow := Flow{Group: 1, Port: 5060, Remote: netip.MustParseAddrPort("192.0.2.7:5060")}
	out := u.NewSender()
	out.Send(flow, []byte("INVITE"))
	flow.Remote = phoneAddr(c)
	out.Send(flow, []byte("next"))
	out.Flush()
	if got, _ := receive(t, c); got != "next" {
		t.Errorf("got %q", got)
	}
	if x := <-refused; x.hard || x.remote.String() != "192.0.2.7:5060" || x.quoted != "INVITE" {
		t.Errorf("told %+v", x)
	}
	if s := u.Stats(); s.Sent != 1 || s.SendErrors != 1 {
		t.Errorf("counted %+v", s)
	}
}

// TestErrorsUnderTraffic: a socket at which errors and datagrams come at once serves on.
func TestErrorsUnderTraffic(t *testing.T) {
	u, eps := start(t, Options{Readers: 1, SendBuffer: 2048, Handler: func(out *Sender, batch []Packet) {
		for _, p := range batch {
			nobody := p.Flow
			nobody.Remote = netip.AddrPortFrom(p.Flow.Remote.Addr(), 9) // discard; closed
			out.Send(nobody, make([]byte, 1500))
			out.Send(p.Flow, p.Data)
		}
	}}, "127.0.0.1")
	c := phone(t, "127.0.0.1")
	for i := range 300 {
		want := fmt.Sprint(i)
		for got := ""; got != want; { // the tiny send buffer may cost the answer
			send(t, c, eps[0].Local, []byte(want))
			got = readSoon(t, c)
		}
	}
	if s := u.Stats(); s.ICMPErrors == 0 {
		t.Errorf("counted %+v", s)
	}
}

// readSoon returns the next datagram, or nothing after a while.
func readSoon(t *testing.T, c *net.UDPConn) string {
	t.Helper()
	defer func() {
		if err := c.SetReadDeadline(deadline()); err != nil {
			t.Fatal(err)
		}
	}()
	if err := c.SetReadDeadline(soon()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2048)
	n, _ := c.Read(b)
	return string(b[:n])
}

func soon() time.Time     { return time.Now().Add(100 * time.Millisecond) }
func deadline() time.Time { return time.Now().Add(patience) }
