package proxy

import (
	"holdline/fsm/pb"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// legFinal handles a final response of a leg that is not a 2xx to an INVITE.
func (s *Shard) legFinal(in *Inbound, c *txn.Cell, u *call, l *txn.Leg) {
	m := in.Msg
	l.Response = s.popVia(in, c, u)
	if c.Invite() {
		l.Ack = s.buildAck(m, l)
	}
	if flowFailed(m.Status) && mayRetry(c, u, l) && s.anotherFlow(u, l.Index) != nil {
		if l.Ack != nil {
			l.Acked = true
			s.send(l.Flow, l.Ack.B)
		}
		s.tryFlow(c, u, l)
		return
	}
	if m.Status == 503 && s.tryOther(c, u, l) {
		if l.Ack != nil {
			l.Acked = true
			s.send(l.Flow, l.Ack.B)
		}
		return
	}
	if m.Status/100 == 3 && s.redirected(in, c, u, l) || s.challenged(in, c, u, l) {
		return
	}
	s.legDone(c, u, l, m.Bytes(m.To.Tag))
}

// buildAck makes the ACK to a non-2xx final, which is sent when the result is committed (§17.1.1.3).
func (s *Shard) buildAck(final *wire.Msg, l *txn.Leg) *txn.Buf {
	if l.Request == nil || s.tmp.Scan(l.Request.B) != nil {
		return nil
	}
	buf := s.opt.Pool.Get(512)
	out, err := wire.AppendACK(buf.B, &s.tmp, final)
	if err != nil {
		buf.Release()
		return nil
	}
	buf.B = out
	l.Request.Release()
	l.Request = nil
	return buf
}

// legFailed ends a leg that got no final: timeout, no address, transport error.
func (s *Shard) legFailed(c *txn.Cell, u *call, l *txn.Leg, status uint16) {
	s.tab.GiveUp(l, status)
	if status != 487 && (s.tryOther(c, u, l) || s.tryFlow(c, u, l)) {
		return
	}
	s.legDone(c, u, l, nil)
}

// legDone decides what a leg's final means for the transaction: others are still open, the next target is tried, or
// the caller gets the best final.
func (s *Shard) legDone(c *txn.Cell, u *call, l *txn.Leg, toTag []byte) {
	l.Open = false
	switch u.kind {
	case kindHangup:
		s.byeGone(c, u)
		return
	case kindProbe:
		s.probed(c, u, l)
		return
	}
	if l.Status >= 600 && !u.noMore { // §16.7 step 5: a 6xx ends the search
		u.noMore = true
		for _, x := range c.Legs {
			if x.Open {
				s.cancelLeg(c, x)
			}
		}
	}
	taken := !c.Invite() && l.Status/100 == 2 // goes on at once, and nobody else is asked (§16.7 step 5)
	u.noMore = u.noMore || taken
	final := !u.answered && !u.decided && (taken || !anyOpen(c) && !s.hasNext(u, l))
	if final {
		s.decide(c, u)
	}
	s.submitLeg(c, u, l, toTag, final)
}

func anyOpen(c *txn.Cell) bool {
	for _, l := range c.Legs {
		if l.Open {
			return true
		}
	}
	return false
}

// hasNext reports whether another target may be tried after this leg's final. Gateways are changed when one is
// silent or unable; phones of lower q are tried whatever the others said.
func (s *Shard) hasNext(u *call, l *txn.Leg) bool {
	if u.noMore || u.cancel != phaseNone || u.next >= len(u.targets) {
		return false
	}
	if !u.serial {
		return true
	}
	switch l.Status {
	case 408, 500, 502, 503, 504:
		return true
	}
	return false
}

// submitLeg commits a leg's result; the ACK, and the final to the caller, wait for it.
func (s *Shard) submitLeg(c *txn.Cell, u *call, l *txn.Leg, toTag []byte, final bool) {
	kind := commitLeg
	if final {
		kind = commitFinal
	}
	if u.kind == kindBye && final {
		s.submitEnd(c, u)
		return
	}
	if final && s.submitRefresh(c, u) {
		return
	}
	if u.kind != kindCall || u.number == 0 {
		s.legCommitted(c, u, l, kind, nil)
		return
	}
	cmd := &pb.LegResult{
		Call: u.number, Home: c.Home, Epoch: c.Epoch, Leg: uint32(l.Index), Status: uint32(l.Status), ToTag: tagText(toTag),
		CallFailed: final,
	}
	if final && u.final != nil {
		cmd.Final = append([]byte(nil), u.final.B...)
	}
	s.submit(&pb.Command{Op: &pb.Command_LegResult{LegResult: cmd}}, Commit{Kind: kind, Leg: legPos(c, l), Cell: c.Ref(), Call: u.number})
}

// legCommitted sends what waited for a leg's result.
func (s *Shard) legCommitted(c *txn.Cell, u *call, l *txn.Leg, k CommitKind, r *pb.Result) {
	if l.Ack != nil && !l.Acked {
		l.Acked = true
		s.send(l.Flow, l.Ack.B)
	}
	if k == commitFinal {
		s.sendFinal(c, u)
		return
	}
	if u.answered || u.decided || u.cancel != phaseNone || anyOpen(c) {
		return
	}
	if u.serial && r != nil {
		u.skipFailed(r.Legs)
	}
	if !s.startNext(c, u) && c.Request != nil {
		s.decide(c, u)
		s.submitLeg(c, u, l, nil, true)
	}
}

// skipFailed passes over alternates that Apply gave up because they carry as many calls as they may.
func (u *call) skipFailed(legs []*pb.Leg) {
	for u.next < len(u.targets) && u.next < len(legs) && legs[u.next].State == pb.LegState_FAILED {
		u.next++
	}
}

// decide chooses the final for the caller among those of the legs (§16.7 step 6) and keeps it in u.final; none when
// silence is the answer: a request other than INVITE that timed out (RFC 4320 §4.2).
func (s *Shard) decide(c *txn.Cell, u *call) {
	u.decided = true
	var best *txn.Leg
	status := uint16(408)
	if u.cancel != phaseNone {
		status = 487
	}
	score := -1
	for _, l := range c.Legs {
		if l.Status < 300 && (c.Invite() || l.Status < 200) {
			continue
		}
		st := s.meaning(c, u, l)
		if n := rank(st); n > score {
			best, status, score = l, st, n
		}
	}
	u.finalCode = status
	if best != nil && best.Response != nil && (best.Status == status || status == 500) {
		u.final, best.Response = best.Response, nil
		s.amendFinal(c, u, best, status)
		return
	}
	if !c.Invite() && status == 408 {
		return
	}
	u.final = s.ownFinal(c, u, status, nil)
}

// meaning is a leg's status as the caller should see it: a leg that we cancelled because nobody answered is a
// timeout, a 503 says nothing about us (§16.7 step 6), and 430 is for proxies only (RFC 5626 §11.5).
func (s *Shard) meaning(c *txn.Cell, u *call, l *txn.Leg) uint16 {
	switch {
	case l.Status == 487 && u.cancel == phaseNone:
		return 408
	case l.Status == 503 && l.Response != nil:
		return 500
	case l.Status == 430 && (!u.hasToken || !s.viaProxy(c)):
		return 480
	}
	return l.Status
}

// rank orders finals: 6xx first, then the lowest class; within 4xx those that help the caller to do better.
func rank(status uint16) int {
	n := 0
	switch {
	case status >= 600:
		n = 70
	case status >= 300:
		n = (6 - int(status/100)) * 10
	default:
		n = 80
	}
	switch status {
	case 401, 407, 415, 420, 484:
		n += 5
	case 487:
		n += 4
	case 486:
		n += 3
	case 408, 404:
		n++
	case 480:
		n += 2
	default:
		n += 2
	}
	return n
}

// amendFinal turns a 503 into a 500, and adds the challenges of the other legs to a 401 or 407 (§16.7 steps 6, 7).
func (s *Shard) amendFinal(c *txn.Cell, u *call, best *txn.Leg, status uint16) {
	challenge := status == 401 || status == 407
	if best.Status == status && !(challenge && len(c.Legs) > 1) {
		return
	}
	if s.tmp.Scan(u.final.B) != nil {
		return
	}
	e := &s.edit
	e.Begin(&s.tmp)
	if best.Status != status {
		e.SetStatus(int(status), "")
	}
	if challenge {
		s.addChallenges(c, best)
	}
	buf := s.opt.Pool.Get(len(u.final.B) + 512)
	out, err := e.AppendTo(buf.B)
	if err != nil {
		buf.Release()
		return
	}
	buf.B = out
	u.final.Release()
	u.final = buf
}

func (s *Shard) addChallenges(c *txn.Cell, best *txn.Leg) {
	for _, l := range c.Legs {
		if l == best || l.Response == nil || l.Status != 401 && l.Status != 407 || s.tmp2.Scan(l.Response.B) != nil {
			continue
		}
		for _, id := range [...]wire.HeaderID{wire.HdrWWWAuthenticate, wire.HdrProxyAuthenticate} {
			for i := s.tmp2.First(id); i >= 0; i = s.tmp2.Next(i) {
				s.edit.Append(wire.Field{ID: id, Value: s.tmp2.Bytes(s.tmp2.Header(i).Value)})
			}
		}
	}
}

// ownFinal makes a final of our own from the template.
func (s *Shard) ownFinal(c *txn.Cell, u *call, status uint16, fields []wire.Field) *txn.Buf {
	if c.Request == nil || s.tmp2.Scan(c.Request.B) != nil {
		return nil
	}
	var tag [8]byte
	buf := s.opt.Pool.Get(512)
	r := wire.Response{Status: int(status), ToTag: appendTag(tag[:0], u.respTag), Fields: fields, Note: u.why}
	switch {
	case u.overLimit:
		r.Reason = tooManyCalls
	case status == 403 && u.hasToken:
		r.Reason = noGateway
	case status == 403:
		r.Reason = byNumber
	}
	out, err := wire.AppendResponse(buf.B, &s.tmp2, &r)
	if err != nil {
		buf.Release()
		return nil
	}
	buf.B = out
	if status != 487 && u.kind != kindBye && (u.kind != kindCall || u.number == 0) { // of others there is a record; and who cancels or hangs up has what he wants
		s.refused(&s.tmp2, u.source, &r)
	}
	return buf
}

// sendFinal sends the final that was decided on; without one the transaction ends in silence.
func (s *Shard) sendFinal(c *txn.Cell, u *call) {
	if u.final == nil {
		if !anyOpen(c) {
			s.freeCell(c)
		}
		return
	}
	buf := u.final
	u.final = nil
	if s.tab.Respond(c, s.now, u.finalCode, buf) {
		s.send(c.Caller, buf.B)
	}
	if !c.Invite() {
		s.ended = append(s.ended, c.Ref())
	}
}

// finish ends a call that has no open leg with a final of our own; with a record it is committed first.
func (s *Shard) finish(c *txn.Cell, u *call, status uint16, fields []wire.Field) {
	if u.decided || u.answered {
		return
	}
	u.decided, u.noMore, u.finalCode = true, true, status
	u.final = s.ownFinal(c, u, status, fields)
	if u.number == 0 || u.kind != kindCall {
		s.sendFinal(c, u)
		return
	}
	cmd := &pb.LegResult{Call: u.number, Home: c.Home, Epoch: c.Epoch, Status: uint32(status), CallFailed: true}
	if u.final != nil {
		cmd.Final = append([]byte(nil), u.final.B...)
	}
	s.submit(&pb.Command{Op: &pb.Command_LegResult{LegResult: cmd}}, Commit{Kind: commitFinal, Leg: noLeg, Cell: c.Ref(), Call: u.number})
}

// noLeg stands for no leg in a Commit.
const noLeg = 255
