package fsm

import (
	"slices"

	"holdline/fsm/pb"
)

// change1 finds the call a command is about, unless a former owner of its home sent it.
func (x *exec) change1(number uint64, home uint32, epoch uint64) (*Call, *pb.Result) {
	if r := x.stale(home, epoch); r != nil {
		return nil, r
	}
	c := x.st.calls.get(number)
	if c == nil || c.Home != home {
		return nil, notFound("call %d of VIP group %d does not exist", number, home)
	}
	return c, nil
}

// next is a copy of the row, for changing. Its legs are still the old row's: ownLegs copies them.
func (c *Call) next(epoch uint64) *Call {
	n := *c
	n.Version++
	n.Epoch = max(n.Epoch, epoch)
	return &n
}

func (c *Call) ownLegs() { c.Legs = slices.Clone(c.Legs) }

// settle drops what only open legs need, and whoever has yet to give the caller a final.
func (c *Call) settle() {
	if !anyOpen(c.Legs) && !c.beingSetUp() {
		c.Invite = nil
	}
}

// stopLegs gives up legs that have not begun and marks those that have, but for one, as being cancelled.
func (c *Call) stopLegs(but int) {
	for i := range c.Legs {
		switch l := &c.Legs[i]; {
		case i == but:
		case l.State == pb.LegState_PENDING:
			l.State = pb.LegState_FAILED
		case l.State == pb.LegState_TRYING || l.State == pb.LegState_RINGING:
			l.State = pb.LegState_CANCELLING
		}
	}
}

func (c *Call) leg(index uint32) *Leg {
	if int64(index) >= int64(len(c.Legs)) {
		return nil
	}
	return &c.Legs[index]
}

// legResult records a leg's response: ringing (1xx) or final (≥ 300), and with call_failed that the caller gets a final ≥ 300.
func (x *exec) legResult(c *pb.LegResult) *pb.Result {
	old, refused := x.change1(c.GetCall(), c.GetHome(), c.GetEpoch())
	if refused != nil {
		return refused
	}
	return x.legOutcome(old, c)
}

func (x *exec) legOutcome(old *Call, c *pb.LegResult) *pb.Result {
	if old.leg(c.Leg) == nil {
		return notFound("call %d has no leg %d", old.Number, c.Leg)
	}
	if c.Status < 100 || c.Status > 699 || c.Status/100 == 2 {
		return rejected("call %d: %d is not the result of a leg that was not answered", old.Number, c.Status)
	}
	row := old.next(c.Epoch)
	row.ownLegs()
	changed := false
	switch l := row.leg(c.Leg); {
	case c.Status < 200:
		changed = row.ring(l, c.ToTag)
		changed = row.renew(x) || changed
	case c.Redirect != nil && row.redirect(l, c):
		changed = true
	case c.Redirect != nil && l.Attempt >= c.Attempt: // it has been there before
	case open(l.State):
		l.State, l.Status, l.ToTag = pb.LegState_FAILED, c.Status, c.ToTag
		changed = true
		if !c.CallFailed {
			x.advance(row)
		}
	}
	if c.CallFailed && c.Status >= 300 && row.fail(c, x) {
		changed = true
	}
	if !changed {
		r := again(old.Number)
		r.Legs = legsPB(old.Legs)
		return r
	}
	row.settle()
	x.putCall(old, row, failedBecause(old, row))
	r := okID(row.Number)
	if len(row.Legs) > 1 {
		r.Legs = legsPB(row.Legs)
	}
	return r
}

// redirect has a leg go on where a 3xx sends it (RFC 3261 §16.7 step 4). It reports false when the call is not being set up any more, or the leg has gone
// further by then.
func (c *Call) redirect(l *Leg, r *pb.LegResult) bool {
	if !open(l.State) || l.State == pb.LegState_CANCELLING || l.Attempt >= r.Attempt || r.Redirect.GetUri() == "" {
		return false
	}
	l.Target, l.Attempt = targetFromPB(r.Redirect), r.Attempt
	l.State, l.Status, l.ToTag = pb.LegState_TRYING, 0, ""
	return true
}

func (c *Call) ring(l *Leg, tag string) bool {
	if l.State != pb.LegState_TRYING && (l.State != pb.LegState_RINGING || l.ToTag == tag) {
		return false
	}
	l.State, l.ToTag = pb.LegState_RINGING, tag
	if c.State == pb.CallState_CALLING {
		c.State = pb.CallState_EARLY
	}
	return true
}

// renew puts off the end of a call that rings on: its owner says so while provisional responses come, as they restart Timer C
// (RFC 3261 §16.7 step 2). A no-answer time that was asked for is not put off.
func (c *Call) renew(x *exec) bool {
	waiting := c.State == pb.CallState_CALLING || c.State == pb.CallState_EARLY
	if !waiting || c.CutMs() != 0 || c.DeadlineMs-c.CreatedMs < timerCMs || x.at+timerCMs-c.DeadlineMs+c.Outage() < renewStepMs {
		return false
	}
	c.until(x.now+timerCMs, x.late())
	return true
}

// fail records the final the caller gets. A call that was answered or has ended stays so.
func (c *Call) fail(r *pb.LegResult, x *exec) bool {
	switch c.State {
	case pb.CallState_CALLING, pb.CallState_EARLY, pb.CallState_CALL_CANCELLING:
	default:
		return false
	}
	c.stopLegs(-1)
	c.State = pb.CallState_CALL_FAILED
	c.FinalStatus = r.Status
	if s := statusOf(r.Final); s != 0 {
		c.FinalStatus = s // the best response, not always this leg's
	}
	c.Final = slices.Clip(r.Final)
	c.until(x.now+lingerMs, x.late())
	return true
}

// statusOf reads the status code of a response, or 0.
func statusOf(b []byte) uint32 {
	const version = "SIP/2.0 "
	if len(b) < len(version)+3 || string(b[:len(version)]) != version {
		return 0
	}
	n := uint32(0)
	for _, d := range b[len(version) : len(version)+3] {
		if d < '0' || d > '9' {
			return 0
		}
		n = n*10 + uint32(d-'0')
	}
	return n
}

// advance begins the next pending alternate whose member has room, once no leg is being tried; those without fail.
func (x *exec) advance(c *Call) {
	if c.State != pb.CallState_CALLING && c.State != pb.CallState_EARLY {
		return
	}
	for i := range c.Legs {
		if s := c.Legs[i].State; s == pb.LegState_TRYING || s == pb.LegState_RINGING {
			return
		}
	}
	for i := range c.Legs {
		l := &c.Legs[i]
		if l.State != pb.LegState_PENDING {
			continue
		}
		if x.roomFor(l.Target) {
			l.State = pb.LegState_TRYING
			return
		}
		l.State, l.Status = pb.LegState_FAILED, 503
	}
}

func (x *exec) roomFor(t *Target) bool {
	p := x.st.conf.Pool(t.Pool)
	if p == nil {
		return false
	}
	for _, m := range p.Members {
		if m.Name == t.Member {
			return x.st.calls.hasRoom(m)
		}
	}
	return false
}

// answerCall records a confirmed dialog. Repeated for the same dialog it renews the session's deadline.
func (x *exec) answerCall(c *pb.AnswerCall) *pb.Result {
	old, refused := x.change1(c.GetCall(), c.GetHome(), c.GetEpoch())
	if refused != nil {
		return refused
	}
	return x.answer(old, c)
}

func (x *exec) answer(old *Call, c *pb.AnswerCall) *pb.Result {
	if old.leg(c.Leg) == nil {
		return notFound("call %d has no leg %d", old.Number, c.Leg)
	}
	if !old.Active() { // its CDR is made; a caller that has had another final takes no 2xx (RFC 3261 §17.1.1.2)
		return rejected("call %d has ended", old.Number)
	}
	over := old.hasEnded(c.ToTag)
	if over && old.wasAnswered() {
		return again(old.Number)
	}
	row := old.next(c.Epoch)
	row.ownLegs()
	l := row.leg(c.Leg)
	l.State, l.Status, l.ToTag = pb.LegState_ANSWERED, 200, c.ToTag
	setIf(&l.Contact, c.CalleeContact)
	setIf(&l.Routes, c.CalleeRoutes)
	setIf(&row.CallerContact, c.CallerContact)
	setIf(&row.CallerRoutes, c.CallerRoutes)
	known := slices.Contains(row.Dialogs, c.ToTag)
	if !known && !over {
		if len(row.Dialogs) >= maxLegs {
			return fail(pb.Code_LIMIT, "call %d has %d dialogs already", row.Number, len(row.Dialogs))
		}
		row.Dialogs = append(slices.Clip(slices.Clone(row.Dialogs)), c.ToTag)
	}
	if row.State != pb.CallState_CALL_ANSWERED {
		row.State = pb.CallState_CALL_ANSWERED
		row.AnsweredWallMs, row.AnsweredMs = x.atWall, max(x.at, row.CreatedMs)
		row.FinalStatus, row.Final = 200, nil
	}
	row.stopLegs(int(c.Leg))
	row.settle()
	deadline := x.st.conf.MaxEnd(row)
	if c.SessionExpires != 0 { // RFC 4028: renewed by each refresh
		deadline = min(deadline, x.now+int64(c.SessionExpires)*1000)
	}
	if at := row.CutMs(); at != 0 {
		deadline = min(deadline, at)
	}
	row.until(deadline, 0)     // whoever asks how long ago that was goes by AnsweredMs
	if len(row.Dialogs) == 0 { // the BYE was faster
		row.end(x.now)
		x.putCall(old, row, endedBecause(old.odd.cause))
		return okID(row.Number)
	}
	x.st.calls.put(old, row)
	return &pb.Result{Id: row.Number, Existing: known}
}

func setIf(to *string, s string) {
	if s != "" {
		*to = s
	}
}

// MaxEnd is when an answered call has gone on for as long as any may, in FSM time.
func (c *Config) MaxEnd(row *Call) int64 {
	if s := c.SettingInt("call.max-duration", 0); s > 0 && s < 1<<31 {
		return row.AnsweredMs + s*1000
	}
	return row.AnsweredMs + maxDurationMs
}

// cancelCall records that the caller gave up: open legs are being cancelled. An answered call isn't changed (RFC 3261 §9.2).
func (x *exec) cancelCall(c *pb.CancelCall) *pb.Result {
	old, refused := x.change1(c.GetCall(), c.GetHome(), c.GetEpoch())
	if refused != nil {
		return refused
	}
	return x.giveUp(old, c)
}

func (x *exec) giveUp(old *Call, c *pb.CancelCall) *pb.Result {
	if old.State != pb.CallState_CALLING && old.State != pb.CallState_EARLY {
		return again(old.Number)
	}
	row := old.next(c.Epoch)
	row.ownLegs()
	row.stopLegs(-1)
	row.State = pb.CallState_CALL_CANCELLING
	row.until(x.now+lingerMs, x.late())
	x.st.calls.put(old, row)
	return okID(row.Number)
}

// endCall ends a dialog, or all of them without a To-tag; the call ends with its last.
func (x *exec) endCall(c *pb.EndCall) *pb.Result {
	old, refused := x.change1(c.GetCall(), c.GetHome(), c.GetEpoch())
	if refused != nil {
		return refused
	}
	return x.endDialog(old, c)
}

func (x *exec) endDialog(old *Call, c *pb.EndCall) *pb.Result {
	cause := endedBecause(c.Cause)
	if !old.Active() || cause == CauseLost && old.wasAnswered() { // a former owner has entered the answer meanwhile
		return again(old.Number)
	}
	row := old.next(c.Epoch)
	if c.ToTag != "" {
		if old.hasEnded(c.ToTag) {
			return again(old.Number)
		}
		i := slices.Index(row.Dialogs, c.ToTag)
		row.note(c)
		if i < 0 { // its answer, if there was one, is still under way: it comes too late
			x.st.calls.put(old, row)
			return okID(old.Number)
		}
		row.Dialogs = slices.Delete(slices.Clone(row.Dialogs), i, i+1)
	} else {
		row.Dialogs = nil
	}
	if len(row.Dialogs) == 0 {
		row.end(x.now)
		if c.Status != 0 {
			row.FinalStatus = c.Status
		}
	}
	if cause == CauseLost { // who says so took the call up, and knows no more of it than Expire would
		cause = expiredBecause(old)
	}
	x.putCall(old, row, cause)
	return okID(row.Number)
}

// note remembers a dialog that has ended: an answer of it that is committed later, because another owner sent it, must not revive it.
func (c *Call) note(e *pb.EndCall) {
	o := c.oddly()
	if len(o.gone) < maxLegs {
		o.gone = append(slices.Clip(o.gone), e.ToTag)
	}
	o.cause = e.Cause
	c.odd = o
}

func (c *Call) hasEnded(tag string) bool { return c.odd != nil && slices.Contains(c.odd.gone, tag) }

// endedUnanswered reports that a dialog of a call has ended whose answer was never recorded.
func (c *Call) endedUnanswered() bool { return !c.wasAnswered() && c.odd != nil && len(c.odd.gone) > 0 }

// end makes it a row that only answers retransmissions until it goes.
func (c *Call) end(now int64) {
	c.State = pb.CallState_CALL_ENDED
	c.Dialogs, c.Invite = nil, nil
	if c.odd != nil && c.odd.gone != nil {
		c.odd = &odd{number: c.odd.number}
	}
	c.until(now+lingerMs, 0)
}
