package proxy

import (
	"net/netip"

	"holdline/fsm/pb"
	"holdline/sipcore/resolve"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// isSIPS reports whether a URI's scheme is sips.
func isSIPS(uri []byte) bool { return len(uri) > 5 && wire.EqualFold(uri[:5], "sips:") }

// defaultPort is the port of a transport that is named without one (RFC 3261 §18.1.1, RFC 7118 §5).
func defaultPort(p pb.Transport) uint16 {
	switch p {
	case pb.Transport_TLS:
		return transport.DefaultTLSPort
	case pb.Transport_WS:
		return 80
	case pb.Transport_WSS:
		return 443
	}
	return transport.DefaultPort
}

// portOf is the port that a URI means over a transport.
func portOf(u *wire.URI, p pb.Transport) uint16 {
	switch {
	case u.Port != 0:
		return u.Port
	case u.Scheme == wire.SchemeSIPS:
		return transport.DefaultTLSPort
	}
	return defaultPort(p)
}

// transportOf sets a flow's transport as a URI asks for it: sips is TLS, else the transport parameter counts. Without one
// the peer is spoken to as it has spoken to us.
func (s *Shard) transportOf(u *wire.URI, f *transport.Flow) {
	switch name, _ := u.Param("transport"); {
	case u.Scheme == wire.SchemeSIPS && !secure(f.Proto), wire.EqualFold(name, "tls"):
		f.Proto = pb.Transport_TLS
	case wire.EqualFold(name, "udp"):
		f.Proto = pb.Transport_UDP
	case wire.EqualFold(name, "tcp") && f.Proto != pb.Transport_TLS: // of a sips dialog it means TLS over TCP
		f.Proto = pb.Transport_TCP
	}
	if face := s.view.face(*f); face != nil {
		f.Port = face.ports[f.Proto]
	}
}

// defaultViaPort is the port of a sent-by that names none.
func defaultViaPort(m *wire.Msg, v *wire.Via) uint16 {
	name := m.Bytes(v.Transport)
	for p := pb.Transport_TLS; p <= pb.Transport_WSS; p++ {
		if wire.EqualFold(name, protoNames[p]) {
			return defaultPort(p)
		}
	}
	return transport.DefaultPort
}

// ViaPort is the port that the sender of a request names as its own.
func ViaPort(m *wire.Msg) uint16 {
	if m.Via1.Port != 0 {
		return m.Via1.Port
	}
	return defaultViaPort(m, &m.Via1)
}

// FallbackAddr is where a response goes whose connection is gone: the sent-by of its top Via (RFC 3261 §18.2.2).
func FallbackAddr(m *wire.Msg) (netip.AddrPort, bool) {
	v := &m.Via1
	host := v.Received
	if host.Empty() {
		host = v.Host
	}
	a, ok := resolve.Literal(m.Bytes(host))
	port := v.Port
	if port == 0 {
		port = defaultViaPort(m, v)
	}
	return addrPort(a, port), ok
}

// NextHopHost is the host that a request of ours is sent to, as its top Route or its Request-URI names it.
func NextHopHost(m *wire.Msg) string {
	uri := m.Bytes(m.URI)
	if m.Has(wire.HdrRoute) {
		it := m.Values(wire.HdrRoute)
		if _, v, ok := it.Next(); ok {
			if na, err := wire.ParseNameAddr(m.Bytes(v)); err == nil {
				uri = na.URI
			}
		}
	}
	u, err := wire.ParseURI(uri)
	if err != nil {
		return ""
	}
	if a, ok := resolve.Literal(u.Host); ok {
		return a.Unmap().String()
	}
	return string(u.Host)
}

// memberURI is a Request-URI towards a gateway.
func memberURI(m *pb.Member, user string) string {
	uri := "sip:" + m.Address
	if a, err := netip.ParseAddr(m.Address); err == nil {
		uri = "sip:" + uriHost(a)
	}
	if user != "" {
		uri = "sip:" + user + "@" + uri[len("sip:"):]
	}
	if m.Transport != "" && m.Transport != "udp" {
		uri += ";transport=" + m.Transport
	}
	return uri
}

// largeRequest is how long a request over UDP may be, in bytes, before RFC 3261 §18.1.1 wants it sent over TCP. Phones are
// spoken to over their flows whatever the length; gateways that take TCP are marked.
const largeRequest = 1300

func (s *Shard) largeOverTCP(u *call, l *txn.Leg) bool {
	if l.Flow.Proto != pb.Transport_UDP || int(l.Index) >= len(u.targets) || u.targets[l.Index] == nil {
		return false
	}
	t := u.targets[l.Index]
	p := s.view.Config.Pool(t.Pool)
	if t.Pool == "" || p == nil {
		return false
	}
	for _, m := range p.Members {
		if m.Name == t.Member {
			return m.LargeOverTcp
		}
	}
	return false
}
