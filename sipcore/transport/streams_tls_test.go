package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"holdline/fsm/pb"
)

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
