package sipcore

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"

	"holdline/domains"
	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// stage is where a torture message is played: a core with real sockets, somebody who sends from an address that is trusted, and a gateway that gets
// what is relayed.
type stage struct {
	t       *testing.T
	l       *lab
	name    string // transport of the sender
	sender  end
	other   end // where answers come that the top Via wants at another port than 5060, over UDP
	gateway end
}

const gatewayAddr = "127.0.0.8"

// senderAddr is where the sender is, at port 5060, which a Via without one means: an address of this process, for others run this test on the same machine.
var senderAddr = fmt.Sprintf("127.%d.%d.%d", 64+os.Getpid()>>16&63, os.Getpid()>>8&255, os.Getpid()&255)

// end is one end of a test's signalling, which is read by the goroutine of the test.
type end struct {
	t    *testing.T
	udp  *net.UDPConn
	tcp  net.Conn
	to   net.Addr // UDP
	rest []byte   // TCP: read and not taken yet
	seen []string // UDP: what comes again is left out
}

func (e *end) send(b []byte) {
	e.t.Helper()
	var err error
	if e.tcp != nil {
		_, err = e.tcp.Write(b)
	} else {
		_, err = e.udp.WriteTo(b, e.to)
	}
	if err != nil {
		e.t.Fatal(err)
	}
}

// next is the next message, "" when the connection has been closed instead.
func (e *end) next() string {
	e.t.Helper()
	limit := time.Now().Add(10 * time.Second)
	if e.tcp != nil {
		_ = e.tcp.SetReadDeadline(limit)
		return e.cut()
	}
	_ = e.udp.SetReadDeadline(limit)
	b := make([]byte, 1<<16)
	for {
		n, _, err := e.udp.ReadFrom(b)
		if err != nil {
			e.t.Fatal(err)
		}
		if msg := string(b[:n]); !slices.Contains(e.seen, msg) { // on a slow machine a retransmission
			e.seen = append(e.seen, msg)
			return msg
		}
	}
}

// cut is the next message of a stream.
func (e *end) cut() string {
	e.t.Helper()
	b := make([]byte, 1<<16)
	for {
		head, _, whole := bytes.Cut(e.rest, []byte("\r\n\r\n"))
		if m := regexp.MustCompile(`(?i)\r\n(?:content-length|l) *: *(\d+)`).FindSubmatch(head); whole && m != nil {
			length, err := strconv.Atoi(string(m[1]))
			if err != nil {
				e.t.Fatal(err)
			}
			if n := len(head) + 4 + length; len(e.rest) >= n {
				msg := string(e.rest[:n])
				e.rest = e.rest[n:]
				return msg
			}
		}
		n, err := e.tcp.Read(b)
		e.rest = append(e.rest, b[:n]...)
		switch {
		case err == nil || n > 0:
		case errors.Is(err, os.ErrDeadlineExceeded) || len(e.rest) > 0:
			e.t.Fatalf("%v, after %q", err, e.rest)
		default:
			return ""
		}
	}
}

func newStage(t *testing.T, name string, first time.Duration) *stage {
	t.Helper()
	l := newLab(t, 1, func(o *Options) { o.Streams = transport.StreamLimits{First: first} })
	s := &stage{t: t, l: l, name: name}
	s.gateway = s.listen(gatewayAddr + ":0")
	for _, pool := range []string{"gateways", "callers"} {
		l.ok(&pb.Command{Op: &pb.Command_PutPool{PutPool: &pb.PutPool{Pool: &pb.Pool{Name: pool, Algorithm: "round-robin"}}}})
	}
	for domain, aliases := range map[string][]string{
		"example.com": {"127.0.0.101", "chair-dnrc.example.com", "services.example.com", "registrar.example.com", "[2001:db8::10]", "[2001:db8::c000:201]"},
		"example.net": {"host.example.net"}, "example.org": nil,
	} {
		l.ok(&pb.Command{Op: &pb.Command_PutDomain{PutDomain: &pb.PutDomain{Domain: &pb.Domain{Name: domain, Aliases: aliases}}}})
		l.ok(&pb.Command{Op: &pb.Command_PutRoute{PutRoute: &pb.PutRoute{Route: &pb.Route{Domain: domain, Pool: "gateways"}}}})
	}
	for _, m := range []*pb.Member{
		{Pool: "gateways", Name: "m1", Address: s.gateway.udp.LocalAddr().String(), Sources: []string{gatewayAddr}, Group: 1},
		{Pool: "callers", Name: "m1", Address: "127.0.0.7", Sources: []string{senderAddr}, Group: 1},
	} {
		l.ok(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: m}}})
	}
	if name == "udp" {
		s.sender = s.listen(senderAddr + ":5060")
		return s
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(senderAddr)}}
	conn := must[net.Conn](t)(d.DialContext(within(t), "tcp", l.vip(0).String()))
	t.Cleanup(func() { _ = conn.Close() })
	s.sender = end{t: t, tcp: conn}
	return s
}

// listen opens a socket that sends to the VIP.
func (s *stage) listen(addr string) end {
	s.t.Helper()
	pc := must[net.PacketConn](s.t)(net.ListenPacket("udp4", addr))
	s.t.Cleanup(func() { _ = pc.Close() })
	return end{t: s.t, udp: pc.(*net.UDPConn), to: net.UDPAddrFromAddrPort(s.l.vip(0))}
}

// answersAt has the answers to what is sent awaited at another port: the one that its top Via names (RFC 3261 §18.2.2).
func (s *stage) answersAt(port string) {
	if s.name == "udp" {
		s.other = s.listen(senderAddr + ":" + port)
	}
}

// answer is the next message that the sender gets.
func (s *stage) answer() string {
	s.t.Helper()
	if s.other.udp != nil {
		return s.other.next()
	}
	return s.sender.next()
}

// user makes a user of example.com.
func (s *stage) user(name string) {
	s.t.Helper()
	md5, sha := domains.HA1(name, "example.com", "secret")
	s.l.ok(&pb.Command{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: &pb.User{Aor: name + "@example.com", Ha1Md5: md5[:], Ha1Sha256: sha[:]}}}})
}

// authorized is a REGISTER of a user's with the answer to a challenge.
func (s *stage) authorized(msg []byte, challenge, user string) []byte {
	s.t.Helper()
	c := must[*digest.Challenge](s.t)(digest.ParseChallenge(headerOf(challenge, "WWW-Authenticate")))
	uri := strings.Fields(string(msg))[1]
	cred := must[*digest.Credentials](s.t)(digest.Digest(c, digest.Options{Method: "REGISTER", URI: uri, Username: user, Password: "secret", Count: 1}))
	return bytes.Replace(msg, []byte("\r\n\r\n"), []byte("\r\nAuthorization: "+cred.String()+"\r\n\r\n"), 1)
}

// quiet checks that nothing else has come to anybody: what is sent now is the next thing that they hear.
func (s *stage) quiet() {
	s.t.Helper()
	s.sender.send([]byte("MESSAGE sip:quiet@example.com SIP/2.0\r\nVia: SIP/2.0/" + strings.ToUpper(s.name) + " " + senderAddr + ";branch=z9hG4bKquiet\r\n" +
		"From: <sip:x@elsewhere.org>;tag=1\r\nTo: <sip:quiet@example.com>\r\nCall-ID: quiet\r\nCSeq: 1 MESSAGE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"))
	got := s.gateway.next()
	if !strings.HasPrefix(got, "MESSAGE sip:quiet@") {
		s.t.Fatalf("the gateway gets as well:\n%s", got)
	}
	s.gateway.send(response(s.t, got, 299))
	if back := s.sender.next(); !strings.HasPrefix(back, "SIP/2.0 299 ") {
		s.t.Fatalf("the sender gets as well:\n%s", back)
	}
}

// response is what the gateway answers.
func response(t *testing.T, req string, status int) []byte {
	t.Helper()
	var m wire.Msg
	if err := m.Scan([]byte(req)); err != nil {
		t.Fatalf("%v:\n%s", err, req)
	}
	return must[[]byte](t)(wire.AppendResponse(nil, &m, &wire.Response{Status: status, ToTag: []byte("gateway")}))
}

// headerOf is the value of a header line that we have written, or the gateway.
func headerOf(msg, name string) string {
	if v := headersOf(msg, name); len(v) > 0 {
		return v[0]
	}
	return ""
}

func headersOf(msg, name string) (values []string) {
	head, _, _ := strings.Cut(msg, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			values = append(values, v)
		}
	}
	return values
}

// withoutLine takes the first line that begins so off a message.
func withoutLine(msg, begin string) string {
	i := strings.Index(msg, "\r\n"+begin)
	if i < 0 {
		return msg
	}
	end := i + 2 + strings.Index(msg[i+2:], "\r\n")
	return msg[:i] + msg[end:]
}

// firstLine is the start line.
func firstLine(msg string) string {
	line, _, _ := strings.Cut(msg, "\r\n")
	return line
}

// byRules is what the rules of a proxy make of a request below its start line, beside what they put on top of it: Max-Forwards is one less (RFC 3261 §16.6
// step 3), the top Via says where it came from (§18.2.1), what lies beyond the body goes (§18.3). others are further changes, old and new by turns.
func byRules(t *testing.T, msg []byte, others []string) string {
	t.Helper()
	_, rest, _ := strings.Cut(string(msg), "\r\n")
	rest = "\r\n" + rest
	maxForwards := regexp.MustCompile(`(?i)(\r\nmax-forwards: *)(\d+)`)
	if m := maxForwards.FindStringSubmatch(rest); m != nil {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		rest = strings.Replace(rest, m[0], m[1]+strconv.Itoa(n-1), 1)
	}
	if via := regexp.MustCompile(`\r\nVia: [^,\r]*`).FindString(rest); via != "" {
		rest = strings.Replace(rest, via, via+";received="+senderAddr, 1)
	}
	for i := 0; i < len(others); i += 2 {
		if strings.Count(rest, others[i]) != 1 {
			t.Fatalf("%q is not once in\n%s", others[i], rest)
		}
		rest = strings.Replace(rest, others[i], others[i+1], 1)
	}
	return rest
}

// below is a request that we have sent, without its start line and what we have put on top of it.
func (s *stage) below(got string) string {
	s.t.Helper()
	_, rest, _ := strings.Cut(got, "\r\n")
	rest = "\r\n" + rest
	us := fmt.Sprintf("127.0.0.101:%d", s.l.port)
	if !strings.HasPrefix(rest, "\r\nVia: SIP/2.0/UDP "+us+";branch=z9hG4bK") {
		s.t.Fatalf("our Via is not on top:\n%s", got)
	}
	rest = withoutLine(rest, "Via: ")
	for strings.HasPrefix(rest, "\r\nRecord-Route: <sip:"+us+";") {
		rest = withoutLine(rest, "Record-Route: ")
	}
	if breadth := "\r\nMax-Breadth: 60\r\n"; strings.HasPrefix(rest, breadth) { // RFC 5393 §5.3.3.1
		rest = rest[len(breadth)-2:]
	}
	return rest
}
