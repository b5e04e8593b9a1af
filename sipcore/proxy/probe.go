package proxy

import (
	"errors"

	"github.com/dchest/siphash"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// Gateways are asked with an OPTIONS (RFC 3261 §11) whether they are there, so that no caller has to wait to find out that one is not, and
// one that is back is called at once. Each node that owns a group asks for itself: what it can reach is what counts for its calls.

// SettingProbe is how often a gateway is asked, in seconds; 0: never.
const (
	SettingProbe = "proxy.gateway-probe"
	ProbeEvery   = 15
)

// Probe asks a gateway from a group that this node owns under epoch. id, which is another one each time, becomes the Call-ID, by which the shard was
// chosen. false: the group has no address to ask from, or there is no room for a transaction.
func (s *Shard) Probe(v *View, now int64, group uint32, epoch uint64, m *pb.Member, id string) bool {
	s.view, s.now = v, now
	s.settle()
	uri := memberURI(m, "")
	c, f := s.askGateway(m, group, epoch, wire.Options, uri, append(append(s.key[:0], "probe\x00"...), id...))
	if c == nil {
		return false
	}
	u, l := callOf(c), c.Legs[0]
	l.Patience = s.seconds(settingGatewayTimeout, gatewayTimeout)
	c.Request = s.opt.Pool.Get(512)
	c.Request.B = appendProbe(c.Request.B, uri, f.at[l.Flow.Proto], id, uint32(c.Key.Hi))
	u.lineEnd = len("OPTIONS ") + len(uri) + len(" SIP/2.0\r\n")
	s.opt.Stats.Probes.Add(1)
	s.resolveLeg(c, u, l, []byte(uri))
	return true
}

// askGateway makes the transaction of a request of our own to a gateway, with a leg that has yet to get its request, and tells by which VIP that goes. seed is the
// transaction's alone. nil: there is no room, or the group has no address to ask from.
func (s *Shard) askGateway(m *pb.Member, group uint32, epoch uint64, method wire.Method, uri string, seed []byte) (*txn.Cell, *face) {
	t := &pb.Target{Uri: uri, Pool: m.Pool, Member: m.Name, Flow: s.memberFlow(m, group, 0)}
	k := s.view.branch[0]
	hi, lo := siphash.Hash128(k.secret.K0, k.secret.K1, seed)
	c := s.tab.New(txn.Key{Hi: hi, Lo: lo}, method)
	if c == nil {
		return nil, nil
	}
	u := s.newCall()
	u.kind, u.gen, u.asked, u.source = kindProbe, k.id, s.now, transport.Flow{Group: group}
	c.User, c.Home, c.Epoch, c.Caller = u, group, epoch, u.source
	u.targets = append(u.targets[:0], t)
	l := s.tab.NewLeg(c)
	f := (*face)(nil)
	if s.legFlow(c, u, l, t) {
		f = s.view.face(l.Flow)
	}
	if _, at := fsm.MemberHost(m); f == nil || at.IsValid() && f.six != at.Addr().Is6() {
		s.freeCell(c)
		return nil, nil
	}
	return c, f
}

// appendProbe writes the OPTIONS but for its Via. at is the VIP's host and port.
func appendProbe(b []byte, uri, at, id string, tag uint32) []byte {
	b = append(b, "OPTIONS "...)
	b = append(b, uri...)
	b = append(b, " SIP/2.0\r\nMax-Forwards: 70\r\nFrom: <sip:"...)
	b = append(b, at...)
	b = append(b, ">;tag="...)
	b = appendTag(b, tag)
	b = append(b, "\r\nTo: <"...)
	b = append(b, uri...)
	b = append(b, ">\r\nCall-ID: "...)
	b = append(b, id...)
	return append(b, "\r\nCSeq: 1 OPTIONS\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n"...)
}

// probed ends a probe, or a REGISTER of ours. Whatever is answered shows that the gateway is there, but for a 503. Silence counts against those alone that have answered
// before: many gateways answer no OPTIONS, and take calls.
func (s *Shard) probed(c *txn.Cell, u *call, l *txn.Leg) {
	if u.trunk != nil {
		s.registerDone(c, u, l)
		return
	}
	t, h := u.targets[0], s.opt.Health
	switch {
	case l.Response != nil || l.Status == 100:
		h.answered(t.Pool, t.Member, u.asked, s.now)
		if l.Status != 503 {
			h.clear(t.Pool, t.Member, true)
			h.clear(addrPool, addrText(l.Flow.Remote), true)
		} else if s.readFinal(l) && s.tmp.Has(wire.HdrRetryAfter) {
			h.mark(t.Pool, t.Member, s.now, s.now+retryAfter(&s.tmp), true)
		} else {
			s.down(u, 0)
		}
	default:
		if answers := h.silent(t.Pool, t.Member); answers || l.Status != 408 {
			s.down(u, 0)
		}
	}
	s.freeCell(c)
}

// readFinal scans into s.tmp the final that a request of our own has got; false: there is none. Our Via has come off it, and there was no other.
func (s *Shard) readFinal(l *txn.Leg) bool {
	if l.Response == nil {
		return false
	}
	err := s.tmp.Scan(l.Response.B)
	return err == nil || errors.Is(err, wire.ErrMissingVia)
}
