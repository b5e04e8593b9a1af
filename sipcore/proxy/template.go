package proxy

import (
	"bytes"

	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// template makes what every leg's request is built from: the request with all edits that do not depend on
// the leg. received and rport are in the top Via, Max-Forwards is one less, our Routes and the credentials
// that we asked for are gone. A leg replaces the request line and puts its headers below it.
func (s *Shard) template(in *Inbound, c *txn.Cell, u *call, dropCredentials bool) bool {
	m := in.Msg
	e := &s.edit
	e.Begin(m)
	e.SetSource(in.Flow.Remote)
	mf := defaultMaxForwards
	if m.MaxForwards >= 0 {
		mf = int(m.MaxForwards) - 1
	}
	e.SetMaxForwards(mf)
	if in.Strict {
		s.unstrict(e, m)
	} else if in.Routes > 0 {
		e.PopRoute(in.Routes)
	}
	if dropCredentials {
		e.RemoveAll(wire.HdrProxyAuthorization)
	}
	buf := s.opt.Pool.Get(len(m.B) + 64)
	out, err := e.AppendTo(buf.B)
	if err != nil {
		buf.Release()
		return false
	}
	buf.B = out
	c.Request = buf
	u.lineEnd = bytes.IndexByte(out, '\n') + 1
	return true
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

// requestURI is the Request-URI of a template.
func requestURI(template []byte, lineEnd int) []byte {
	line := template[:lineEnd]
	i := bytes.IndexByte(line, ' ') + 1
	j := bytes.LastIndexByte(line, ' ')
	if i <= 0 || j <= i {
		return nil
	}
	return line[i:j]
}
