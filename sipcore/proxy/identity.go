package proxy

import (
	"bytes"
	"slices"

	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// SettingIdentity says who vouches for who calls (RFC 3325): this cluster, or nobody.
const (
	SettingIdentity  = "call.identity"
	IdentityAsserted = "asserted"
	IdentityRelayed  = "relayed"
)

// saysWho are the headers that tell who calls or answers beside From and To. Many gateways still go by Remote-Party-ID, the draft before RFC 3325.
var saysWho = [...]wire.HeaderID{wire.HdrPAssertedIdentity, wire.HdrPPreferredIdentity, wire.HdrRemotePartyID}

// trusts reports whether a peer belongs to the trust domain of RFC 3325 §3: gateways do, phones and strangers do not.
func (s *Shard) trusts(f transport.Flow) bool {
	return f.Remote.IsValid() && len(s.view.sources(f.Remote.Addr())) > 0
}

// trusted reports which ends of a dialog are: who sends a request, and who gets it. Its token says so.
func trusted(in *Inbound) (sender, receiver bool) {
	sender, receiver = in.Token.Caller.Bars == 0, in.Token.Callee.Bars == 0
	if in.TokenKey.TagHash(in.Msg.Bytes(in.Msg.From.Tag)) != in.Token.TagHash {
		return receiver, sender
	}
	return sender, receiver
}

// callerIdentity sees to what a request says of who sends it. Gateways are told which user has proven his password, under the name that he has
// for them, whatever his phone claims (RFC 3325 §5); to withhold his name in From withholds it there as well (§7). w is nil in a dialog.
func (s *Shard) callerIdentity(e *wire.Edit, m *wire.Msg, u *call, w *sender) {
	if !s.view.assert {
		return
	}
	takeOff(e, m, u.near, u.far)
	if !u.near && (w == nil || w.divert == nil) { // that a call was diverted is for those to say who say who calls
		e.RemoveAll(wire.HdrDiversion)
		e.RemoveAll(wire.HdrHistoryInfo)
	}
	if !u.far || w == nil || w.user == nil {
		return
	}
	if u.near { // a diverted call is the diverting user's, whoever had called him
		for _, id := range saysWho {
			e.RemoveAll(id)
		}
	}
	var buf [160]byte
	id := append(buf[:0], "<sip:"...)
	id = append(id, w.user.Identity()...)
	e.Append(wire.Field{ID: wire.HdrPAssertedIdentity, Value: append(id, '>')})
	if w.hidden && !m.Has(wire.HdrPrivacy) {
		e.Append(wire.Field{ID: wire.HdrPrivacy, Value: []byte("id")})
	}
}

// answererIdentity does so with a response, which may tell who answers.
func (s *Shard) answererIdentity(e *wire.Edit, in *Inbound, to transport.Flow, u *call) {
	m := in.Msg
	if !s.view.assert || !slices.ContainsFunc(saysWho[:], m.Has) {
		return
	}
	if u != nil {
		takeOff(e, m, u.far, u.near)
		return
	}
	takeOff(e, m, s.trusts(in.Flow), s.trusts(to))
}

// takeOff removes what may not be passed on of who sends m: what somebody says who is not trusted (§5, §9.2), and what may be told to
// the trusted alone (§7).
func takeOff(e *wire.Edit, m *wire.Msg, from, to bool) {
	switch {
	case !from:
		for _, id := range saysWho {
			e.RemoveAll(id)
		}
	case !to && (withheld(m) || secretParty(m)):
		e.RemoveAll(wire.HdrPAssertedIdentity)
		e.RemoveAll(wire.HdrRemotePartyID)
	}
}

// secretParty reports whether a Remote-Party-ID says that it is for the trusted alone (draft-ietf-sip-privacy-04 §5.3): gateways of that time have no Privacy.
func secretParty(m *wire.Msg) bool {
	for i := m.First(wire.HdrRemotePartyID); i >= 0; i = m.Next(i) {
		_, params, _ := bytes.Cut(m.Bytes(m.Header(i).Value), []byte(">"))
		for p := range bytes.SplitSeq(params, []byte(";")) {
			name, value, _ := bytes.Cut(p, []byte("="))
			if wire.EqualFold(bytes.TrimSpace(name), "privacy") && !wire.EqualFold(bytes.TrimSpace(value), "off") {
				return true
			}
		}
	}
	return false
}

// withheld reports whether the identity is not to leave the trust domain: Privacy has id (§9.3).
func withheld(m *wire.Msg) bool {
	for i := m.First(wire.HdrPrivacy); i >= 0; i = m.Next(i) {
		for v := range bytes.FieldsFuncSeq(m.Bytes(m.Header(i).Value), func(r rune) bool { return r == ';' || r == ',' }) {
			if wire.EqualFold(bytes.TrimSpace(v), "id") {
				return true
			}
		}
	}
	return false
}
