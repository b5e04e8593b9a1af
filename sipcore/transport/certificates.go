package transport

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
)

// NamedCertificate is a certificate and the names that it is shown for.
type NamedCertificate struct {
	Names       []string // domain names in lower case, *.example.com, and IP addresses
	Certificate *tls.Certificate
}

// Certificates are what TLS and WSS listeners show, by the name that the client asks for (SNI). They may be replaced at any
// time: connections that exist stay as they are, new ones get the new ones. The zero value has none: handshakes fail.
type Certificates struct {
	mu       sync.RWMutex
	byName   map[string]*tls.Certificate
	fallback *tls.Certificate
	server   *tls.Config
}

var errNoCertificate = errors.New("no certificate for this name: add one with holdline certificate add")

// Set replaces all certificates. fallback is shown to clients that name nothing known; nil: they are refused.
func (cs *Certificates) Set(list []NamedCertificate, fallback *tls.Certificate) {
	byName := make(map[string]*tls.Certificate)
	for _, n := range list {
		for _, name := range n.Names {
			byName[name] = n.Certificate
		}
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.byName, cs.fallback = byName, fallback
}

// SetTicketKeys sets the keys that sessions are resumed with, the current one first: with the same on every node of a
// cluster, a phone resumes its session at whichever owns the VIP.
func (cs *Certificates) SetTicketKeys(keys [][32]byte) { cs.config().SetSessionTicketKeys(keys) }

// config is the configuration of servers.
func (cs *Certificates) config() *tls.Config {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.server == nil {
		cs.server = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cs.get}
	}
	return cs.server
}

// get finds the certificate for a client: by name, by wildcard, by the VIP that it has connected to.
func (cs *Certificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	name := strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
	if name == "" && hello.Conn != nil {
		if a, ok := hello.Conn.LocalAddr().(*net.TCPAddr); ok {
			name = a.AddrPort().Addr().Unmap().String()
		}
	}
	if c := cs.byName[name]; c != nil {
		return c, nil
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		if c := cs.byName["*."+parent]; c != nil {
			return c, nil
		}
	}
	if cs.fallback != nil {
		return cs.fallback, nil
	}
	return nil, errNoCertificate
}
