package lab

import (
	"crypto/tls"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestCertificates: without a certificate every node shows the same one, made by the cluster; one that is added is shown by all
// within a moment; a TLS session begun at one node is resumed at the others.
func TestCertificates(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	c, dir := startCluster(t)
	if err := c.provision(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.awaitHA(within(t, 30*time.Second), c.nodes); err != nil {
		t.Fatal(err)
	}
	sessions := tls.NewLRUClientSessionCache(8)
	first := c.shown(t, c.vips[0], nil)
	for i, vip := range c.vips {
		s := c.shown(t, vip, sessions)
		if !s.PeerCertificates[0].Equal(first.PeerCertificates[0]) || s.PeerCertificates[0].VerifyHostname(domain) != nil {
			t.Errorf("%s shows another certificate: %v", vip, s.PeerCertificates[0].Subject)
		}
		if s.DidResume != (i > 0) {
			t.Errorf("%s: session resumed: %v", vip, s.DidResume)
		}
	}
	cert, key, _, err := makeCertificate(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.nodes[0].CLI(t.Context(), "", "certificate", "add", domain, "--cert", cert, "--key", key); err != nil {
		t.Fatal(err)
	}
	for _, vip := range c.vips {
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if s := c.shown(t, vip, nil); s.PeerCertificates[0].Subject.CommonName == "" && s.PeerCertificates[0].DNSNames[0] == domain {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s does not show the new certificate", vip)
			}
		}
	}
}

// shown connects to a VIP over TLS and says what came of it. A session ticket comes after the handshake, so an answer is awaited.
func (c *cluster) shown(t *testing.T, vip netip.Addr, sessions tls.ClientSessionCache) (s tls.ConnectionState) {
	t.Helper()
	err := c.phones.Do(func() error {
		raw, err := net.DialTimeout("tcp4", netip.AddrPortFrom(vip, sipPort+1).String(), 5*time.Second)
		if err != nil {
			return err
		}
		defer raw.Close()
		if err := raw.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		conn := tls.Client(raw, &tls.Config{ServerName: domain, InsecureSkipVerify: true, ClientSessionCache: sessions}) //nolint:gosec // a test
		if err := conn.Handshake(); err != nil {
			return err
		}
		s = conn.ConnectionState()
		if _, err := conn.Write([]byte("\r\n\r\n")); err != nil {
			return err
		}
		_, err = conn.Read(make([]byte, 2))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
