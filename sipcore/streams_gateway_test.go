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
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"holdline/deploy/lab/phone"
	"holdline/fsm/pb"
)

// certificateFor is one that signs itself.
func certificateFor(t *testing.T, name string) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, must[*x509.Certificate](t)(x509.ParseCertificate(der))
}

// TestGatewayByAddress: a carrier that is called by a name calls over a connection of its own, with a Contact that has a bare address. The callee's BYE
// goes there, to who proves the carrier's name and to nobody else. An address of nobody must be proven itself.
func TestGatewayByAddress(t *testing.T) {
	gw, gwLeaf := certificateFor(t, "gw.example.net")
	other, otherLeaf := certificateFor(t, "other.example.net")
	for _, c := range []struct {
		what, at  string
		shows     tls.Certificate
		asked     string
		delivered bool
	}{
		{"the carrier", "127.0.0.9", gw, "gw.example.net", true},
		{"another name", "127.0.0.9", other, "gw.example.net", false},
		{"nobody's address", "127.0.0.10", gw, "", false},
	} {
		t.Run(c.what, func(t *testing.T) {
			authorities := x509.NewCertPool()
			authorities.AddCert(gwLeaf)
			authorities.AddCert(otherLeaf)
			l := newLab(t, 1, func(o *Options) { o.Authorities = authorities })
			ctx, cancel := context.WithCancel(within(t))
			asked := make(chan string, 4)
			ln := must[net.Listener](t)(tls.Listen("tcp4", c.at+":0", &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
				asked <- h.ServerName
				return &c.shows, nil
			}})) //nolint:gosec // a test
			requests := make(chan string, 4)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					answerAll(ctx, conn, requests)
				}
			}()
			defer func() { cancel(); _ = ln.Close(); <-done }()
			l.ok(&pb.Command{Op: &pb.Command_PutPool{PutPool: &pb.PutPool{Pool: &pb.Pool{Name: "p", Algorithm: "round-robin"}}}})
			l.ok(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: &pb.Member{
				Pool: "p", Name: "m", Address: "gw.example.net", Transport: "tls", Sources: []string{"127.0.0.9"},
			}}}})
			bob, arrived := l.newPhone("bob", l.vip(0))
			must[*sip.Response](t)(bob.Register(ctx, time.Hour))

			d := l.called(t, ctx, "<sip:gw@"+ln.Addr().String()+";transport=tls>", bob, arrived)
			defer d.Close()
			bye := must[*phone.Client](t)(d.Send(sip.BYE))
			if got := receive(t, ctx, asked); got != c.asked {
				t.Errorf("asked for %q, want %q", got, c.asked)
			}
			if !c.delivered { // which is no answer to a BYE (RFC 4320)
				eventually(t, ctx, "a refused connection", func() bool {
					failed := uint64(0)
					l.cores[0].streams.Each(func(name, _ string, n uint64) {
						if name == "stream_dials_failed" {
							failed = n
						}
					})
					return failed == 1
				})
				if len(requests) > 0 {
					t.Errorf("it got %s", <-requests)
				}
				return
			}
			if res := must[*sip.Response](t)(bye.Final(ctx)); res.StatusCode != 200 {
				t.Errorf("BYE: %v", res)
			}
			if got := receive(t, ctx, requests); !strings.HasPrefix(got, "BYE sip:gw@"+ln.Addr().String()) {
				t.Errorf("it got %s", got)
			}
			if n := l.log.m.Counts().Calls; n != 0 {
				t.Errorf("%d calls in the replicated state", n)
			}
		})
	}
}

// called has the carrier call bob, who answers, over TLS from 127.0.0.9.
func (l *lab) called(t *testing.T, ctx context.Context, contact string, bob *phone.Phone, arrived chan *phone.Server) *phone.Dialog {
	t.Helper()
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}},
		Config:    &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a test
	}
	conn := must[net.Conn](t)(dialer.DialContext(ctx, "tcp4", fmt.Sprintf("127.0.0.101:%d", l.streamPort("tls"))))
	t.Cleanup(func() { _ = conn.Close() })
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	send := func(method, uri, branch, to, more string) {
		t.Helper()
		if _, err := fmt.Fprintf(conn, "%s %s SIP/2.0\r\nVia: SIP/2.0/TLS %s;branch=z9hG4bK%s\r\nMax-Forwards: 70\r\nFrom: <sip:1@far.example>;tag=1\r\nTo: %s\r\n"+
			"Call-ID: by-address\r\nCSeq: 1 %s\r\nContact: %s\r\n%sContent-Length: 0\r\n\r\n", method, uri, conn.LocalAddr(), branch, to, method, contact, more); err != nil {
			t.Fatal(err)
		}
	}
	send("INVITE", "sip:bob@example.com", "invite", "<sip:bob@example.com>", "")
	d := must[*phone.Dialog](t)(bob.Answer(receive(t, ctx, arrived)))
	var ok string
	for !strings.HasPrefix(ok, "SIP/2.0 200 ") {
		ok = message(t, conn)
	}
	route := ""
	for _, rr := range headers(ok, "Record-Route") {
		route += "Route: " + rr + "\r\n"
	}
	target := strings.Trim(headers(ok, "Contact")[0], "<>")
	send("ACK", target, "ack", headers(ok, "To")[0], route)
	return d
}

// message reads one without a body, byte by byte.
func message(t *testing.T, r io.Reader) string {
	t.Helper()
	var b []byte
	for !strings.HasSuffix(string(b), "\r\n\r\n") {
		var one [1]byte
		if _, err := io.ReadFull(r, one[:]); err != nil {
			t.Fatalf("after %q: %v", b, err)
		}
		b = append(b, one[0])
	}
	return string(b)
}

// headers are the values of a header, in order.
func headers(msg, name string) (out []string) {
	for line := range strings.SplitSeq(msg, "\r\n") {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			out = append(out, v)
		}
	}
	return out
}

// answerAll answers the requests of a connection, which have no body, until it ends.
func answerAll(ctx context.Context, conn net.Conn, requests chan<- string) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	var b []byte
	for chunk := make([]byte, 4096); ; {
		n, err := conn.Read(chunk)
		if err != nil {
			return
		}
		b = append(b, chunk[:n]...)
		head, rest, whole := strings.Cut(string(b), "\r\n\r\n")
		if !whole {
			continue
		}
		b = []byte(rest)
		requests <- head
		response := "SIP/2.0 200 OK\r\n"
		for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
			for _, v := range headers(head, name) {
				response += name + ": " + v + "\r\n"
			}
		}
		if _, err := io.WriteString(conn, response+"Content-Length: 0\r\n\r\n"); err != nil {
			return
		}
	}
}
