package proxy

import (
	"bytes"

	"holdline/sipcore/wire"
)

// defaultMaxForwards is what a request without Max-Forwards gets (RFC 3261 §16.6 step 3).
const defaultMaxForwards = 70

// validate checks a request as RFC 3261 §16.3 says; bad tells that r is the answer.
func (s *Shard) validate(in *Inbound) (r wire.Response, bad bool) {
	m := in.Msg
	if !in.HasToken { // a Request-URI of a dialog is the peer's Contact: it need not be one we can route by name
		switch u, err := wire.ParseURI(m.Bytes(m.URI)); {
		case err != nil:
			return wire.Response{Status: 400, Reason: "Bad Request-URI"}, true
		case u.Scheme == wire.SchemeOther:
			return wire.Response{Status: 416}, true
		}
	}
	if m.MaxForwards == 0 {
		return wire.Response{Status: 483}, true
	}
	if refusal := checkBreadth(m); refusal != nil {
		return *refusal, true
	}
	if refusal := s.checkSession(m); refusal != nil {
		return *refusal, true
	}
	if s.loops(in) {
		return wire.Response{Status: 482}, true
	}
	if m.Has(wire.HdrProxyRequire) {
		// We have no proxy extensions: all that is asked for is unsupported.
		return wire.Response{
			Status: 420,
			Fields: []wire.Field{{ID: wire.HdrUnsupported, Value: allValues(m, wire.HdrProxyRequire)}},
		}, true
	}
	return r, false
}

// allValues is a header's values in one line.
func allValues(m *wire.Msg, id wire.HeaderID) []byte {
	var all [][]byte
	for it := m.Values(id); ; {
		_, v, ok := it.Next()
		if !ok {
			return bytes.Join(all, []byte(", "))
		}
		all = append(all, m.Bytes(v))
	}
}

// loops reports whether the request has been here before with the same routing inputs (RFC 5393 §4.2.1): one
// of its Vias is ours and its branch ends in the loop hash that we would write now. A spiral has another hash.
func (s *Shard) loops(in *Inbound) bool {
	m := in.Msg
	if m.Via2.Value.Empty() {
		return s.isOurVia(m, &m.Via1) && s.viaLoops(in, m.Bytes(m.Via1.Branch))
	}
	it := m.Values(wire.HdrVia)
	for {
		_, v, ok := it.Next()
		if !ok {
			return false
		}
		text := m.Bytes(v)
		branch, ok := wire.Param(text, "branch")
		if ok && s.viaLoops(in, branch) {
			return true
		}
	}
}

func (s *Shard) isOurVia(m *wire.Msg, v *wire.Via) bool { return s.view.isOwn(m.Bytes(v.Host), v.Port) }

func (s *Shard) viaLoops(in *Inbound, branch []byte) bool {
	b, ok := parseBranch(branch)
	if !ok {
		return false
	}
	probe := *in
	probe.gen = b.Key
	return b.Loop == s.loopHash(&probe)
}

// loopHash is a keyed hash over all that routing depends on (RFC 5393 §4.2.2). What we take off ourselves, our Routes
// and credentials, is left out, so that it can be computed again from the request as we keep it.
func (s *Shard) loopHash(in *Inbound) uint32 {
	m := in.Msg
	b := append(s.key[:0], m.Bytes(m.URI)...)
	for _, part := range [...]wire.Span{m.To.Tag, m.From.Tag, m.CallID} {
		b = append(b, 0)
		b = append(b, m.Bytes(part)...)
	}
	b = append(b, byte(m.CSeq>>24), byte(m.CSeq>>16), byte(m.CSeq>>8), byte(m.CSeq))
	if m.Has(wire.HdrRoute) {
		it := m.Values(wire.HdrRoute)
		for n := 0; ; n++ {
			_, v, ok := it.Next()
			if !ok {
				break
			}
			if n >= in.Routes {
				b = append(b, 0)
				b = append(b, m.Bytes(v)...)
			}
		}
	}
	if m.Has(wire.HdrProxyRequire) {
		b = append(b, 1)
		b = append(b, m.Value(wire.HdrProxyRequire)...)
	}
	s.key = b
	return hash32(s.view.branchKey(in.gen).secret, b)
}
