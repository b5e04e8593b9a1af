package proxy

import (
	"bytes"

	"holdline/fsm/pb"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// cancel handles a CANCEL (RFC 3261 §9.2, §16.10). Its 200 waits until the cancelling is committed; then
// every open leg is cancelled, by whichever node owns the call by then.
func (s *Shard) cancel(in *Inbound, key txn.Key) {
	c := s.tab.Find(key)
	if c == nil && in.Flow.Proto == pb.Transport_UDP && !s.env.TakenUp(in.Home) {
		// The call may be the last owner's: a 481 now would leave the callee ringing. The caller asks again (Timer E).
		s.opt.Stats.DroppedNegative.Add(1)
		return
	}
	if c == nil || !c.Invite() {
		s.refuse(in, key, &wire.Response{Status: 481})
		return
	}
	u := callOf(c)
	switch {
	case u.cancel == phaseCommitting:
		s.opt.Stats.Retransmissions.Add(1)
		return
	case u.cancel == phaseDone || u.answered || u.decided:
		s.reply(in, key, &wire.Response{Status: 200})
		return
	}
	var tag [8]byte
	buf := s.opt.Pool.Get(512)
	out, err := wire.AppendResponse(buf.B, in.Msg, &wire.Response{
		Status: 200, Source: in.Flow.Remote, ToTag: appendTag(tag[:0], u.respTag),
	})
	if err != nil {
		buf.Release()
		return
	}
	buf.B = out
	u.cancelOK = &message{buf, ReplyFlow(in.Msg, in.Flow)}
	u.reason = reasonOf(in.Msg)
	u.cancel, u.noMore = phaseCommitting, true
	if !u.creating {
		s.submitCancel(c, u)
	}
}

// submitCancel commits the cancelling, or goes on without when the call has no record.
func (s *Shard) submitCancel(c *txn.Cell, u *call) {
	if u.number == 0 || u.kind != kindCall {
		s.cancelCommitted(c, u)
		return
	}
	cmd := &pb.CancelCall{Call: u.number, Home: c.Home, Epoch: c.Epoch}
	s.submit(&pb.Command{Op: &pb.Command_CancelCall{CancelCall: cmd}}, Commit{Kind: commitCancel, Cell: c.Ref(), Call: u.number})
}

// cancelCommitted sends the 200 to the CANCEL and cancels what is open. With nothing open the caller gets its 487.
func (s *Shard) cancelCommitted(c *txn.Cell, u *call) {
	if u.cancelOK != nil {
		s.send(u.cancelOK.flow, u.cancelOK.buf.B)
		u.cancelOK.buf.Release()
		u.cancelOK = nil
	}
	u.cancel = phaseDone
	if u.answered || u.decided {
		return
	}
	for _, l := range c.Legs {
		if l.Open {
			s.cancelLeg(c, l)
		}
	}
	if !anyOpen(c) {
		s.finish(c, u, 487, nil)
	}
}

// cancelLeg cancels a leg: at once when it has heard something, else with its first provisional response (§9.1).
func (s *Shard) cancelLeg(c *txn.Cell, l *txn.Leg) {
	switch l.State {
	case txn.LegIdle: // its host is being looked up: it was never sent
		s.tab.GiveUp(l, 487)
		l.Open = false
	case txn.LegCalling:
		if c.Invite() {
			l.Cancel = txn.CancelWanted
		}
	case txn.LegProceeding:
		if c.Invite() && (l.Cancel == txn.CancelNone || l.Cancel == txn.CancelWanted) {
			s.sendCancel(c, l)
		}
	}
}

// elsewhere is why the other legs of a call that was answered are cancelled: their phones then do not call it missed (RFC 3326 §3.1).
const elsewhere = `SIP;cause=200;text="Call completed elsewhere"`

// maxReason bounds what is kept of a CANCEL's Reason, in bytes.
const maxReason = 256

// reasonOf is the Reason of a request, which goes on in the CANCELs that follow from it (RFC 3326 §2); "" when there is none, or none that could be
// written in one line.
func reasonOf(m *wire.Msg) string {
	var b []byte
	for i := m.First(wire.HdrReason); i >= 0; i = m.Next(i) {
		if len(b) > 0 {
			b = append(b, ", "...)
		}
		if b = append(b, m.Bytes(m.Header(i).Value)...); len(b) > maxReason {
			return ""
		}
	}
	if bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return ""
	}
	return string(b)
}

func (s *Shard) sendCancel(c *txn.Cell, l *txn.Leg) {
	if l.Request == nil || s.tmp.Scan(l.Request.B) != nil {
		return
	}
	var fields []wire.Field
	if why := callOf(c).reason; why != "" {
		fields = []wire.Field{{ID: wire.HdrReason, Value: []byte(why)}}
	}
	buf := s.opt.Pool.Get(512)
	out, err := wire.AppendCANCEL(buf.B, &s.tmp, fields...)
	if err != nil {
		buf.Release()
		return
	}
	buf.B = out
	s.tab.StartCancel(l, s.now, buf)
	s.send(l.Flow, out)
}
