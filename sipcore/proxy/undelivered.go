package proxy

import (
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// Undelivered names a request of a leg that could not be sent.
type Undelivered struct {
	Branch Branch
}

// ParseUndelivered reads which leg a request of ours belongs to; false: none that waits for a response.
func ParseUndelivered(m *wire.Msg) (Undelivered, bool) {
	b, ok := parseBranch(m.Bytes(m.Via1.Branch))
	return Undelivered{b}, ok && m.Request && m.Method != wire.Ack
}

// Undeliverable goes on with a leg whose request could not be sent (RFC 3261 §16.9): a gateway's alternate is tried, a phone
// is not there. A phone whose connection is gone may be about to register again over another; requests of its dialogs fail
// meanwhile in a way that does not end the dialog, but for BYE, which has nothing more to reach.
func (s *Shard) Undeliverable(v *View, now int64, x Undelivered) {
	s.view, s.now = v, now
	c := s.tab.FindLo(x.Branch.Txn)
	if c == nil || !s.held(c) {
		return
	}
	l := legOf(c, x.Branch.Leg, x.Branch.Attempt)
	if l == nil || !l.Open || l.State != txn.LegCalling && l.State != txn.LegProceeding {
		return
	}
	u := callOf(c)
	s.legFailed(c, u, l, s.unsent(c, u, l))
}

// unsent is what a leg has failed with that did not reach its peer.
func (s *Shard) unsent(c *txn.Cell, u *call, l *txn.Leg) uint16 {
	switch {
	case u.kind == kindBye:
		return 481
	case u.hasToken && s.viaProxy(c):
		return 430 // RFC 5626 §5.3.1: another proxy may know another flow
	case u.hasToken, targetOf(u, l) != nil && targetOf(u, l).Aor != "":
		return 480
	}
	return 503
}
