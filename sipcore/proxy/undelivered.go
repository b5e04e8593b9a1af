package proxy

import (
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// Undelivered names a request of a leg that could not be sent.
type Undelivered struct {
	Branch Branch
	Conn   uint64 // the connection that it should have gone over; 0: none, or not known
}

// ParseUndelivered reads which leg a request of ours belongs to; false: none that waits for a response.
func ParseUndelivered(m *wire.Msg) (Undelivered, bool) {
	b, ok := parseBranch(m.Bytes(m.Via1.Branch))
	return Undelivered{Branch: b}, ok && m.Request && m.Method != wire.Ack
}

// Undeliverable goes on with a leg whose request could not be sent (RFC 3261 §16.9): a gateway's alternate is tried, a phone
// is followed to the connection that it has now, or waited for.
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
	if x.Conn != 0 && l.Flow.Conn != 0 && x.Conn != l.Flow.Conn {
		return // it goes another way by now
	}
	if u := callOf(c); !s.follow(c, u, l) {
		if len(l.Others) == 0 && l.Cancel == txn.CancelNone {
			s.down(u, l.Index)
		}
		s.absent(c, u, l)
	}
}

// absent ends a leg whose phone has no connection and does not come back.
func (s *Shard) absent(c *txn.Cell, u *call, l *txn.Leg) {
	status := s.unsent(c, u, l)
	if l.Cancel != txn.CancelNone {
		status = 487
	}
	s.legFailed(c, u, l, status)
}

// unsent is what a leg has failed with that did not reach its peer.
func (s *Shard) unsent(c *txn.Cell, u *call, l *txn.Leg) uint16 {
	switch {
	case u.kind == kindBye: // §15.1.1: whoever hangs up ends the dialog with it
		return 481
	case u.hasToken && s.viaProxy(c):
		return 430 // RFC 5626 §5.3.1: another proxy may know another flow
	case u.hasToken: // §16.9 and §16.7 step 6; it ends this transaction alone (RFC 5057 §5.1), not the dialog
		return 500
	case targetOf(u, l) != nil && targetOf(u, l).Aor != "":
		return 480
	}
	return 503
}
