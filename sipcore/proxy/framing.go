package proxy

import (
	"strconv"

	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// noLength is the body of a request that came without Content-Length, as only datagrams may: on a stream nobody would know where
// it ends (RFC 3261 §16.6 step 9, §18.3).
type noLength struct {
	yes  bool
	body int // bytes
}

func lengthOf(m *wire.Msg) noLength { return noLength{m.ContentLength < 0, m.Body.Len()} }

// appendLength appends the Content-Length that a leg's request lacks, if it goes over a stream.
func appendLength(out []byte, u *call, l *txn.Leg) []byte {
	if !u.noLength.yes || l.Flow.Proto == pb.Transport_UDP {
		return out
	}
	out = append(out, "Content-Length: "...)
	out = strconv.AppendInt(out, int64(u.noLength.body), 10)
	return append(out, "\r\n"...)
}

// passOn begins the edits of a response that goes to to: our Via comes off, a stream needs its length, and it tells who answers as far as
// that may be told. u is nil without a transaction.
func (s *Shard) passOn(in *Inbound, to transport.Flow, u *call) {
	m := in.Msg
	s.edit.Begin(m)
	s.edit.PopVia()
	s.answererIdentity(&s.edit, in, to, u)
	if in.shift != 0 {
		unshift(&s.edit, m, in.shift)
	}
	if m.ContentLength < 0 && to.Proto != pb.Transport_UDP {
		s.edit.Append(wire.Field{ID: wire.HdrContentLength, Value: strconv.AppendInt(nil, int64(m.Body.Len()), 10)})
	}
}

// unwritable is the answer to a request that no template could be made of: there is no room for what we must add, or it is broken.
func unwritable(m *wire.Msg) *wire.Response {
	const room = 256 // more than a template adds
	if len(m.B) > wire.MaxMessage-room {
		return &wire.Response{Status: 513}
	}
	return &wire.Response{Status: 400}
}

// tooLarge reports whether a request has grown, by what we put on top of it, beyond what its flow can carry.
func tooLarge(to transport.Flow, n int) bool {
	return n > wire.MaxMessage || to.Proto == pb.Transport_UDP && n > transport.MaxDatagram
}
