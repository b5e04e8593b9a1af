package proxy

import (
	"bytes"
	"slices"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// Rearm takes up a call of a group that this node has come to own under epoch, from its record (DESIGN §4, "The call
// record"): each open leg's INVITE is sent again under its branch, so that the callee repeats its latest response;
// a CANCEL follows that response; a final that the caller may not have acknowledged is sent again. Answered and ended
// calls need nothing: their messages route by token. What was over before anybody could take it up is not begun anew (endLate).
func (s *Shard) Rearm(v *View, now int64, row *fsm.Call, epoch uint64) {
	s.view, s.now = v, now
	if len(row.Invite) == 0 && len(row.Final) == 0 || !row.Active() && row.TimeOver(s.opt.State.Now()) {
		return
	}
	text := row.Invite
	if len(text) == 0 {
		s.rearmFinal(row, epoch)
		return
	}
	m := &s.tmp
	if m.Scan(text) != nil {
		return
	}
	in := Inbound{Msg: m, Flow: transport.Flow(row.Caller), Home: row.Home, Epoch: epoch}
	key := s.keyOf(&in)
	if s.takenUpAlready(key) { // by a retransmission
		return
	}
	c, u := s.newCell(&in, key, kindCall)
	if c == nil {
		return
	}
	c.Request = s.opt.Pool.Copy(text)
	u.lineEnd = bytes.IndexByte(text, '\n') + 1
	u.loop, u.noLength = s.loopHash(&in), lengthOf(m)
	u.serial = row.Pool != ""
	u.tagHash = s.view.route[0].TagHash(m.Bytes(m.From.Tag))
	u.near, u.far = s.trusts(in.Flow), row.Pool != ""
	u.pinned = s.behindNAT(&in, &sender{members: s.view.sources(in.Flow.Remote.Addr())})
	u.number = row.TokenNumber()
	s.adoptRow(u, row)
	s.resume(c, u, row)
}

// takeUpAnswered takes up the call that a final answers, for lack of a raft leader before its group is (Settled, TakenUp): by its record, as far as it has come here. Relayed
// without a transaction the answer would be on no record, nor would the BYE be, and whoever takes the group up at last would begin the call anew. It does that no harm: who
// has just answered repeats that to the INVITE. It returns nil for a call that has no record here.
func (s *Shard) takeUpAnswered(in *Inbound) *txn.Cell {
	m := in.Msg
	if m.Method != wire.Invite || m.Status < 200 || m.Via2.Value.Empty() || s.env.TakenUp(in.Home) || !s.env.Settled(in.Home) {
		return nil
	}
	epoch, held := s.env.Lease(in.Home)
	if !held {
		return nil
	}
	var key txn.Key
	for _, k := range s.view.branch {
		if key, s.key = k.secret.HashBelow(m, s.key); key.Lo == in.Branch.Txn {
			break
		}
	}
	row := s.opt.State.CallByKey(recordKey(key, in.Home))
	if row == nil {
		return nil
	}
	s.Rearm(s.view, s.now, row, epoch)
	return s.tab.FindLo(in.Branch.Txn)
}

// rearmFinal sends a final again whose call's request is gone from the record: it is its own index.
func (s *Shard) rearmFinal(row *fsm.Call, epoch uint64) {
	m := &s.tmp
	if m.Scan(row.Final) != nil {
		return
	}
	in := Inbound{Msg: m, Flow: transport.Flow(row.Caller), Home: row.Home, Epoch: epoch}
	key := s.keyOf(&in)
	if s.takenUpAlready(key) {
		return
	}
	c, u := s.newCell(&in, key, kindCall)
	if c == nil {
		return
	}
	u.number = row.TokenNumber()
	s.resume(c, u, row)
}

// takenUpAlready reports whether there is a transaction with this key. One of an earlier ownership can do nothing any more, and goes.
func (s *Shard) takenUpAlready(key txn.Key) bool {
	c := s.tab.Find(key)
	if c == nil || s.held(c) {
		return c != nil
	}
	s.freeCell(c)
	return false
}

// laterAttempt is one by which a leg went on that its target had sent elsewhere (redirected), or asked for credentials (challenged).
type laterAttempt struct{ leg, attempt uint8 }

// began notes with which attempt the leg of target i begins here, by the call's record.
func (u *call) began(i int, attempt uint32) {
	if attempt > 0 {
		u.attempts = append(u.attempts, laterAttempt{uint8(i), uint8(attempt)})
	}
}

// attempt is the number of the attempt with which target i begins.
func (u *call) attempt(i int) uint8 {
	for _, r := range u.attempts {
		if int(r.leg) == i {
			return r.attempt
		}
	}
	return 0
}

func (s *Shard) adoptRow(u *call, row *fsm.Call) {
	for i := range row.Legs {
		l := &row.Legs[i]
		if len(u.targets) == s.opt.MaxLegs {
			return
		}
		var t *pb.Target
		if l.Target != nil && l.State != pb.LegState_FAILED {
			t = targetPB(l.Target)
			u.several = u.several || t.Aor != "" // what patience goes by; it looks whether that is so
			u.began(i, l.Attempt)
		}
		u.targets = append(u.targets, t)
	}
}

func targetPB(t *fsm.Target) *pb.Target {
	return &pb.Target{
		Uri: t.URI, Flow: transport.Flow(t.Flow).PB(), Q: uint32(t.Q), Pool: t.Pool, Member: t.Member, Routes: t.Routes, Aor: t.AoR, Instance: t.Phone,
		Credentials: t.Credentials, CseqShift: uint32(t.CSeqShift),
	}
}

// resume goes on with a call where its record says it stands.
func (s *Shard) resume(c *txn.Cell, u *call, row *fsm.Call) {
	if len(row.Invite) > 0 {
		s.resumed[u.number] = c.Ref()
	}
	state := row.State
	if row.CutMs() != 0 && row.Active() {
		u.reason = byOperator
		if givenUp(row) {
			state = pb.CallState_CALL_CANCELLING
		}
	}
	switch now := s.opt.State.Now(); state {
	case pb.CallState_CALL_FAILED: // nothing rings any more: legs that the record does not call failed were never begun
		u.decided, u.noMore = true, true
		if len(row.Final) == 0 {
			s.freeCell(c)
			return
		}
		buf := s.opt.Pool.Copy(row.Final)
		if s.tab.Respond(c, s.now, uint16(row.FinalStatus), buf) {
			s.send(c.Caller, buf.B)
		}
	case pb.CallState_CALL_ANSWERED, pb.CallState_CALL_ENDED:
		u.answered, u.noMore, u.reason = true, true, elsewhere
		if age := now - row.AnsweredMs; row.State == pb.CallState_CALL_ANSWERED && age < txn.TimerB/1e6 { // who lost rings on until he hears so
			if age+row.Outage() < txn.TimerB/1e6 {
				s.resumeLegs(c, u, row)
			} else {
				s.cancelLate(c, u, row)
			}
		}
		s.tab.Accept(c, s.now) // the callee repeats its 200 until the ACK; it is relayed by its branch
	case pb.CallState_CALL_CANCELLING:
		u.cancel, u.noMore = phaseDone, true
		if row.TimeOver(now) {
			s.endLate(c, u, row)
			return
		}
		s.resumeLegs(c, u, row)
		if !anyOpen(c) {
			s.finish(c, u, 487, nil)
		}
	default:
		if row.TimeOver(now) {
			s.endLate(c, u, row)
			return
		}
		if c.Response == nil && u.trying == nil {
			u.trying = s.provisionalOf(c, 100)
		}
		if trying := u.trying; trying != nil {
			u.trying = nil
			if s.tab.Respond(c, s.now, 100, trying) {
				s.send(c.Caller, trying.B)
			}
		}
		s.resumeLegs(c, u, row)
		if !s.startNext(c, u) && !anyOpen(c) {
			s.finish(c, u, max(480, declined(row).status), nil)
		}
	}
}

// provisionalOf makes a provisional response of our own from the template.
func (s *Shard) provisionalOf(c *txn.Cell, status int) *txn.Buf {
	if c.Request == nil || s.tmp2.Scan(c.Request.B) != nil {
		return nil
	}
	buf := s.opt.Pool.Get(512)
	out, err := wire.AppendResponse(buf.B, &s.tmp2, &wire.Response{Status: status})
	if err != nil {
		buf.Release()
		return nil
	}
	buf.B = out
	return buf
}

// decline is the 6xx that ended a call's search: its status, 0 for none, and the q of the phone that sent it.
type decline struct {
	status uint16
	q      uint16
}

func declined(row *fsm.Call) (d decline) {
	for i := range row.Legs {
		if l := &row.Legs[i]; l.State == pb.LegState_FAILED && l.Status >= 600 && l.Target != nil {
			return decline{uint16(l.Status), l.Target.Q}
		}
	}
	return d
}

// resumeLegs gives the cell the legs that are under way or have failed; what has not begun stays with startNext. After a 6xx nothing more begins, and those that
// had begun, which are of no lower q, are cancelled (RFC 3261 §16.7 step 5).
func (s *Shard) resumeLegs(c *txn.Cell, u *call, row *fsm.Call) {
	for _, r := range u.attempts { // the final of the one before is no news when it comes again
		x := s.tab.NewLeg(c)
		x.Index, x.Attempt, x.Taken, x.State = r.leg, r.attempt-1, true, txn.LegCompleted
		x.Open = false
	}
	no := declined(row)
	u.noMore = u.noMore || no.status != 0
	first := len(c.Legs)
	for i := range row.Legs {
		l := &row.Legs[i]
		if c.Request == nil || i >= s.opt.MaxLegs {
			break
		}
		cancel := l.State == pb.LegState_CANCELLING
		if l.State == pb.LegState_TRYING || l.State == pb.LegState_RINGING {
			cancel = u.cancel != phaseNone || no.status != 0 && l.Target != nil && l.Target.Q >= no.q
		}
		switch {
		case l.State == pb.LegState_FAILED:
			s.resumeFailed(c, u, l)
		case cancel && begun(row, i) && i < len(u.targets) && u.targets[i] != nil:
			x := s.tab.NewLeg(c)
			x.Index, x.Attempt = uint8(i), u.attempt(i)
			u.next = max(u.next, i+1)
		}
	}
	for _, l := range c.Legs[first:] { // all are there by now: one that fails at once must not be taken for the last
		if !l.Open || c.Request == nil {
			continue
		}
		s.launch(c, u, l, u.targets[l.Index])
		if l.State == txn.LegCalling || l.State == txn.LegIdle && l.Open {
			l.Cancel = txn.CancelWanted
		}
	}
}

// begun reports whether a leg that the record does not call failed was sent: phones of lower q are rung when all of higher q have failed.
func begun(row *fsm.Call, i int) bool {
	of := func(l *fsm.Leg) uint16 {
		if l.Target == nil {
			return 0
		}
		return l.Target.Q
	}
	q := of(&row.Legs[i])
	return !slices.ContainsFunc(row.Legs, func(l fsm.Leg) bool { return l.State != pb.LegState_FAILED && of(&l) > q })
}

// resumeFailed remembers a failed leg, so that its final is acknowledged when it comes again.
func (s *Shard) resumeFailed(c *txn.Cell, u *call, row *fsm.Leg) {
	if row.Target == nil || row.Status == 0 {
		return
	}
	l := s.sentLeg(c, u, row)
	l.Open, l.Taken = false, true
	l.State, l.Status = txn.LegCompleted, uint16(row.Status)
}

// sentLeg makes a leg whose INVITE the last owner has sent, and that is not sent again; without its Request when it cannot be written.
func (s *Shard) sentLeg(c *txn.Cell, u *call, row *fsm.Leg) *txn.Leg {
	l := s.tab.NewLeg(c)
	l.Index, l.Attempt = uint8(row.Index), uint8(row.Attempt)
	if !s.legFlow(c, u, l, targetPB(row.Target)) || !l.Flow.Remote.IsValid() {
		return l
	}
	buf := s.opt.Pool.Get(len(c.Request.B) + 512)
	if out, ok := s.appendLeg(buf.B, c, u, l, []byte(row.Target.URI), row.Target.Routes); ok {
		buf.B = out
		l.Request = buf
		return l
	}
	buf.Release()
	return l
}
