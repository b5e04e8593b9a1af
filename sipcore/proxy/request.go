package proxy

import (
	"time"

	"github.com/dchest/siphash"

	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// quiet is how long after a takeover negative answers are withheld: what they deny may be in a message or commit of
// the last owner's that is still under way, and the client asks again.
const quiet = int64(time.Second)

// request handles a request: retransmissions first, then by method.
func (s *Shard) request(in *Inbound) {
	s.opt.Stats.Requests.Add(1)
	m := in.Msg
	key := s.keyOf(in)
	if m.Method == wire.Ack {
		s.ack(in, key)
		return
	}
	if m.Method == wire.Cancel {
		s.cancel(in, key)
		return
	}
	if c := s.tab.Find(key); c != nil {
		s.opt.Stats.Retransmissions.Add(1)
		if b := s.tab.Retransmitted(c); b != nil {
			s.send(c.Caller, b.B)
		}
		return
	}
	if s.ignored(in) {
		return
	}
	if r, bad := s.validate(in); bad {
		s.reply(in, key, &r)
		return
	}
	switch {
	case in.HasToken && s.inDialog(in):
		if !s.behindAck(in) {
			s.relayInDialog(in, key)
		}
	case m.Method == wire.Register:
		s.register(in, key)
	default:
		s.outOfDialog(in, key)
	}
}

// inDialog reports whether the token's dialog is the one that the request belongs to: it has a To tag, and
// one of its tags is the caller's.
func (s *Shard) inDialog(in *Inbound) bool {
	m := in.Msg
	if m.To.Tag.Empty() {
		return false
	}
	h := in.Token.TagHash
	return in.TokenKey.TagHash(m.Bytes(m.From.Tag)) == h || in.TokenKey.TagHash(m.Bytes(m.To.Tag)) == h
}

// reply answers a request without state. The To tag follows from the request, so that a retransmission gets
// the same answer.
func (s *Shard) reply(in *Inbound, key txn.Key, r *wire.Response) {
	m := in.Msg
	if m.Method == wire.Ack {
		return
	}
	r.Source = in.Flow.Remote
	if len(r.ToTag) == 0 {
		var tag [8]byte
		r.ToTag = appendTag(tag[:0], uint32(key.Hi))
	}
	out, err := wire.AppendResponse(s.out[:0], m, r)
	if err != nil {
		return // it cannot be answered: a header that an answer needs is unreadable
	}
	s.refused(m, in.Flow, r)
	s.out = out
	to := in.Flow
	to.Remote = responseAddr(&m.Via1, m, in.Flow.Remote)
	s.send(to, out)
}

// refuse answers a request that goes nowhere. Shortly after a takeover it stays silent instead.
func (s *Shard) refuse(in *Inbound, key txn.Key, r *wire.Response) {
	// On a stream there is no next time.
	if at := s.env.AcquiredAt(in.Home); in.Flow.Proto == pb.Transport_UDP && at != 0 && s.now-at < quiet {
		s.opt.Stats.DroppedNegative.Add(1)
		return
	}
	s.reply(in, key, r)
}

// overloaded answers 503 without state when there is no room for another transaction.
func (s *Shard) overloaded(in *Inbound, key txn.Key) {
	s.opt.Stats.Overload.Add(1)
	s.reply(in, key, &wire.Response{Status: 503, Note: "no room for another transaction"})
}

func appendTag(dst []byte, v uint32) []byte {
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, digits[v>>uint(shift)&15])
	}
	return dst
}

// Ping reports whether m is an OPTIONS to this proxy itself: no user, nothing to route. It is answered without state, by Pong.
func (v *View) Ping(m *wire.Msg) bool {
	if m.Method != wire.Options || !m.Request || m.Has(wire.HdrRoute) {
		return false
	}
	u, err := wire.ParseURI(m.Bytes(m.URI))
	return err == nil && !u.HasUser && v.isUs(&u)
}

// Pong is the answer to an OPTIONS to this proxy itself. What it requires we have not, neither as its proxy nor as its user agent (RFC 3261 §16.3 step 5,
// §8.2.2.3). Max-Forwards is for those who would send it on (RFC 4475 §3.3.11).
func Pong(m *wire.Msg) *wire.Response {
	var missing []wire.Field
	for _, id := range [...]wire.HeaderID{wire.HdrProxyRequire, wire.HdrRequire} {
		if m.Has(id) {
			missing = append(missing, wire.Field{ID: wire.HdrUnsupported, Value: allValues(m, id)})
		}
	}
	if missing != nil {
		return &wire.Response{Status: 420, Fields: missing}
	}
	return &wire.Response{Status: 200}
}

// AppendReply appends a response that needs no shard; what it returns is empty when m cannot be answered.
func AppendReply(dst []byte, m *wire.Msg, flow transport.Flow, r *wire.Response) []byte {
	r.Source = flow.Remote
	var tag [8]byte
	r.ToTag = appendTag(tag[:0], uint32(siphash.Hash(uint64(m.CSeq), uint64(m.Method), m.Bytes(m.CallID))))
	out, err := wire.AppendResponse(dst, m, r)
	if err != nil {
		return dst[:0]
	}
	return out
}

// ReplyFlow is where a response to m, which came by flow, goes.
func ReplyFlow(m *wire.Msg, flow transport.Flow) transport.Flow {
	flow.Remote = responseAddr(&m.Via1, m, flow.Remote)
	return flow
}
