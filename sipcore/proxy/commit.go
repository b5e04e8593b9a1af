package proxy

import (
	"errors"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/txn"
)

// submit commits a command about the call cm.Call. What concerns a call that is behind comes after what is: it goes on at once.
// So does everything when calls are recorded after the fact (SettingCommit); but what renews a record is for records that are there.
func (s *Shard) submit(cmd *pb.Command, cm Commit) {
	cm.cmd, cm.at, cm.slept = cmd, s.now, s.env.Slept()
	if cm.Kind == commitCreate {
		cm.making = s.nextMaking()
	}
	b := s.behind[cm.Call]
	switch {
	case b == nil && (!s.view.later || cm.Kind == commitRenew):
		if cm.Kind == commitCreate {
			s.opt.Admission.wait()
		}
		s.env.Submit(cmd, cm)
	case cm.Kind != commitRenew:
		cm.later = b == nil || b.later
		s.committed(cm, nil, errBehind)
	}
}

// committed goes on with what waited for a command.
//
//   - Applied: as the command's section says.
//   - Nothing could be committed (err): the call goes on unreplicated and is counted (DESIGN §4, "Without a leader").
//   - A newer owner has taken the group over: this node falls silent; the neighbours' retransmissions reach the owner.
func (s *Shard) committed(cm Commit, r *pb.Result, err error) {
	if cm.Kind == commitCatchUp {
		s.caughtUp(cm, r, err)
		return
	}
	if (cm.Kind == commitCreate || cm.Kind == commitRegister) && !errors.Is(err, errBehind) {
		s.opt.Admission.waited(s.now-cm.at, err)
	}
	if err != nil {
		if !cm.later {
			s.opt.Stats.Unreplicated.Add(1)
		}
		r = nil
		s.keep(cm)
	} else if r.Code == pb.Code_NOT_FOUND && fsm.IsOwnNumber(cm.Call) {
		s.keep(cm) // its former owner has yet to enter it
	}
	if cm.Kind == commitHangup {
		delete(s.hanging, cm.Call)
		return
	}
	c := cm.Cell.Cell()
	if c == nil {
		return
	}
	u := callOf(c)
	if (r != nil && r.Code == pb.Code_STALE_EPOCH) || !s.held(c) {
		s.opt.Stats.Stale.Add(1)
		s.freeCell(c)
		return
	}
	switch cm.Kind {
	case commitCreate:
		s.created(c, u, cm, r, err)
	case commitLeg, commitFinal:
		if cm.Leg == noLeg {
			s.sendFinal(c, u)
		} else if int(cm.Leg) < len(c.Legs) {
			s.legCommitted(c, u, c.Legs[cm.Leg], cm.Kind, r)
		}
	case commitRedirect:
		if int(cm.Leg) < len(c.Legs) {
			s.goOn(c, u, c.Legs[cm.Leg], cm.cmd.GetLegResult().GetRedirect())
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

// trimEvery is how often a shard looks whether it keeps room for far more transactions than it has had since.
const trimEvery = int64(time.Minute)

// Advance fires the timers that are due.
func (s *Shard) Advance(v *View, now int64) {
	s.view, s.now = v, now
	s.settle()
	if now >= s.trimAt {
		s.trimAt = now + trimEvery
		if s.tab.Trim() {
			s.free = nil
		}
	}
	s.clock.See(s.opt.State.Now(), now)
	s.endWaits()
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
		switch {
		case u.kind == kindProbe && ev.Leg.State == txn.LegProceeding:
			s.legFailed(ev.Cell, u, ev.Leg, 100) // it is there, and slow
			return
		case u.kind != kindProbe && ev.Leg.State == txn.LegCalling && len(ev.Leg.Others) == 0:
			s.silent(u, ev.Leg.Index)
		}
		if ev.Leg.Patience != 0 && ev.Cell.Invite() {
			s.tab.Abandon(ev.Leg, 408)
			if s.tryOther(ev.Cell, u, ev.Leg) || s.tryFlow(ev.Cell, u, ev.Leg) {
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
	case txn.Slow: // RFC 4320 §4.1: whoever waits knows by this that it is not us who are gone
		if buf := s.provisionalOf(ev.Cell, 100); buf != nil && s.tab.Respond(ev.Cell, s.now, 100, buf) {
			s.send(ev.Cell.Caller, buf.B)
		}
	}
}
