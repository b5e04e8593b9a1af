package proxy

import "holdline/sipcore/wire"

// ackDecided acknowledges a final other than 2xx to an INVITE whose transaction another node has ended: its result is
// committed, the record no longer has the leg's request, and the callee repeats itself until somebody acknowledges it
// (RFC 3261 §17.2.1). It reports whether that is all: the caller gets the final from the transaction that was taken
// over. Where nothing is known of the call any more the response is relayed as well.
//
// While the transaction is undecided nothing is done: the leg meant may be about to be taken up, and if it is not, as another address of a gateway's name that the last
// owner had tried, what it says does not speak for those that are open. The response comes again.
func (s *Shard) ackDecided(in *Inbound) bool {
	m := in.Msg
	if m.Method != wire.Invite || m.Status < 300 {
		return false
	}
	c := s.tab.FindLo(in.Branch.Txn)
	if c != nil {
		if u := callOf(c); !u.decided && !u.answered {
			return true
		}
	}
	out, err := wire.AppendACKTo(s.out[:0], m)
	if err != nil {
		return false
	}
	s.out = out
	s.send(in.Flow, out)
	return c != nil
}
