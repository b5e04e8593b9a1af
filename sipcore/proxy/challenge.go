package proxy

import (
	"bytes"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// A gateway that knows us by an account asks for its password (401, 407), which the caller does not have. So we answer, as a user agent would: the INVITE goes there
// again with credentials and the next CSeq (RFC 3261 §22.2), for each realm that is asked for, as the leg's next attempt, on record before the first is acknowledged. Of that CSeq the
// caller knows nothing: all that he sends in the dialog has a number that much higher there, and all responses his own again. How much is in the dialog's token.

// challenged answers a gateway's challenge. It reports false if that is not for us to answer, or not here: a probe that is challenged has found out what it was to, and
// trunks see to themselves.
func (s *Shard) challenged(in *Inbound, c *txn.Cell, u *call, l *txn.Leg) bool {
	m := in.Msg
	if m.Status != 401 && m.Status != 407 || s.opt.Accounts == nil || u.kind == kindProbe || !mayRetry(c, u, l) {
		return false
	}
	if u.hasToken {
		return s.challengedInDialog(in, c, u, l)
	}
	t := targetOf(u, l)
	if t == nil || t.Member == "" {
		return false
	}
	a, ok := s.opt.Accounts.Account(t.Pool, t.Member)
	if !ok {
		return false
	}
	p, _, ok := a.authorize(m, asked{methodOf(c.Request.B), t.Uri, readProofs(t.Credentials), int(t.CseqShift)}, mayAnswerInCall)
	next := proto.CloneOf(t)
	next.Credentials, next.CseqShift = p.lines(), t.CseqShift+1
	if !ok || next.Credentials == "" {
		s.wrongAccount(u, l)
		return false
	}
	s.nextAttempt(c, u, l, next)
	return true
}

// wrongAccount makes of a gateway's 401 or 407 what it is to the caller, who has nothing to answer it with: a gateway that fails. Another one of its pool is tried.
func (s *Shard) wrongAccount(u *call, l *txn.Leg) {
	s.opt.Stats.WrongAccount.Add(1)
	l.Status = 500
	l.Response.Release()
	l.Response = nil
	u.why = "the gateway does not take its account's password"
}

// methodOf is the method of a template.
func methodOf(template []byte) string {
	method, _, _ := bytes.Cut(template, []byte(" "))
	return string(method)
}

// challengedInDialog answers a challenge to a request of a dialog. Its CSeq stays: a higher one would be that of the sender's next request, and a number that comes again is
// not out of order (§12.2.2).
func (s *Shard) challengedInDialog(in *Inbound, c *txn.Cell, u *call, l *txn.Leg) bool {
	m := in.Msg
	pool, member := s.gatewayIn(u, m)
	a, ok := s.opt.Accounts.Account(pool, member)
	if !ok || !s.isAt(pool, member, l.Flow.Remote.Addr()) { // whoever else is in the dialog may have sent the request anywhere, to be told the carrier's nonce answered
		return false
	}
	p, _, ok := a.authorize(m, asked{methodOf(c.Request.B), string(appendRequestURI(nil, requestURI(c.Request.B, u.lineEnd))), readProofs(u.credentials), int(l.Attempt)}, mayAnswerInCall)
	if !ok {
		return false
	}
	if u.credentials = p.lines(); u.credentials == "" {
		return false
	}
	n := s.tab.NewLeg(c)
	n.Index, n.Attempt, n.Flow, n.Shift = l.Index, l.Attempt+1, l.Flow, l.Shift
	l.Open, l.Status = false, 0
	if l.Ack != nil {
		l.Acked = true
		s.send(l.Flow, l.Ack.B)
	}
	s.sendLeg(c, u, n)
	return true
}

// gatewayIn is the pool and member that a request of a dialog is for, by the call's record; "" when it is for no gateway. m is its response.
func (s *Shard) gatewayIn(u *call, m *wire.Msg) (pool, member string) {
	caller, callee := m.Bytes(m.From.Tag), m.Bytes(m.To.Tag)
	if u.toCaller {
		caller, callee = callee, caller
	}
	d, ok := s.dialogOf(u.tokenCall, m.Bytes(m.CallID), caller, callee)
	switch {
	case ok && u.toCaller:
		pool, member, _ = strings.Cut(d.origin, "/")
	case ok && d.callee != nil:
		pool, member = d.callee.Pool, d.callee.Member
	}
	return pool, member
}

// ackCredentials are what an ACK of a 2xx that goes to to repeats of its INVITE (§13.2.2.4).
func (s *Shard) ackCredentials(in *Inbound, to transport.Flow) string {
	m := in.Msg
	d, ok := s.dialogOf(in.Token.Call, m.Bytes(m.CallID), m.Bytes(m.From.Tag), m.Bytes(m.To.Tag))
	if !ok || d.callee == nil || !s.isAt(d.callee.Pool, d.callee.Member, to.Remote.Addr()) {
		return ""
	}
	return d.callee.Credentials
}

// appendForAccount appends what is below the Route of a request to a gateway that has asked for credentials. Gateways are tried one by one: none has a share of the
// Max-Breadth.
func (s *Shard) appendForAccount(out []byte, c *txn.Cell, u *call, l *txn.Leg) ([]byte, bool) {
	out = appendLength(appendCredentials(out, u, l), u, l)
	if l.Shift == 0 {
		return append(out, c.Request.B[u.lineEnd:]...), true
	}
	return s.appendShifted(out, c.Request.B, u.lineEnd, l.Shift)
}

// appendCredentials appends what answers the challenge of a leg's gateway.
func appendCredentials(out []byte, u *call, l *txn.Leg) []byte {
	line := u.credentials
	if t := targetOf(u, l); t != nil {
		line = t.Credentials
	}
	if line == "" {
		return out
	}
	out = append(out, line...)
	return append(out, "\r\n"...)
}

// appendShifted appends a template from at on, with CSeq numbers that are shift higher: that of CSeq, and the one that RAck names (RFC 3262 §7.2).
func (s *Shard) appendShifted(out, template []byte, at int, shift uint8) ([]byte, bool) {
	m := &s.tmp2
	if m.Scan(template) != nil {
		return out, false
	}
	for i := range m.Len() {
		h := m.Header(i)
		skip := 0
		switch h.ID {
		case wire.HdrCSeq:
		case wire.HdrRAck:
			skip = 1
		default:
			continue
		}
		from, to, ok := numberIn(m.Bytes(h.Value), skip)
		if !ok || int(h.Value.Off) < at {
			continue
		}
		from, to = from+int(h.Value.Off), to+int(h.Value.Off)
		old, err := strconv.ParseUint(string(template[from:to]), 10, 32)
		if err != nil {
			return out, false
		}
		out = append(out, template[at:from]...)
		out = strconv.AppendUint(out, old+uint64(shift), 10)
		at = to
	}
	return append(out, template[at:]...), true
}

// numberIn finds the number in b that comes after skip others.
func numberIn(b []byte, skip int) (from, to int, ok bool) {
	digit := func(i int) bool { return i < len(b) && '0' <= b[i] && b[i] <= '9' }
	for i := 0; i < len(b); i = to {
		for from = i; from < len(b) && !digit(from); from++ {
		}
		for to = from; digit(to); to++ {
		}
		if skip--; skip < 0 {
			return from, to, to > from
		}
	}
	return 0, 0, false
}

// unshift gives a response the CSeq of the request as its sender knows it.
func unshift(e *wire.Edit, m *wire.Msg, shift uint8) {
	i := m.First(wire.HdrCSeq)
	if i < 0 || m.CSeq < uint32(shift) {
		return
	}
	v := m.Header(i).Value
	from, to, ok := numberIn(m.Bytes(v), 0)
	if !ok {
		return
	}
	e.Replace(wire.Span{Off: v.Off + uint16(from), End: v.Off + uint16(to)}, strconv.AppendUint(nil, uint64(m.CSeq-uint32(shift)), 10))
}
