package sipcore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"

	"holdline/domains"
	"holdline/fsm/pb"
	"holdline/sipcore/transport"
)

// softphone is a user agent on sipgo's own transports.
type softphone struct {
	t         *testing.T
	user      string
	transport string
	proxy     string
	supported string // of its REGISTERs
	ua        sipgo.DialogUA
	client    *sipgo.Client
	in        chan *sipgo.DialogServerSession
	acked     chan string // Record-Route of each INVITE that was acknowledged
	byes      chan struct{}
	hangUp    func() error // closes its connections
}

// port is where the lab's VIPs serve a transport.
func (l *lab) streamPort(name string) int {
	return int(l.port) + map[string]int{"udp": 0, "tcp": 0, "tls": 1, "ws": 2, "wss": 3}[name]
}

func (l *lab) softphone(t *testing.T, user, name string, vip int) *softphone {
	t.Helper()
	md5, sha := domains.HA1(user, "example.com", "secret-"+user)
	l.ok(&pb.Command{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: &pb.User{
		Aor: user + "@example.com", Ha1Md5: md5[:], Ha1Sha256: sha[:],
	}}}})
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	ua, err := sipgo.NewUA(sipgo.WithUserAgent(user), sipgo.WithUserAgenTLSConfig(&tls.Config{InsecureSkipVerify: true}), //nolint:gosec // a test
		sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(quiet)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ua.Close() })
	p := &softphone{
		t: t, user: user, transport: name, in: make(chan *sipgo.DialogServerSession, 4), acked: make(chan string, 4), byes: make(chan struct{}, 4), hangUp: ua.Close,
		proxy: fmt.Sprintf("127.0.0.%d:%d", 101+vip, l.streamPort(name)),
	}
	if p.client, err = sipgo.NewClient(ua, sipgo.WithClientHostname("127.0.0.1"), sipgo.WithClientLogger(quiet)); err != nil {
		t.Fatal(err)
	}
	srv, err := sipgo.NewServer(ua, sipgo.WithServerLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	contact := sip.Uri{Scheme: "sip", User: user, Host: "127.0.0.1", Port: 9}
	if name == "udp" {
		pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = pc.Close() })
		contact.Port = pc.LocalAddr().(*net.UDPAddr).Port
		go func() { _ = srv.ServeUDP(pc) }()
	} else {
		contact.UriParams = sip.NewParams()
		contact.UriParams.Add("transport", name)
	}
	p.ua = sipgo.DialogUA{Client: p.client, ContactHDR: sip.ContactHeader{Address: contact}}
	sessions := make(chan *sipgo.DialogServerSession, 1)
	srv.OnInvite(func(req *sip.Request, tx sip.ServerTransaction) {
		d, err := p.ua.ReadInvite(req, tx)
		if err != nil {
			return
		}
		sessions <- d
		_ = d.Respond(180, "Ringing", nil)
		_ = d.Respond(200, "OK", nil)
		p.in <- d
	})
	srv.OnAck(func(req *sip.Request, tx sip.ServerTransaction) {
		d := <-sessions
		_ = d.ReadAck(req, tx)
		var rr []string
		for _, h := range d.InviteRequest.GetHeaders("Record-Route") {
			rr = append(rr, h.Value())
		}
		p.acked <- strings.Join(rr, "|")
	})
	srv.OnBye(func(req *sip.Request, tx sip.ServerTransaction) {
		_ = tx.Respond(sip.NewResponseFromRequest(req, 200, "OK", nil))
		p.byes <- struct{}{}
	})
	return p
}

func (p *softphone) request(method sip.RequestMethod, user string) *sip.Request {
	req := sip.NewRequest(method, sip.Uri{Scheme: "sip", User: user, Host: "example.com"})
	from := &sip.FromHeader{Address: sip.Uri{Scheme: "sip", User: p.user, Host: "example.com"}, Params: sip.NewParams()}
	from.Params.Add("tag", sip.GenerateTagN(8))
	req.AppendHeader(from)
	if user == "" {
		user = p.user
	}
	req.AppendHeader(&sip.ToHeader{Address: sip.Uri{Scheme: "sip", User: user, Host: "example.com"}, Params: sip.NewParams()})
	req.AppendHeader(sip.HeaderClone(&p.ua.ContactHDR))
	req.SetTransport(strings.ToUpper(p.transport))
	req.SetDestination(p.proxy)
	return req
}

func (p *softphone) register(ctx context.Context) *sip.Response {
	p.t.Helper()
	req := p.request(sip.REGISTER, "")
	if p.supported != "" {
		req.AppendHeader(sip.NewHeader("Supported", p.supported))
	}
	res, err := p.client.Do(ctx, req)
	if err == nil && res.StatusCode == 401 {
		res, err = p.client.DoDigestAuth(ctx, req, res, sipgo.DigestAuth{Username: p.user, Password: "secret-" + p.user})
	}
	if err != nil || res.StatusCode != 200 {
		p.t.Fatalf("REGISTER over %s: %v %v", p.transport, res, err)
	}
	return res
}

func (p *softphone) call(ctx context.Context, user string) *sipgo.DialogClientSession {
	p.t.Helper()
	d, err := p.ua.WriteInvite(ctx, p.request(sip.INVITE, user))
	if err == nil {
		err = d.WaitAnswer(ctx, sipgo.AnswerOptions{Username: p.user, Password: "secret-" + p.user})
	}
	if err == nil {
		err = d.Ack(ctx)
	}
	if err != nil {
		p.t.Fatalf("INVITE over %s: %v", p.transport, err)
	}
	p.t.Cleanup(func() { _ = d.Close() })
	return d
}

func testCertificates(t testing.TB) *transport.Certificates {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c := new(transport.Certificates)
	c.Set(nil, &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
	return c
}

// TestTransports: phones on every transport register, call each other and hang up from either side; where the sides differ
// there are two Record-Routes, each naming its side's transport (RFC 5658).
func TestTransports(t *testing.T) {
	for _, c := range []struct {
		caller, callee string
		nodes          int
	}{
		{"tcp", "tcp", 1}, {"tls", "tls", 1}, {"ws", "ws", 1}, {"wss", "tls", 1}, {"udp", "tcp", 1}, {"tcp", "udp", 1}, {"ws", "udp", 2}, {"tcp", "tls", 2},
	} {
		t.Run(fmt.Sprintf("%s to %s on %d", c.caller, c.callee, c.nodes), func(t *testing.T) {
			l := newLab(t, c.nodes)
			ctx := within(t)
			alice, bob := l.softphone(t, "alice", c.caller, 0), l.softphone(t, "bob", c.callee, c.nodes-1)
			alice.register(ctx)
			bob.register(ctx)
			for _, callerHangsUp := range []bool{true, false} {
				d := alice.call(ctx, "bob")
				in := <-bob.in
				rr := strings.Split(receive(t, ctx, bob.acked), "|")
				wantRR(t, l, rr, c.callee, c.nodes-1, c.caller)
				if callerHangsUp {
					if err := d.Bye(ctx); err != nil {
						t.Fatal("BYE of the caller:", err)
					}
					receive(t, ctx, bob.byes)
				} else {
					if err := in.Bye(ctx); err != nil {
						t.Fatal("BYE of the callee:", err)
					}
					receive(t, ctx, alice.byes)
				}
			}
			if n := l.log.m.Counts().Calls; n != 0 {
				t.Errorf("%d calls in the replicated state", n)
			}
		})
	}
}

func receive[T any](t *testing.T, ctx context.Context, ch chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-ctx.Done():
		t.Fatal("what was waited for does not come")
	}
	panic("unreachable")
}

func wantRR(t *testing.T, l *lab, rr []string, callee string, vip int, caller string) {
	t.Helper()
	side := func(name string, vip int) string {
		s := fmt.Sprintf("<sip:127.0.0.%d:%d", 101+vip, l.streamPort(name))
		if name != "udp" {
			s += ";transport=" + name
		}
		return s + ";lr;hl="
	}
	want := []string{side(callee, vip), side(caller, 0)}
	if callee == caller && vip == 0 {
		want = want[:1]
	}
	ok := len(rr) == len(want)
	for i := range want {
		ok = ok && strings.HasPrefix(rr[i], want[i])
	}
	if !ok {
		t.Errorf("Record-Route %q, want %q", rr, want)
	}
}

// TestGoneConnection: a call to a phone whose connection is gone fails at once; so it does when the phone's VIP is another node's.
func TestGoneConnection(t *testing.T) {
	for _, nodes := range []int{1, 2} {
		l := newLab(t, nodes)
		ctx := within(t)
		alice, bob := l.softphone(t, "alice", "tcp", 0), l.softphone(t, "bob", "tcp", nodes-1)
		alice.register(ctx)
		bob.register(ctx)
		conns := l.cores[nodes-1].streams.Len()
		if err := bob.hangUp(); err != nil {
			t.Fatal(err)
		}
		for l.cores[nodes-1].streams.Len() == conns {
			if time.Sleep(time.Millisecond); ctx.Err() != nil {
				t.Fatal("the connection stays")
			}
		}
		began := time.Now()
		d, err := alice.ua.WriteInvite(ctx, alice.request(sip.INVITE, "bob"))
		if err != nil {
			t.Fatal(err)
		}
		err = d.WaitAnswer(ctx, sipgo.AnswerOptions{Username: "alice", Password: "secret-alice"})
		var res sipgo.ErrDialogResponse
		if r, ok := err.(*sipgo.ErrDialogResponse); ok {
			res = *r
		}
		if res.Res == nil || res.Res.StatusCode != 480 || time.Since(began) > 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if n := l.log.m.Counts().Calls; n != 0 {
			t.Errorf("%d calls in the replicated state", n)
		}
	}
}

// TestGatewayOverTCP: a pool member is called over TCP from the VIP; when nobody listens there the next one is tried.
func TestGatewayOverTCP(t *testing.T) {
	l := newLab(t, 1)
	ctx := within(t)
	ln, err := net.Listen("tcp4", "127.0.0.9:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dead, err := net.Listen("tcp4", "127.0.0.9:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	l.ok(&pb.Command{Op: &pb.Command_PutPool{PutPool: &pb.PutPool{Pool: &pb.Pool{Name: "p", Algorithm: "round-robin"}}}})
	for i, a := range []net.Addr{dead.Addr(), ln.Addr()} {
		l.ok(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: &pb.Member{
			Pool: "p", Name: fmt.Sprint("m", i), Address: a.String(), Transport: "tcp",
		}}}})
	}
	l.ok(&pb.Command{Op: &pb.Command_PutRoute{PutRoute: &pb.PutRoute{Route: &pb.Route{Domain: "example.com", Pool: "p"}}}})
	got := make(chan string, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 4096)
		n, _ := c.Read(b)
		got <- c.RemoteAddr().(*net.TCPAddr).IP.String() + " " + string(b[:n])
		<-ctx.Done()
	}()
	alice := l.softphone(t, "alice", "udp", 0)
	alice.register(ctx)
	d, err := alice.ua.WriteInvite(ctx, alice.request(sip.INVITE, "0049123"))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = d.WaitAnswer(ctx, sipgo.AnswerOptions{Username: "alice", Password: "secret-alice"}) }()
	begun := time.Now()
	msg := receive(t, ctx, got)
	if took := time.Since(begun); took > 2*time.Second { // silence is given up after 4 s
		t.Errorf("the second gateway was called after %v", took)
	}
	vip := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.101"), l.port)
	for _, want := range []string{
		"127.0.0.101 INVITE sip:0049123@" + ln.Addr().String() + ";transport=tcp SIP/2.0\r\n",
		"\r\nVia: SIP/2.0/TCP " + vip.String() + ";branch=", "\r\nRecord-Route: <sip:" + vip.String() + ";transport=tcp;lr;hl=",
	} {
		if !strings.Contains(msg, want) {
			t.Errorf("%q is missing in\n%s", want, msg)
		}
	}
}

// TestLargeRequest: a gateway that is marked for it gets long requests over TCP, and short ones over UDP (RFC 3261 §18.1.1).
func TestLargeRequest(t *testing.T) {
	l := newLab(t, 1)
	ctx := within(t)
	ln, err := net.Listen("tcp4", "127.0.0.9:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	pc, err := net.ListenPacket("udp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	l.ok(&pb.Command{Op: &pb.Command_PutPool{PutPool: &pb.PutPool{Pool: &pb.Pool{Name: "p", Algorithm: "round-robin"}}}})
	l.ok(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: &pb.Member{
		Pool: "p", Name: "m", Address: ln.Addr().String(), LargeOverTcp: true,
	}}}})
	l.ok(&pb.Command{Op: &pb.Command_PutRoute{PutRoute: &pb.PutRoute{Route: &pb.Route{Domain: "example.com", Pool: "p"}}}})
	got := make(chan string, 2)
	go func() {
		b := make([]byte, 65536)
		if n, _, err := pc.ReadFrom(b); err == nil {
			got <- string(b[:n])
		}
	}()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 65536)
		n, _ := c.Read(b)
		got <- string(b[:n])
		<-ctx.Done()
	}()
	alice := l.softphone(t, "alice", "tcp", 0)
	alice.register(ctx)
	for _, c := range []struct {
		body int
		via  string
	}{{100, "SIP/2.0/UDP"}, {3000, "SIP/2.0/TCP"}} {
		req := alice.request(sip.INVITE, "0049123")
		req.SetBody([]byte(strings.Repeat("x", c.body)))
		d, err := alice.ua.WriteInvite(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = d.WaitAnswer(ctx, sipgo.AnswerOptions{Username: "alice", Password: "secret-alice"}) }()
		if msg := receive(t, ctx, got); !strings.Contains(msg, "\r\nVia: "+c.via) {
			t.Errorf("%d bytes of body:\n%s", c.body, msg)
		}
	}
}
