package phone

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// exchange is a server that phones connect to: it hands out each connection made.
type exchange struct {
	l     net.Listener
	conns chan *line
}

type line struct {
	net.Conn
	r *bufio.Reader
}

func newExchange(t *testing.T) *exchange {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &exchange{l: l, conns: make(chan *line, 10)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			x.conns <- &line{c, bufio.NewReader(c)}
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return x
}

func (x *exchange) addr() netip.AddrPort { return netip.MustParseAddrPort(x.l.Addr().String()) }

// phone is one that reaches the exchange over TCP.
func (x *exchange) phone(t *testing.T, user string) *Phone {
	t.Helper()
	var d net.Dialer
	s := NewStreams("TCP", netip.MustParseAddrPort("127.0.0.1:9"), func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		return d.DialContext(ctx, "tcp4", to.String())
	})
	p := NewPhone(NewEndpoint(s, &Stats{}), user, "example.com", "secret", x.addr())
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// next is the next connection that a phone makes.
func (x *exchange) next(t *testing.T) *line {
	t.Helper()
	select {
	case c := <-x.conns:
		t.Cleanup(func() { c.Close() })
		return c
	case <-time.After(10 * time.Second):
		t.Fatal("no connection")
		return nil
	}
}

func (l *line) request(t *testing.T) *sip.Request {
	t.Helper()
	raw, err := readMessage(l.r)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := sip.NewParser().ParseSIP(raw)
	if err != nil {
		t.Fatal(err)
	}
	return msg.(*sip.Request)
}

func (l *line) say(t *testing.T, text string) {
	t.Helper()
	if _, err := l.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// A REGISTER whose connection breaks goes again over a new one, as the same transaction, and the phone is told to register.
func TestBrokenConnectionIsMadeAgain(t *testing.T) {
	x := newExchange(t)
	p := x.phone(t, "alice")
	result := make(chan error, 1)
	go func() {
		res, err := p.Register(within(t, 10*time.Second), time.Minute)
		if err == nil && res.StatusCode != 200 {
			err = errors.New(res.Short())
		}
		result <- err
	}()
	one := x.next(t)
	first := one.request(t)
	if !strings.Contains(first.Contact().Value(), "transport=tcp") || !strings.Contains(first.Contact().Value(), "+sip.instance=") || first.Via().Transport != "TCP" {
		t.Errorf("the REGISTER does not say that it comes over TCP:\n%s", first)
	}
	started := time.Now()
	one.Close()
	two := x.next(t)
	again := two.request(t)
	if a, b := first.Via().Params.GetOr("branch", ""), again.Via().Params.GetOr("branch", "?"); a != b {
		t.Errorf("branch %s, then %s: another transaction", a, b)
	}
	two.say(t, sip.NewResponseFromRequest(again, 200, "OK", nil).String())
	if err := <-result; err != nil {
		t.Error(err)
	}
	select {
	case <-p.Broke():
	default:
		t.Error("the phone does not know that its connection broke")
	}
	if !p.BrokeSince(started) || p.BrokeSince(time.Now()) {
		t.Error("nor when")
	}
}

// A set-up does not: it has failed.
func TestSetupOnABrokenConnectionFails(t *testing.T) {
	x := newExchange(t)
	p := x.phone(t, "alice")
	result := make(chan error, 1)
	go func() {
		_, _, err := p.Request(within(t, 10*time.Second), p.NewRequest(sip.INVITE, "bob"))
		result <- err
	}()
	one := x.next(t)
	one.request(t)
	one.Close()
	if err := <-result; !errors.Is(err, ErrBroken) {
		t.Errorf("%v; want %v", err, ErrBroken)
	}
}

// A response whose connection has broken goes over a new one to the same VIP (RFC 3261 §18.2.2).
func TestResponseOverANewConnection(t *testing.T) {
	x := newExchange(t)
	p := x.phone(t, "bob")
	asked := make(chan *Server, 1)
	p.Handle(func(s *Server) { asked <- s })
	c, err := p.Send(p.NewRequest(sip.OPTIONS, "bob"), x.addr()) // opens the connection
	if err != nil {
		t.Fatal(err)
	}
	one := x.next(t)
	one.say(t, sip.NewResponseFromRequest(one.request(t), 200, "OK", nil).String())
	if _, err := c.Final(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	one.say(t, fmt.Sprintf("\r\n\r\nOPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TCP %v;branch=z9hG4bKx;rport\r\nFrom: <sip:a@example.com>;tag=1\r\n"+
		"To: <sip:bob@example.com>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nl: 3\r\n\r\nabc", x.addr()))
	s := <-asked
	one.Close()
	<-p.Broke()
	s.Respond(200, "OK")
	two := x.next(t)
	raw, err := readMessage(two.r)
	if err != nil || !strings.HasPrefix(string(raw), "SIP/2.0 200 OK\r\n") {
		t.Errorf("%q, %v", raw, err)
	}
}

func TestReadMessage(t *testing.T) {
	long := strings.Repeat("x", maxMessage)
	for in, want := range map[string]string{
		"\r\n\r\nA\r\nContent-Length: 2\r\n\r\nhi": "A\r\nContent-Length: 2\r\n\r\nhi",
		"A\r\n\r\nB":                                "A\r\n\r\n",
		"A\r\nl : 1\r\n\r\nB":                       "A\r\nl : 1\r\n\r\nB",
		"A\r\nContent-Length: x\r\n\r\n":            "",
		"A\r\nContent-Length: -1\r\n\r\n":           "",
		"A\r\nContent-Length: 3\r\n\r\nhi":          "",
		"A\r\nContent-Length: 99999999\r\n\r\n":     "",
		"A\r\nB: " + long + "\r\n\r\n":              "",
		strings.Repeat("A: b\r\n", maxMessage/4+10): "",
	} {
		got, err := readMessage(bufio.NewReader(strings.NewReader(in)))
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%.40q: %.60q, %v", in, got, err)
		}
	}
}
