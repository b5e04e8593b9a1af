package scenario

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/goleak"

	"holdline/deploy/lab/phone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// standIn is the least that relays a call: a stateless, record-routing forwarder (RFC 3261 §16.11) that knows where users are.
// lose says which messages it swallows.
type standIn struct {
	conn  *net.UDPConn
	addr  netip.AddrPort
	done  chan struct{}
	mu    sync.Mutex
	users map[string]netip.AddrPort
	lose  func(start string) bool
}

func newStandIn(t *testing.T) *standIn {
	conn := loopback(t)
	p := &standIn{conn: conn, addr: netip.MustParseAddrPort(conn.LocalAddr().String()), done: make(chan struct{}), users: map[string]netip.AddrPort{}}
	go p.run()
	t.Cleanup(func() {
		conn.Close()
		<-p.done
	})
	return p
}

func loopback(t *testing.T) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func (p *standIn) losing(lose func(start string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose = lose
}

func (p *standIn) run() {
	defer close(p.done)
	parser, buf := sip.NewParser(), make([]byte, 65536)
	for {
		n, src, err := p.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		start, _, _ := strings.Cut(string(buf[:n]), "\r\n")
		msg, err := parser.ParseSIP(append([]byte(nil), buf[:n]...))
		p.mu.Lock()
		lost := err != nil || p.lose != nil && p.lose(start)
		p.mu.Unlock()
		if lost {
			continue
		}
		switch m := msg.(type) {
		case *sip.Request:
			p.request(m, src)
		case *sip.Response:
			m.RemoveHeader("Via")
			if via := m.Via(); via != nil {
				p.send(m, netip.AddrPortFrom(netip.MustParseAddr(via.Host), uint16(via.Port)))
			}
		}
	}
}

func (p *standIn) send(m sip.Message, to netip.AddrPort) {
	if _, err := p.conn.WriteToUDPAddrPort([]byte(m.String()), to); err != nil {
		return // the test has ended
	}
}

func (p *standIn) request(req *sip.Request, src netip.AddrPort) {
	to, known := p.next(req)
	if req.Method == sip.REGISTER {
		p.mu.Lock()
		p.users[req.From().Address.User] = src
		p.mu.Unlock()
		res := sip.NewResponseFromRequest(req, 200, "OK", nil)
		res.AppendHeader(req.Contact().Clone())
		p.send(res, src)
		return
	}
	if !known {
		if req.Method != sip.ACK {
			p.send(sip.NewResponseFromRequest(req, 404, "Not Found", nil), src)
		}
		return
	}
	branch := req.Via().Params.GetOr("branch", "")
	via := &sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: "UDP", Host: p.addr.Addr().String(), Port: int(p.addr.Port()), Params: sip.NewParams()}
	via.Params.Add("branch", branch+".p")
	req.RemoveHeader("Route")
	if req.Method == sip.INVITE {
		rr := sip.Uri{Scheme: "sip", Host: p.addr.Addr().String(), Port: int(p.addr.Port()), UriParams: sip.NewParams()}
		rr.UriParams.Add("lr", "")
		req.PrependHeader(&sip.RecordRouteHeader{Address: rr})
	}
	req.PrependHeader(via)
	p.send(req, to)
}

func (p *standIn) next(req *sip.Request) (netip.AddrPort, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ip, err := netip.ParseAddr(req.Recipient.Host); err == nil {
		return netip.AddrPortFrom(ip, uint16(req.Recipient.Port)), true
	}
	if to, ok := p.users[req.Recipient.User]; ok {
		return to, true
	}
	to, ok := p.users["gw"]
	return to, ok
}

// town is phones behind a stand-in, all registered.
func town(t *testing.T, n int, patience time.Duration) (*World, *standIn, *Planner, *Keeper) {
	t.Helper()
	p := newStandIn(t)
	var stats phone.Stats
	make := func(user, password string) *phone.Phone {
		e := phone.NewEndpoint(loopback(t), &stats)
		t.Cleanup(func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
		return phone.NewPhone(e, user, "example.com", password, p.addr)
	}
	var phones []*phone.Phone
	for i := range n {
		phones = append(phones, make(fmt.Sprintf("u%d", i), "secret"))
	}
	gateway := make("gw", "")
	p.mu.Lock()
	p.users["gw"] = gateway.Addr()
	p.mu.Unlock()
	k := &Keeper{Phones: phones, Every: 50 * time.Millisecond, Expires: time.Minute, Patience: patience}
	w := New("t", phones, gateway, patience)
	t.Cleanup(func() {
		w.Wait()
		if n := stats.Unparsed.Load(); n != 0 {
			t.Errorf("%d messages were not understood", n)
		}
	})
	return w, p, NewPlanner(1, phones, gateway, []netip.AddrPort{p.addr}), k
}
