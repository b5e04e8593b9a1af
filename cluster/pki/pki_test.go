package pki

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func credentials(t *testing.T, ca *CA, uuid string) *Credentials {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(uuid, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &Credentials{UUID: uuid, Key: key, Cert: cert, CA: ca}
}

func newCA(t *testing.T) *CA {
	t.Helper()
	ca, err := NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// handshake runs both sides over an in-memory pipe and returns what each said.
func handshake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	a, b := net.Pipe()
	deadline := time.Now().Add(5 * time.Second)
	for _, c := range []net.Conn{a, b} {
		if err := c.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() {
		s := tls.Server(a, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte{1})
		}
		_ = a.Close()
		done <- err
	}()
	c := tls.Client(b, client)
	clientErr = c.Handshake()
	if clientErr == nil { // TLS 1.3: the client learns of the server's refusal with its first read
		_, clientErr = c.Read(make([]byte, 1))
	}
	_ = b.Close()
	return <-done, clientErr
}

func everybody(string, KeyHash) error { return nil }

var errNotMember = errors.New("not a member")

func nobody(string, KeyHash) error { return errNotMember }

func TestMembersOnly(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	a, b, foreign := credentials(t, ca, "a"), credentials(t, ca, "b"), credentials(t, other, "b")
	cases := []struct {
		name           string
		server, client *tls.Config
		ok             bool
	}{
		{"members", a.ServerConfig(everybody), b.ClientConfig(ProtoRaft, "a", everybody), true},
		{"other CA dials", a.ServerConfig(everybody), foreign.ClientConfig(ProtoRaft, "a", everybody), false},
		{"other CA answers", foreign.ServerConfig(everybody), a.ClientConfig(ProtoLink, "b", everybody), false},
		{"removed node dials", a.ServerConfig(nobody), b.ClientConfig(ProtoLink, "a", everybody), false},
		{"removed node answers", a.ServerConfig(everybody), b.ClientConfig(ProtoLink, "a", nobody), false},
		{"another node answers", a.ServerConfig(everybody), b.ClientConfig(ProtoLink, "c", everybody), false},
	}
	for _, c := range cases {
		serverErr, clientErr := handshake(t, c.server, c.client)
		if ok := serverErr == nil && clientErr == nil; ok != c.ok {
			t.Errorf("%s: server %v, client %v", c.name, serverErr, clientErr)
		}
	}
}

func TestJoinerKnowsTheCluster(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	server := credentials(t, ca, "a")
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	right, err := JoinClientConfig("new", key, ca.Hash())
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := JoinClientConfig("new", key, other.Hash())
	if err != nil {
		t.Fatal(err)
	}
	if s, c := handshake(t, server.ServerConfig(nobody), right); s != nil || c != nil {
		t.Errorf("right CA: server %v, client %v", s, c)
	}
	if _, c := handshake(t, server.ServerConfig(nobody), wrong); !errors.Is(c, ErrOtherCluster) {
		t.Errorf("wrong CA: %v", c)
	}
	// The joiner's self-signed certificate opens nothing but the join protocol.
	right.NextProtos = []string{ProtoRaft}
	if s, _ := handshake(t, server.ServerConfig(everybody), right); s == nil {
		t.Error("self-signed certificate was let into raft")
	}
}

func TestToken(t *testing.T) {
	ca := newCA(t)
	addresses := []netip.AddrPort{netip.MustParseAddrPort("10.77.0.11:7700"), netip.MustParseAddrPort("[2001:db8::1]:7700")}
	token, err := NewToken(ca.Hash(), addresses)
	if err != nil {
		t.Fatal(err)
	}
	word := token.String()
	got, err := ParseToken(" " + word + "\n")
	if err != nil || got.CA != token.CA || got.Secret != token.Secret || len(got.Addresses) != 2 || got.Addresses[1] != addresses[1] {
		t.Fatalf("got %+v, %v", got, err)
	}
	for i := range word { // any cut, any changed letter is noticed
		if _, err := ParseToken(word[:i]); !errors.Is(err, ErrToken) {
			t.Fatalf("cut at %d: %v", i, err)
		}
		swapped := "A"
		if word[i] == 'A' {
			swapped = "B"
		}
		if _, err := ParseToken(word[:i] + swapped + word[i+1:]); !errors.Is(err, ErrToken) && !strings.HasPrefix(word[i:], word[len(word)-1:]) {
			t.Fatalf("changed at %d: %v", i, err)
		}
	}
}

func TestSeal(t *testing.T) {
	ca := newCA(t)
	key, err := NewSecret(SealKeySize)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := SealCA(key, ca)
	if err != nil {
		t.Fatal(err)
	}
	public := &CA{Cert: ca.Cert}
	if err := UnsealCA(key, sealed, public); err != nil {
		t.Fatal(err)
	}
	if _, err := public.Issue("x", ca.Key.Public()); err != nil {
		t.Fatal(err)
	}
	key[0] ^= 1
	if err := UnsealCA(key, sealed, &CA{Cert: ca.Cert}); err == nil {
		t.Fatal("a wrong cluster key unsealed the CA")
	}
	if err := UnsealCA(key[:5], sealed, &CA{Cert: ca.Cert}); err == nil {
		t.Fatal("a short cluster key unsealed the CA")
	}
}
