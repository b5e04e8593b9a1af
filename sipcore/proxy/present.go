package proxy

import (
	"slices"
	"strings"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// peer is a registered phone, as what it was reached by before describes it.
type peer struct {
	aor     string
	contact string         // the URI that it was asked under
	phone   uint64         // fsm.InstanceHash of its +sip.instance; 0: none, or not known
	flow    transport.Flow // that it was last reached by
	gone    []uint64       // connections known to be gone; flow's need not be among them
}

// onStream reports whether a flow is a phone's own connection: when that is gone, no other goes to the same place.
func onStream(f transport.Flow) bool { return f.Proto != pb.Transport_UDP && f.Conn != 0 }

// present finds the binding by which a phone is reached now. That is the one it was reached by, unless its connection is gone; then
// one of the same instance (RFC 5626 §6), or, for a phone that names none, one with the same Contact. Contacts often hold a
// port of the connection: a phone without an instance that has changed its Contact is known, with guess, while no other phone can be
// meant: by the address it connects from, or by being the AoR's only one.
func (s *Shard) present(p *peer, guess bool) (fsm.Binding, bool) {
	s.peers = s.opt.State.Bindings(p.aor, s.peers[:0])
	b := s.peers
	old := slices.IndexFunc(b, func(b fsm.Binding) bool { return transport.Flow(b.Flow) == p.flow })
	if old >= 0 && !slices.Contains(p.gone, p.flow.Conn) {
		return b[old], true
	}
	if old >= 0 && p.phone == 0 {
		p.phone = fsm.InstanceHash(b[old].Instance) // kept, for when the binding is replaced
	}
	other := func(b *fsm.Binding) bool {
		return transport.Flow(b.Flow) != p.flow && !slices.Contains(p.gone, b.Flow.Conn)
	}
	if p.phone != 0 {
		return latest(b, func(x *fsm.Binding) bool { return other(x) && fsm.InstanceHash(x.Instance) == p.phone })
	}
	if found, ok := latest(b, func(x *fsm.Binding) bool { return other(x) && x.Contact == p.contact }); ok || !guess {
		return found, ok
	}
	nameless := func(x *fsm.Binding) bool { return other(x) && x.Instance == "" }
	near := func(x *fsm.Binding) bool {
		return nameless(x) && onStream(transport.Flow(x.Flow)) && x.Flow.Remote.Addr() == p.flow.Remote.Addr()
	}
	if found, ok := only(b, near); ok {
		return found, true
	}
	if old < 0 && len(b) == 1 {
		return only(b, nameless)
	}
	return fsm.Binding{}, false
}

// latest returns, of those that fit, the binding that was registered or refreshed last.
func latest(b []fsm.Binding, fits func(*fsm.Binding) bool) (found fsm.Binding, ok bool) {
	for i := range b {
		if fits(&b[i]) && (!ok || b[i].ExpiresMs >= found.ExpiresMs) {
			found, ok = b[i], true
		}
	}
	return found, ok
}

// only returns the binding that fits, if there is just one.
func only(b []fsm.Binding, fits func(*fsm.Binding) bool) (found fsm.Binding, ok bool) {
	for i := range b {
		if fits(&b[i]) {
			if ok {
				return fsm.Binding{}, false
			}
			found, ok = b[i], true
		}
	}
	return found, ok
}

// peerOf tells which phone a leg is for, false when it is for none or that is not known.
func (s *Shard) peerOf(c *txn.Cell, u *call, l *txn.Leg) (peer, bool) {
	p := peer{flow: l.Flow, gone: u.gone}
	if !u.hasToken {
		t := targetOf(u, l)
		if t == nil || t.Aor == "" {
			return p, false
		}
		p.aor, p.contact, p.phone = t.Aor, t.Uri, t.Instance
		return p, true
	}
	if c.Request == nil || s.tmp.Scan(c.Request.B) != nil {
		return p, false
	}
	return p, s.dialogPeer(&p, &s.tmp, u.tokenCall, u.toCaller)
}

// dialogPeer finds the phone that a request of a dialog is for: in the call's record, or, where there is none (dialogs of other
// methods, calls that could not be recorded), by the AoR in To.
func (s *Shard) dialogPeer(p *peer, m *wire.Msg, number uint64, toCaller bool) bool {
	p.contact = string(m.Bytes(m.URI))
	if number != 0 {
		if row := s.opt.State.Call(number); row != nil {
			return p.recorded(row, m, toCaller)
		}
	}
	u, err := wire.ParseURI(m.Bytes(m.To.URI))
	if err != nil {
		return false
	}
	d := s.view.domain(u.Host)
	if d == nil {
		return false
	}
	user := s.view.Config.UserNamed(s.aor(&u, d))
	if user == nil {
		return false
	}
	p.aor = user.AoR
	return true
}

func (p *peer) recorded(row *fsm.Call, m *wire.Msg, toCaller bool) bool {
	if toCaller {
		p.aor, p.phone = row.Origin, row.Phone
		return strings.Contains(p.aor, "@") // else a gateway: pool/member
	}
	tag := m.Bytes(m.To.Tag)
	i := slices.IndexFunc(row.Legs, func(l fsm.Leg) bool { return l.ToTag == string(tag) })
	if i < 0 || row.Legs[i].Target == nil || len(row.Legs[i].Target.Routes) > 0 {
		return false
	}
	p.aor, p.phone = row.Legs[i].Target.AoR, row.Legs[i].Target.Phone
	return p.aor != ""
}

// wentTo says which phone had a connection.
type wentTo struct {
	conn uint64
	aor  string
}

// maxFollowed bounds what a shard remembers of phones that came back over other connections. It is a cache: without it requests
// find out again.
const maxFollowed = 1024

func (s *Shard) remember(p *peer, now transport.Flow) {
	if len(s.followed) >= maxFollowed {
		clear(s.followed)
	}
	s.followed[wentTo{p.flow.Conn, p.aor}] = now
}

// presentFlow is the flow by which the phone at one side of a dialog is reached now. Without certain knowledge it is the token's: if
// that is gone, follow finds out. An ACK has nobody who waits for it, so this is all that it gets.
func (s *Shard) presentFlow(in *Inbound, flow transport.Flow, toCaller bool) transport.Flow {
	p := peer{flow: flow}
	if !onStream(flow) || !s.dialogPeer(&p, in.Msg, in.Token.Call, toCaller) {
		return flow
	}
	const hops = 8
	for range hops {
		next, ok := s.followed[wentTo{p.flow.Conn, p.aor}]
		if !ok {
			break
		}
		p.flow = next
	}
	if b, ok := s.present(&p, false); ok {
		p.flow = transport.Flow(b.Flow)
	}
	if s.view.face(p.flow) == nil {
		return flow
	}
	return p.flow
}

// callerPhone names the instance that calls: by its Contact, else by the registration that came the same way.
func (s *Shard) callerPhone(in *Inbound, aor string) uint64 {
	if aor == "" || !onStream(in.Flow) {
		return 0
	}
	if in.Msg.Has(wire.HdrContact) {
		if c, err := wire.ParseContact(in.Msg.Value(wire.HdrContact)); err == nil && len(c.Instance) > 0 {
			return fsm.InstanceHash(string(c.Instance))
		}
	}
	s.peers = s.opt.State.Bindings(aor, s.peers[:0])
	for i := range s.peers {
		if transport.Flow(s.peers[i].Flow) == in.Flow {
			return fsm.InstanceHash(s.peers[i].Instance)
		}
	}
	return 0
}
