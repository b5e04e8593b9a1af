package proxy

import (
	"bytes"
	"slices"

	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// template makes what every leg's request is built from: the request with all edits that do not depend on
// the leg. received and rport are in the top Via, Max-Forwards is one less, our Routes and the credentials
// that answer challenges of ours are gone, and who calls is who w is, nil in a dialog. A leg replaces the request line and puts its
// headers below it.
func (s *Shard) template(in *Inbound, c *txn.Cell, u *call, w *sender) bool {
	m := in.Msg
	e := &s.edit
	e.Begin(m)
	e.SetSource(in.Flow.Remote)
	e.QuoteNames()
	mf := defaultMaxForwards
	if m.MaxForwards >= 0 {
		mf = int(m.MaxForwards) - 1
	}
	e.SetMaxForwards(mf)
	switch {
	case in.HasToken && s.nextIsStrict(in):
		s.toStrict(e, in)
	case in.Strict:
		s.unstrict(e, m)
	case in.Routes > 0:
		e.PopRoute(in.Routes)
	}
	s.dropCredentials(e, m)
	s.callerIdentity(e, m, u, w)
	if w != nil && w.divert != nil {
		saysDiverted(e, w, u.far)
	}
	s.lengthenSession(e, m)
	s.askSession(e, m)
	if !in.HasToken && m.Has(wire.HdrMaxBreadth) {
		e.RemoveAll(wire.HdrMaxBreadth)
	}
	buf := s.opt.Pool.Get(len(m.B) + 96)
	out, err := e.AppendTo(buf.B)
	if err != nil {
		buf.Release()
		return false
	}
	if !in.HasToken { // a request of a dialog has one way to go
		out = putBreadth(out, m)
	}
	buf.B = out
	if len(out) > wire.MaxMessage { // no answer could be made from it
		buf.Release()
		return false
	}
	c.Request, u.noLength = buf, lengthOf(m)
	u.lineEnd = bytes.IndexByte(out, '\n') + 1
	return true
}

// dropCredentials takes off what answers a challenge of ours, from requests of a dialog too (an ACK repeats those of its INVITE, §22.1): within the
// nonce's life whoever gets it could call as this user. It looks at Authorization as well, for whoever is called can pass our nonce on in a 401 of his.
// Credentials for others stay (§22.3).
func (s *Shard) dropCredentials(e *wire.Edit, m *wire.Msg) {
	if s.opt.Auth == nil {
		return
	}
	for _, id := range [...]wire.HeaderID{wire.HdrProxyAuthorization, wire.HdrAuthorization} {
		if !m.Has(id) {
			continue
		}
		for i := m.First(id); i >= 0; i = m.Next(i) {
			if s.opt.Auth.Ours(m.Bytes(m.Header(i).Value)) {
				e.RemoveLine(i)
			}
		}
	}
}

// unstrict undoes what a strict router did: the last Route value is the Request-URI (RFC 3261 §16.4).
func (s *Shard) unstrict(e *wire.Edit, m *wire.Msg) {
	line, last, n := 0, wire.Span{}, 0
	for it := m.Values(wire.HdrRoute); ; n++ {
		i, v, ok := it.Next()
		if !ok {
			break
		}
		line, last = i, v
	}
	if n == 0 {
		return
	}
	if na, err := wire.ParseNameAddr(m.Bytes(last)); err == nil {
		e.SetURI(na.URI)
	}
	e.RemoveValue(line, last)
}

// nextIsStrict reports whether the next Route is that of a strict router: it lacks lr (§16.6 step 6).
func (s *Shard) nextIsStrict(in *Inbound) bool {
	next, more := s.nextRoute(in)
	if !more {
		return false
	}
	na, err := wire.ParseNameAddr(next)
	if err != nil {
		return false
	}
	u, err := wire.ParseURI(na.URI)
	if err != nil {
		return false
	}
	_, loose := u.Param("lr")
	return !loose
}

// toStrict writes a request as a strict router wants it: its Route becomes the Request-URI, which goes to the end of the
// Route (§16.6 step 6).
func (s *Shard) toStrict(e *wire.Edit, in *Inbound) {
	m := in.Msg
	target := m.Bytes(m.URI)
	var rest [][]byte
	it := m.Values(wire.HdrRoute)
	for n := 0; ; n++ {
		_, v, ok := it.Next()
		if !ok {
			break
		}
		if n >= in.Routes {
			rest = append(rest, m.Bytes(v))
		}
	}
	if in.Strict {
		target = s.lastRoute(m)
		rest = rest[:len(rest)-1]
	}
	na, err := wire.ParseNameAddr(rest[0])
	if err != nil {
		return // nextIsStrict has read it
	}
	e.SetURI(na.URI)
	e.RemoveAll(wire.HdrRoute)
	for _, r := range rest[1:] {
		e.Append(wire.Field{ID: wire.HdrRoute, Value: r})
	}
	e.Append(wire.Field{ID: wire.HdrRoute, Value: slices.Concat([]byte("<"), target, []byte(">"))})
}
