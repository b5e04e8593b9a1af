package proxy

import (
	"holdline/fsm/pb"
	"holdline/sipcore/txn"
)

// committed goes on with what waited for a command.
//
//   - Applied: as the command's section says.
//   - Nothing could be committed (err): the call goes on unreplicated and is counted (DESIGN §4, "Without a leader").
//   - A newer owner has taken the group over: this node falls silent; the neighbours' retransmissions reach the owner.
func (s *Shard) committed(cm Commit, r *pb.Result, err error) {
	switch cm.Kind {
	case commitAgain:
		s.savedAgain(cm.Call, err)
		return
	case commitHangup:
		s.hungUp(cm, err)
		return
	}
	c := cm.Cell.Cell()
	if c == nil {
		return
	}
	u := callOf(c)
	if err != nil {
		s.opt.Stats.Unreplicated.Add(1)
		r = nil
		if u.unsaved != nil && (cm.Kind == commitAnswer || cm.Kind == commitEnd) {
			s.keepUnsaved(u.unsaved)
		}
	}
	if (r != nil && r.Code == pb.Code_STALE_EPOCH) || !s.held(c) {
		s.opt.Stats.Stale.Add(1)
		s.freeCell(c)
		return
	}
	switch cm.Kind {
	case commitCreate:
		s.created(c, u, r, err)
	case commitLeg, commitFinal:
		if cm.Leg == noLeg {
			s.sendFinal(c, u)
		} else if int(cm.Leg) < len(c.Legs) {
			s.legCommitted(c, u, c.Legs[cm.Leg], cm.Kind, r)
		}
	case commitAnswer:
		s.answerCommitted(c, u)
	case commitCancel:
		s.cancelCommitted(c, u)
	case commitEnd:
		s.sendFinal(c, u)
	case commitRegister:
		s.registered(c, u, r, err)
	}
}

// Advance fires the timers that are due.
func (s *Shard) Advance(v *View, now int64) {
	s.view, s.now = v, now
	for {
		ev, ok := s.tab.Expire(now)
		if !ok {
			return
		}
		c := ev.Cell
		if ev.Kind == txn.Ended {
			s.freeCell(c)
			continue
		}
		if !s.held(c) { // a thawed owner does nothing through the new one
			s.opt.Stats.Stale.Add(1)
			s.freeCell(c)
			continue
		}
		s.timer(ev, callOf(c))
	}
}

func (s *Shard) timer(ev txn.Event, u *call) {
	switch ev.Kind {
	case txn.Resend:
		s.send(ev.Flow, ev.Buf.B)
	case txn.LegTimeout:
		if ev.Leg.State == txn.LegCalling && len(ev.Leg.Others) == 0 {
			s.silent(u, ev.Leg.Index)
		}
		if ev.Leg.Patience != 0 && ev.Cell.Invite() {
			s.tab.Abandon(ev.Leg, 408)
			if s.tryOther(ev.Cell, u, ev.Leg) {
				return
			}
			s.legDone(ev.Cell, u, ev.Leg, nil)
			return
		}
		s.legFailed(ev.Cell, u, ev.Leg, 408)
	case txn.LegNoAnswer:
		s.cancelLeg(ev.Cell, ev.Leg)
	case txn.LegCancelled:
		s.legFailed(ev.Cell, u, ev.Leg, 487)
	}
}
