package proxy

import (
	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/txn"
)

// endLate ends a call that is taken up when its time is over, as after hours in which no node ran (fsm.Call.TimeOver). It is as if Timer C had fired
// (RFC 3261 §16.8): no INVITE goes out for it, whose phones may have forgotten it and would ring anew; they get a CANCEL, the caller a final when the end
// is on record.
func (s *Shard) endLate(c *txn.Cell, u *call, row *fsm.Call) {
	status := uint16(408)
	if givenUp(row) {
		status = 487
	}
	u.decided, u.noMore, u.finalCode = true, true, status
	u.final = s.ownFinal(c, u, status, nil)
	s.cancelLate(c, u, row)
	cmd := &pb.EndCall{Call: u.number, Home: c.Home, Epoch: c.Epoch, Cause: fsm.CauseLost, Status: uint32(status)}
	s.submit(&pb.Command{Op: &pb.Command_EndCall{EndCall: cmd}}, Commit{Kind: commitEnd, Cell: c.Ref(), Call: u.number})
}

// cancelLate cancels the legs that may ring on after a long outage. Whether they were heard of is not known any more, so the CANCEL waits for no response
// (RFC 3261 §9.1), and by now it can overtake no INVITE. A phone that has forgotten the call says 481. A host that would have to be looked up is left alone.
func (s *Shard) cancelLate(c *txn.Cell, u *call, row *fsm.Call) {
	for i := range row.Legs {
		switch l := &row.Legs[i]; l.State {
		case pb.LegState_TRYING, pb.LegState_RINGING, pb.LegState_CANCELLING:
			if c.Request == nil || l.Target == nil || !begun(row, i) {
				continue
			}
			x := s.sentLeg(c, u, l)
			if x.Request == nil {
				x.Open = false
				continue
			}
			x.State = txn.LegProceeding
			s.sendCancel(c, x)
		}
	}
}
