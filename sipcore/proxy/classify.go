package proxy

import (
	"bytes"

	"holdline/fsm/pb"
	"holdline/sipcore/dialog"
	"holdline/sipcore/resolve"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// Classify finds out which group owns the transaction of in.Msg, which came in by in.Flow: the home in the
// branch of a response, in the Route token of a request, else the group it came in on. It reports false for
// a response that is not one to a request of ours.
func (v *View) Classify(in *Inbound) bool {
	m := in.Msg
	if !m.Request {
		b, ok := parseBranch(m.Bytes(m.Via1.Branch))
		in.Branch, in.Home = b, b.Home
		return ok && v.isOwn(m.Bytes(m.Via1.Host), m.Via1.Port)
	}
	v.AnswerSource(m, in.Flow)
	in.Home, in.Routes, in.HasToken, in.Strict = in.Flow.Group, 0, false, false
	v.ownRoutes(in)
	if !in.HasToken && m.Has(wire.HdrRoute) {
		v.strictRoute(in)
	}
	if in.HasToken {
		in.Home = in.Token.Home
	}
	return true
}

// AnswerSource has a request answered where it came from that comes straight from a phone which writes another address into its Via than it has, and does not
// ask for rport (RFC 3581), as many phones behind NATs do: by RFC 3261 §18.2.2 responses go to the port that it writes, and its NAT lets them in at the
// one that it sends from only. Call it before anything is answered.
func (v *View) AnswerSource(m *wire.Msg, from transport.Flow) {
	if !m.Request || from.Proto != pb.Transport_UDP || m.Via1.HasRPort || !m.Via2.Value.Empty() {
		return
	}
	a, literal := resolve.Literal(m.Bytes(m.Via1.Host))
	if literal && a.Unmap() != from.Remote.Addr().Unmap() && len(v.sources(from.Remote.Addr())) == 0 {
		m.ForceRPort()
	}
}

// ownRoutes counts the Route values on top that name us and reads the first token among them (§16.4). A
// double Record-Route (RFC 5658) leaves two.
func (v *View) ownRoutes(in *Inbound) {
	m := in.Msg
	if !m.Has(wire.HdrRoute) {
		return
	}
	var first []byte
	it := m.Values(wire.HdrRoute)
	for {
		_, span, ok := it.Next()
		if !ok {
			return
		}
		na, err := wire.ParseNameAddr(m.Bytes(span))
		if err != nil {
			return
		}
		u, err := wire.ParseURI(na.URI)
		if err != nil || !v.isOwn(u.Host, u.Port) && (in.HasToken || !v.isUs(&u)) { // below a token of ours a name is another's, who may go by the same
			return
		}
		token, _ := u.Param(dialog.Param)
		if in.HasToken && len(token) > 0 && !bytes.Equal(token, first) { // of another call of ours: this one was diverted
			return
		}
		in.Routes++
		if !in.HasToken {
			v.readToken(in, &u)
			first = token
		}
	}
}

func (v *View) readToken(in *Inbound, u *wire.URI) {
	text, ok := u.Param(dialog.Param)
	if !ok {
		return
	}
	t, k, err := dialog.Parse(text, v.route)
	if err == nil {
		in.Token, in.TokenKey, in.HasToken = t, k, true
	}
}

// strictRoute recognizes a request whose previous hop was a strict router: our Route is in the Request-URI and the
// remote target is the last Route value (§16.4).
func (v *View) strictRoute(in *Inbound) {
	u, err := wire.ParseURI(in.Msg.Bytes(in.Msg.URI))
	if err != nil || u.Scheme == wire.SchemeTel || !v.isOwn(u.Host, u.Port) {
		return
	}
	v.readToken(in, &u)
	if in.HasToken {
		in.Strict, in.Routes = true, 0 // a Route that names us has nothing of ours in it: it is the next hop, as any other
	}
}
