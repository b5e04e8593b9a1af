package proxy

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/dialog"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// A phone that sends a call on to somebody else answers 302 (RFC 3261 §21.3.3), and few callers, carriers least of all, go there themselves. So its leg goes
// on to whom it names (§16.7 step 4): the INVITE is sent to a VIP of ours, as a call of that phone's user, who may call whom he may call, and is who
// a gateway is told. It is a call of its own from there on, with its own record; for this one it is the leg's next attempt. In its Route is who diverted it.

// SettingRedirects says what becomes of a call that a phone answers with a redirection.
const (
	SettingRedirects = "call.redirects"
	RedirectsFollow  = "follow"
	RedirectsUsers   = "users"
	RedirectsRelay   = "relay"
)

// maxDiversions bounds how often a call is diverted, so that users who divert to each other end soon; a loop among the same numbers is found before (RFC 5393).
const maxDiversions = 5

// maxRedirectURI bounds the URI to which a call is diverted, in bytes: it is kept in the call's record.
const maxRedirectURI = 256

// redirected follows a 3xx of a phone. It reports false when that is not to be followed: the caller gets it as it is.
func (s *Shard) redirected(in *Inbound, c *txn.Cell, u *call, l *txn.Leg) bool {
	if in.Msg.Status > 302 || u.kind != kindCall || !mayRetry(c, u, l) {
		return false
	}
	t := s.diversionOf(in.Msg, c, u, l)
	switch {
	case t == nil:
		return false
	case slices.ContainsFunc(u.targets, func(x *pb.Target) bool { return x != nil && diverts(x) && x.Uri == t.Uri }):
		// another phone of the user has sent the call there: once is enough (§16.5), and how it goes there is all there is to say
		l.Status = 480
		l.Response.Release()
		l.Response = nil
		return false
	}
	s.opt.Stats.Redirects.Add(1)
	s.nextAttempt(c, u, l, t)
	return true
}

// nextAttempt has a leg go on as another attempt, with t for its target, when that is on record.
func (s *Shard) nextAttempt(c *txn.Cell, u *call, l *txn.Leg, t *pb.Target) {
	n := s.tab.NewLeg(c) // it is open from now on, so that nothing is decided before it has begun
	n.Index, n.Attempt, n.Breadth = l.Index, l.Attempt+1, l.Breadth
	cmd := &pb.LegResult{
		Call: u.number, Home: c.Home, Epoch: c.Epoch, Leg: uint32(l.Index), Status: uint32(l.Status), Redirect: t, Attempt: uint32(n.Attempt),
	}
	l.Open, l.Status = false, 0 // it counts for nothing any more: §16.7 step 4
	if u.kind != kindCall || u.number == 0 {
		s.goOn(c, u, n, t)
		return
	}
	s.submit(&pb.Command{Op: &pb.Command_LegResult{LegResult: cmd}}, Commit{Kind: commitRedirect, Leg: legPos(c, n), Cell: c.Ref(), Call: u.number})
}

// goOn acknowledges what has ended a leg's attempt, when it is on record, and begins the next one, n, unless the call is over for it.
func (s *Shard) goOn(c *txn.Cell, u *call, n *txn.Leg, t *pb.Target) {
	l := legOf(c, n.Index, n.Attempt-1)
	if l != nil && l.Ack != nil && !l.Acked {
		l.Acked = true
		s.send(l.Flow, l.Ack.B)
	}
	switch {
	case !n.Open: // cancelled meanwhile
	case int(n.Index) >= len(u.targets) || !mayRetry(c, u, n):
		s.legFailed(c, u, n, 487)
	case l != nil && t.Member != "": // to the address that has asked for credentials
		u.targets[n.Index] = t
		n.Flow, n.Shift, n.Others, n.Patience = l.Flow, uint8(t.CseqShift), l.Others, s.patience(u, n.Index, t)
		s.sendLeg(c, u, n)
	default:
		u.targets[n.Index] = t
		s.launch(c, u, n, t)
	}
}

// diversionOf is where a 3xx sends a leg: the first of its Contacts, by their q, that we may go to for the phone's user; nil for none.
func (s *Shard) diversionOf(m *wire.Msg, c *txn.Cell, u *call, l *txn.Leg) *pb.Target {
	t := targetOf(u, l)
	if s.view.redirects == RedirectsRelay || t == nil || t.Aor == "" || isSIPS(requestURI(c.Request.B, u.lineEnd)) {
		return nil
	}
	user := s.view.Config.User(t.Aor)
	f := s.view.faces[faceKey{c.Home, u.source.VIP}]
	if user == nil || f == nil || f.ports[pb.Transport_UDP] == 0 || s.tmp2.Scan(c.Request.B) != nil {
		return nil
	}
	uri := s.contactOf(m, user)
	if uri == nil || diversions(&s.tmp2) >= maxDiversions {
		return nil
	}
	d := dialog.Diversion{AoR: t.Aor, Reason: diversionReason(m), Trusted: u.near}
	route := append([]byte("<sip:"), uriHost(f.addr)...)
	route = append(route, ':')
	route = strconv.AppendUint(route, uint64(f.ports[pb.Transport_UDP]), 10)
	route = append(route, ";lr;"+dialog.DivertParam+"="...)
	route = d.Append(route, s.view.divert[0], s.tmp2.Bytes(s.tmp2.CallID), s.tmp2.Bytes(s.tmp2.From.Tag), uri)
	return &pb.Target{
		Uri: string(uri), Flow: &pb.Flow{Group: c.Home, Vip: uint32(u.source.VIP), Transport: pb.Transport_UDP},
		Q: t.Q, Routes: []string{string(append(route, '>'))},
	}
}

// diverts reports whether a target is one that diversionOf made: it leads to ourselves.
func diverts(t *pb.Target) bool { return t.Aor == "" && t.Member == "" && len(t.Routes) > 0 }

// diversions is how often a call has been diverted: its template has a Diversion for each time, those of before it came to us, too.
func diversions(m *wire.Msg) int {
	n := 0
	for it := m.Values(wire.HdrDiversion); ; n++ {
		if _, _, ok := it.Next(); !ok {
			return n
		}
	}
}

// contactOf is the first Contact of a 3xx by q that names somebody whom we serve, or a number that user may dial; without the header fields that it may ask for.
func (s *Shard) contactOf(m *wire.Msg, user *fsm.User) []byte {
	var best []byte
	bestQ := -1
	for it := m.Values(wire.HdrContact); ; {
		_, v, ok := it.Next()
		if !ok {
			return best
		}
		ct, err := wire.ParseContact(m.Bytes(v))
		q := int(ct.Q)
		if q < 0 {
			q = 1000
		}
		if err != nil || ct.Star || q <= bestQ {
			continue
		}
		uri := appendRequestURI(nil, ct.URI)
		if s.mayDivertTo(uri, user) {
			best, bestQ = []byte(text(uri)), q // as the record has it, and so as it is sent
		}
	}
}

// mayDivertTo reports whether a call may be diverted to a URI: within our domains only, for we are nobody's relay.
func (s *Shard) mayDivertTo(uri []byte, user *fsm.User) bool {
	p, err := wire.ParseURI(uri)
	if err != nil || len(uri) > maxRedirectURI || len(p.User) == 0 || p.Scheme != wire.SchemeSIP && p.Scheme != wire.SchemeTel {
		return false
	}
	d := s.view.Config.Domain(hostOf(user.AoR))
	if p.Scheme == wire.SchemeSIP {
		d = s.view.domain(p.Host)
	}
	if d == nil {
		return false
	}
	return s.view.redirects == RedirectsFollow || s.called(s.aor(&p, d), &p, d) != nil
}

// diversionReason is why a phone diverts a call, if it says so by a Diversion in its 3xx.
func diversionReason(m *wire.Msg) dialog.Reason {
	if !m.Has(wire.HdrDiversion) {
		return dialog.Unknown
	}
	v, _ := wire.Param(m.Value(wire.HdrDiversion), "reason")
	return dialog.ReasonOf(bytes.Trim(v, `"`))
}

// diverted reads who has diverted a request that we have sent to ourselves, by the token in its Route.
func (s *Shard) diverted(in *Inbound) (d dialog.Diversion, ok bool) {
	m := in.Msg
	if in.Routes == 0 || in.HasToken || !s.view.addrs[in.Flow.Remote.Addr().Unmap()] {
		return d, false
	}
	it := m.Values(wire.HdrRoute)
	_, v, ok := it.Next()
	if !ok {
		return d, false
	}
	na, err := wire.ParseNameAddr(m.Bytes(v))
	if err != nil {
		return d, false
	}
	u, err := wire.ParseURI(na.URI)
	if err != nil {
		return d, false
	}
	token, ok := u.Param(dialog.DivertParam)
	if !ok {
		return d, false
	}
	d, err = dialog.ParseDiversion(token, s.view.divert, m.Bytes(m.CallID), m.Bytes(m.From.Tag), m.Bytes(m.URI))
	return d, err == nil
}

// diverter is the user who answers for a diverted call.
func (s *Shard) diverter(d dialog.Diversion) (w sender, refusal *wire.Response) {
	user := s.view.Config.User(d.AoR)
	w.domain = s.view.Config.Domain(hostOf(d.AoR))
	if w.domain == nil || user == nil {
		return w, &wire.Response{Status: 403, Reason: "Diverted By A User Who Is Gone"}
	}
	w.user, w.divert = user, &d
	return w, nil
}

// saysDiverted writes into a request who diverted it (RFC 5806 §5), so that the next user's phone shows it, and carriers know whose call it is whose caller is
// none of their customers: gateways are told the name that the user has for them.
func saysDiverted(e *wire.Edit, w *sender, gateway bool) {
	who := w.aor()
	if gateway {
		who = w.user.Identity()
	}
	v := append([]byte("<sip:"), who...)
	v = append(v, ">;reason="...)
	v = append(v, w.divert.Reason.String()...)
	e.Prepend(wire.HdrDiversion, append(v, ";counter=1"...))
}

// ourAddr is the address of our VIP that a URI names, as a Record-Route of ours above another of ours does (a call that was diverted): its host may be a
// public address, which a NAT need not lead back here. ok is false for a URI that names somebody else.
func (v *View) ourAddr(u *wire.URI, p pb.Transport) (at netip.AddrPort, ok bool) {
	for _, f := range v.facesAt(u.Host) {
		if port := portOf(u, p); f.ports[p] == port {
			return addrPort(f.addr, port), true
		}
	}
	return at, false
}
