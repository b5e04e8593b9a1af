package proxy

import (
	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/transport"
)

// byOperator is why a call is ended that an operator wants ended (RFC 3326 §2).
const byOperator = `SIP;cause=487;text="Ended By Operator"`

// givenUp reports whether a call that is being set up is to be cancelled by now: its caller, or an operator, wants no answer any more.
func givenUp(row *fsm.Call) bool {
	switch row.State {
	case pb.CallState_CALL_CANCELLING:
		return true
	case pb.CallState_CALLING, pb.CallState_EARLY:
		return row.CutMs() != 0
	}
	return false
}

// cutCall ends a call that is being set up and that an operator wants ended (fsm.CutCall), as if its caller had cancelled it: CANCEL to what is open (RFC 3261
// §9.1), and 487 to the caller when that is over. Of the finals that could be chosen it is the one after which nobody tries again or elsewhere, as gateways may
// after 408, 480 or 503. The wish is on record, so nothing needs to be committed first. A phone that answers meanwhile is connected, and gets a BYE at the next
// turn. It reports whether it cancelled the call. Whoever took the call up has done so already (resume); where there was no room for that, it is tried again.
func (s *Shard) cutCall(row *fsm.Call, epoch uint64) bool {
	if len(row.Invite) == 0 || s.tmp.Scan(row.Invite) != nil {
		return false
	}
	in := Inbound{Msg: &s.tmp, Flow: transport.Flow(row.Caller), Home: row.Home, Epoch: epoch}
	c := s.tab.Find(s.keyOf(&in))
	if c == nil || !s.held(c) {
		s.Rearm(s.view, s.now, row, epoch)
		return true
	}
	u := callOf(c)
	if u.creating || u.cancel != phaseNone || u.answered || u.decided {
		return false
	}
	s.opt.Stats.HangUps.Add(1)
	u.reason, u.noMore = byOperator, true
	s.cancelCommitted(c, u)
	return true
}
