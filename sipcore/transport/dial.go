package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"holdline/fsm/pb"
)

// callee says which of the connections with a peer a message may go over: those whose peer has proven this name. The zero value is any.
type callee struct {
	name string
	// A request of a dialog goes to the address that the peer has given for itself, which its certificate seldom names; its name was proven
	// when the dialog began. So any name that the peer has proven will do, where there is no connection for this one.
	dialog bool
}

// calleeOf is whom a message that names no connection is for.
func (s *Streams) calleeOf(to Flow, data []byte, response bool) callee {
	if response || to.Conn != 0 || to.Proto != pb.Transport_TLS || !s.verifies() {
		return callee{}
	}
	return s.named(to, data)
}

func (s *Streams) verifies() bool { return s.o.VerifyPeers == nil || s.o.VerifyPeers() }

// named is whom a request names, or the address that it goes to.
func (s *Streams) named(to Flow, data []byte) (who callee) {
	if s.o.ServerName != nil {
		who.name, who.dialog = s.o.ServerName(data)
	}
	if who.name == "" {
		who.name = to.Remote.Addr().String()
	}
	who.name = strings.ToLower(strings.TrimSuffix(who.name, "."))
	return who
}

// asked are the names of which a peer that a connection is opened to must prove one; the first is asked for. A request of a dialog, or a response, that goes to
// a gateway's address is meant for that gateway, whose certificate is for the name it is called by. Who holds one for the address itself is as good.
func (s *Streams) asked(to Flow, data []byte) []string {
	who, addr := s.named(to, data), to.Remote.Addr()
	if !who.dialog || who.name != addr.String() || s.o.GatewayNames == nil {
		return []string{who.name}
	}
	return append(s.o.GatewayNames(addr), who.name)
}

// dial begins to open a connection to a flow's peer, over which data is sent then; what is sent to the peer meanwhile waits
// for it. false: there is no room for another connection, or the VIP is not served here.
func (s *Streams) dial(to Flow, who callee, data []byte) bool {
	if !to.Remote.IsValid() || to.Remote.Port() == 0 {
		return false
	}
	epoch, ok := s.o.Lease(to.Group)
	if !ok {
		return false
	}
	var names, proof []string
	if to.Proto == pb.Transport_TLS {
		names = s.asked(to, data)
		if s.verifies() {
			proof = names
		}
	}
	s.mu.Lock()
	l := s.listeners[streamKey{to.key(), to.Proto}]
	k := to.peer()
	if c := s.among(k, who); c != nil { // another was faster
		s.mu.Unlock()
		return c.send(data)
	}
	if s.closed || l == nil || s.dialing >= s.o.Limits.Dialing || len(s.conns) >= s.o.Limits.Conns || l.ep.Local.Addr().Is4() != to.Remote.Addr().Is4() {
		s.mu.Unlock()
		s.counters.dialsRefused.Add(1)
		return false
	}
	to.Conn = 0
	c := &conn{s: s, flow: to, epoch: epoch, dialed: true, proof: proof}
	s.enter(c)
	s.peers[k] = append(s.peers[k], c)
	s.dialing++
	local := l.ep.Local.Addr()
	s.wg.Go(func() { c.connect(local, names, proof) })
	s.mu.Unlock()
	s.counters.dialed.Add(1)
	return c.send(data)
}

// connect opens the connection and serves it to its end. Over TLS names are those that are meant, and proof those of which the peer must prove one.
func (c *conn) connect(local netip.Addr, names, proof []string) {
	defer c.reset(endPeer)
	limit := time.Now().Add(c.s.o.Limits.Dial)
	ctx, cancel := context.WithDeadline(c.s.ctx, limit)
	defer cancel()
	d := net.Dialer{
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0)), Control: freebind(local, true), KeepAlive: -1,
	}
	raw, err := d.DialContext(ctx, tcpNetwork(local), c.flow.Remote.String())
	if err == nil {
		err = c.connected(raw.(*net.TCPConn))
	}
	if err == nil && c.flow.Proto == pb.Transport_TLS {
		err = c.secure(ctx, names, proof)
	}
	c.s.mu.Lock()
	c.s.dialing-- // here alone: if it was given up meanwhile, it was being opened until now
	c.s.mu.Unlock()
	if err != nil {
		c.s.counters.dialsFailed.Add(1)
		c.s.log.Warn("cannot connect to a SIP peer", "remote", c.flow.Remote.String(), "transport", c.flow.Proto.String(), "err", err)
		return
	}
	c.proven = true // it has not come to us
	c.opened()
	c.read(time.Now().Add(c.s.o.Limits.Idle))
}

var errDropped = errors.New("given up meanwhile")

// connected takes over the socket, unless the connection was given up meanwhile.
func (c *conn) connected(raw *net.TCPConn) error {
	tune(raw)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		abort(raw)
		return errDropped
	}
	c.raw, c.rw = raw, raw
	return nil
}

// secure agrees on TLS with a peer that is asked for by the first of names, and must hold a certificate for one of proof, if there are any.
func (c *conn) secure(ctx context.Context, names, proof []string) error {
	proven := proof
	t := tls.Client(c.raw, &tls.Config{
		ServerName: names[0], MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it, for any of several names
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(proof) == 0 {
				return nil // the operator's choice
			}
			name, err := certified(state.PeerCertificates, proof, c.s.o.Authorities)
			proven = []string{name}
			return err
		},
	})
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS with %s: %w%s", strings.Join(names, " or "), err, mendPeer(err))
	}
	c.rw = t
	c.s.mu.Lock()
	c.proof = proven
	c.s.mu.Unlock()
	return nil
}

// certified is the first of names that the certificate which a peer has shown is for, if one of the authorities, or whom the machine trusts, stands behind it.
func certified(shown []*x509.Certificate, names []string, authorities *x509.CertPool) (string, error) {
	between := x509.NewCertPool()
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	_, err := shown[0].Verify(x509.VerifyOptions{Roots: authorities, Intermediates: between})
	for i := 0; err == nil && i < len(names); i++ {
		if shown[0].VerifyHostname(names[i]) == nil {
			return names[i], nil
		}
	}
	if err == nil {
		err = shown[0].VerifyHostname(names[0])
	}
	return "", &tls.CertificateVerificationError{UnverifiedCertificates: shown, Err: err}
}

// mendPeer is what to do about a peer that could not be verified. The runtime reads the machine's authorities once, at the first use.
func mendPeer(err error) string {
	var refused *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var none x509.SystemRootsError
	switch {
	case errors.As(err, &unknown), errors.As(err, &none):
		return ": add the authority that signed its certificate on every box (update-ca-certificates), which counts after `systemctl restart holdline`;" +
			" or else let any certificate pass: holdline setting set sip.tls-verify no"
	case errors.As(err, &refused):
		return ": have its certificate mended, or the name that it is called by; or else let any certificate pass: holdline setting set sip.tls-verify no"
	}
	return ""
}
