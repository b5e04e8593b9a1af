package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"holdline/deploy/lab/netlab"
	"holdline/deploy/lab/phone"
)

// Transports of the phones. The gateway has UDP.
const (
	TransportUDP   = "udp"
	TransportTCP   = "tcp"
	TransportTLS   = "tls"
	TransportMixed = "mixed" // a third of the phones each
)

// Transports lists what Options.Transport may be.
func Transports() []string { return []string{TransportUDP, TransportTCP, TransportTLS, TransportMixed} }

func checkTransport(t string) error {
	if !slices.Contains(Transports(), t) {
		return fmt.Errorf("transport: %q is not known; choose one of %s", t, strings.Join(Transports(), ", "))
	}
	return nil
}

// transportOf is a phone's, by its number: mixed ones are spread evenly over every VIP, whose number is the phone's modulo theirs.
func (o Options) transportOf(number int) string {
	if o.Transport != TransportMixed {
		return o.Transport
	}
	return []string{TransportUDP, TransportTCP, TransportTLS}[number/o.Nodes%3]
}

// port on a VIP for a transport.
func port(transport string) uint16 {
	if transport == TransportTLS {
		return sipPort + 1
	}
	return sipPort
}

// dialer connects from a phone's address inside its box.
func dialer(box *netlab.Box, from netip.Addr, transport string, roots *x509.CertPool) phone.Dialer {
	local := netip.AddrPortFrom(from, 0)
	conf := &tls.Config{RootCAs: roots, ServerName: domain}
	return func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		conn, err := box.DialTCP(ctx, local, to)
		if err != nil || transport != TransportTLS {
			return conn, err
		}
		secure := tls.Client(conn, conf)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		return secure, nil
	}
}
