package port

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"holdline/cluster/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	quiet    = slog.New(slog.DiscardHandler)
	everyone = func(string, pki.KeyHash) error { return nil }
)

func member(t *testing.T) *pki.Credentials {
	t.Helper()
	ca, err := pki.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue("a", key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &pki.Credentials{UUID: "a", Key: key, Cert: cert, CA: ca}
}

func listen(t *testing.T, c *pki.Credentials) *Port {
	t.Helper()
	p, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), c.ServerConfig(everyone), quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestListenRefusesInOneLine(t *testing.T) {
	c := member(t)
	p := listen(t, c)
	for addr, want := range map[string]string{
		p.Addr().String():  "in use",
		"192.0.2.1:7700":   "not on this machine",
		"0.0.0.0:7700":     "give that address",
		"[2001:db8::1]:77": "not on this machine",
	} {
		_, err := Listen(netip.MustParseAddrPort(addr), c.ServerConfig(everyone), quiet)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// The gate cuts what there is and lets nothing new come about, until it is opened.
func TestGate(t *testing.T) {
	c := member(t)
	p := listen(t, c)
	r := NewRaft(p, func(netip.AddrPort) (*tls.Config, error) { return c.ClientConfig(pki.ProtoRaft, "a", everyone), nil })
	defer r.Close()
	address := raft.ServerAddress(p.Addr().String())
	dial := func() error {
		conn, err := r.Dial(address, 2*time.Second)
		if err != nil {
			return err
		}
		near, err := r.Accept()
		if err != nil {
			return err
		}
		go func() { _, _ = near.Write([]byte("x")) }()
		if err := conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
			return err
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			return err
		}
		r.Gate(true)
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			return errors.New("the connection outlived the gate")
		}
		return nil
	}
	if err := dial(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Dial(address, time.Second); !errors.Is(err, ErrGated) {
		t.Errorf("dialled through a closed gate: %v", err)
	}
	r.Gate(false)
	if err := dial(); err != nil {
		t.Errorf("after it was opened: %v", err)
	}
}

// Half-open connections take no more than their slots, and are dropped when their time is up.
func TestSilentStrangers(t *testing.T) {
	p := listen(t, member(t))
	served := make(chan struct{})
	p.Handle(pki.ProtoLink, func(*tls.Conn) { close(served) })
	for range 2 * maxHandshakes {
		conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"junk"}}}).Dial("tcp", p.Addr().String())
		if err == nil {
			_ = conn.Close()
			t.Fatal("a stranger was let in")
		}
	}
	if len(p.slots) > maxHandshakes {
		t.Errorf("%d handshakes at a time", len(p.slots))
	}
}
