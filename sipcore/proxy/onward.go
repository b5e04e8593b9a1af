package proxy

import (
	"net/netip"

	"holdline/fsm/pb"
	"holdline/sipcore/resolve"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// onward is the destination of a request outside a dialog that has Routes beyond ours (RFC 3261 §16.4 to §16.6): they are
// followed, whatever the Request-URI names, for those whom we trust to use us that way. more is false without such Routes.
func (s *Shard) onward(in *Inbound, w *sender) (d destination, refusal *wire.Response, more bool) {
	next, more := s.nextRoute(in)
	if !more {
		return d, nil, false
	}
	if !w.mayDialOut() {
		var about *pb.Domain
		if u, err := wire.ParseURI(in.Msg.Bytes(in.Msg.URI)); err == nil {
			about = s.view.domain(u.Host)
		}
		return d, s.mayNot(in, w, about, "Following Routes Needs A User Or A Trusted Source"), true
	}
	na, err := wire.ParseNameAddr(next)
	if err != nil {
		return d, &wire.Response{Status: 400, Reason: "Bad Route"}, true
	}
	u, err := wire.ParseURI(na.URI)
	if err != nil || u.Scheme != wire.SchemeSIP && u.Scheme != wire.SchemeSIPS {
		return d, &wire.Response{Status: 400, Reason: "Bad Route"}, true
	}
	if _, loose := u.Param("lr"); !loose {
		return d, &wire.Response{Status: 404, Reason: "Route Names A Strict Router"}, true
	}
	d.domain = w.domain
	d.targets = append(s.targets[:0], &pb.Target{
		Uri: text(in.Msg.Bytes(in.Msg.URI)), Flow: &pb.Flow{Group: in.Flow.Group, Vip: uint32(in.Flow.VIP), Transport: hopProto(&u)},
	})
	s.targets = d.targets
	return d, nil, true
}

// hopProto is the transport that a hop's URI asks for (RFC 3263 §4.1, without a look at the DNS).
func hopProto(u *wire.URI) pb.Transport {
	p, _ := u.Param("transport")
	switch {
	case u.Scheme == wire.SchemeSIPS || wire.EqualFold(p, "tls"):
		return pb.Transport_TLS
	case wire.EqualFold(p, "tcp"):
		return pb.Transport_TCP
	}
	return pb.Transport_UDP
}

// pathFlow turns the flow that a phone's REGISTER came by into one to the first hop of its Path (RFC 3327 §5.4), whose address is still
// to be found. A hop that does not say over which transport, and is where the REGISTER came from, is spoken to as it has spoken.
func (s *Shard) pathFlow(f *transport.Flow, hop string) {
	na, err := wire.ParseNameAddr([]byte(hop))
	if err != nil {
		return // the registrar has read it
	}
	u, err := wire.ParseURI(na.URI)
	if err != nil {
		return
	}
	_, given := u.Param("transport")
	a, literal := resolve.Literal(u.Host)
	if given || u.Scheme == wire.SchemeSIPS || !literal || a.Unmap() != f.Remote.Addr() {
		f.Proto = hopProto(&u)
	}
	f.Remote, f.Conn = netip.AddrPort{}, 0
	if face := s.view.face(*f); face != nil {
		f.Port = face.ports[f.Proto]
	}
}

// nextHopOf is where a target without an address goes: its Path, else the Route that the request still has, else its URI.
func (s *Shard) nextHopOf(c *txn.Cell, t *pb.Target) []byte {
	if len(t.Routes) > 0 {
		return []byte(t.Routes[0])
	}
	if t.Member == "" && s.tmp2.Scan(c.Request.B) == nil && s.tmp2.Has(wire.HdrRoute) {
		it := s.tmp2.Values(wire.HdrRoute)
		if _, v, ok := it.Next(); ok {
			return append([]byte(nil), s.tmp2.Bytes(v)...)
		}
	}
	return []byte(t.Uri)
}
