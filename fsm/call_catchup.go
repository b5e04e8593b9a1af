package fsm

import (
	"encoding/binary"

	"holdline/fsm/pb"
)

// ownNumber marks a call's number that its owner made; those given here count from 1.
const ownNumber = 1 << 63

const (
	// maxAgoMs bounds how long ago something may have happened that is entered now.
	maxAgoMs = 30 * dayMs
	// maxWaitMs is how long what a CatchUpCall says of times may have waited. It is above what a busy log makes a node wait, and what an election takes.
	maxWaitMs = 10_000
)

// OwnNumber is the number by which the messages of a call name it whose CreateCall could not be committed. It follows from the
// call's key, so that a repeated INVITE gives the same.
func OwnNumber(key []byte, home uint32) uint64 {
	var b [8]byte
	copy(b[:], key)
	return ownNumber | binary.BigEndian.Uint64(b[:]) ^ uint64(home)
}

// IsOwnNumber reports whether a call's number was made by OwnNumber.
func IsOwnNumber(n uint64) bool { return n&ownNumber != 0 }

// ago says how long before this entry what is recorded now happened.
func (x *exec) ago(ms int64) {
	ms = max(0, min(ms, maxAgoMs))
	x.at, x.atWall = x.now-ms, x.wall-ms
}

// late is for how many ms what is recorded now has been over.
func (x *exec) late() int64 { return x.now - x.at }

// lived is Machine.Lived as of this entry.
func (x *exec) lived() int64 { return x.now + x.st.meta.outage }

// outdated reports whether a CatchUpCall has waited for so long that its times are wrong: numbered in its node's session, it is sent
// again until it is applied, if that takes minutes. Whoever waits for it makes another then, with the times as they are. So nothing hangs on how well
// the sender reckons made_ms, which goes on by its own monotonic clock from the last entry that it has applied (proxy.FSMClock):
//   - Cut off by itself, while the others went on: right, less what elections took there.
//   - No node had a leader: FSM time stood still and the sender's reckoning went on. The next leader tells of the outage before this is applied, and lived counts
//     it. An outage too short to be told makes a command seem up to that much younger than it is.
//   - The sender slept (suspended): what it made before is as old as it is; until it has applied what it missed it reckons too early, and is asked again.
//   - The sender is behind with applying: too early as well, and asked again until it is less than maxWaitMs behind.
func (x *exec) outdated(c *pb.CatchUpCall) bool {
	return c.MadeMs != 0 && x.lived()-c.MadeMs > maxWaitMs
}

// catchUpCall enters what happened to a call while nothing could be committed. Each step is the command that it would have been,
// so steps that were committed after all change nothing, and the whole may come twice. Deadlines count from now: outage time ends nothing, and the owner may
// see to the call still. Whoever takes it up from here on sees that they were set late (Call.Outage), and rings nobody for a caller who is long gone (Call.TimeOver).
//
// The sender need not own the group any more: it alone knows of what it did when nobody could be told. So it is
// refused only if a later owner has written the call's row, and even then a BYE that was answered counts: who took the call up as it
// was before repeats the INVITE, and a callee that repeats its 200 would leave a call that nobody ends.
func (x *exec) catchUpCall(c *pb.CatchUpCall) *pb.Result {
	g := x.st.conf.Group(c.GetHome())
	if g == nil {
		return rejected("VIP group %d does not exist", c.GetHome())
	}
	if x.outdated(c) {
		return fail(pb.Code_TOO_LATE, "what was done about call %d was told %d s ago: tell it anew", c.Call, (x.lived()-c.MadeMs)/1000)
	}
	row, refused := x.lateCall(c)
	if refused != nil {
		if refused.Code == pb.Code_STALE_EPOCH {
			named := x.lateNumber(c)
			if x.lateByes(c) || named {
				return okID(x.known(c).Number)
			}
		}
		return refused
	}
	for _, s := range c.Steps {
		x.ago(s.GetAgoMs())
		x.lasted = s.GetLastedMs()
		x.lateStep(row, s)
		row = x.st.calls.get(row.Number)
	}
	x.ago(0)
	x.lasted = 0
	if c.Epoch < g.Epoch && row.beingSetUp() {
		x.events = append(x.events, CallHandedOver{Group: row.Home, Call: row.Number})
	}
	return okID(row.Number)
}

// lateNumber tells a row that a later owner has written by what number the call's messages name it: their BYE would not find it.
func (x *exec) lateNumber(c *pb.CatchUpCall) bool {
	row := x.known(c)
	if c.Create == nil || !IsOwnNumber(c.Call) || row.TokenNumber() != row.Number {
		return false
	}
	n := row.next(row.Epoch)
	n.odd = n.oddly()
	n.odd.number = c.Call
	x.st.calls.put(row, n)
	return true
}

// lateByes ends the dialogs that both sides saw end, in a row that a later owner has written. It reports whether there were any. If that owner has not heard of an answer, the
// sender's counts too: a callee that has had its BYE need not repeat its 200, and the call would be one that nobody answered.
func (x *exec) lateByes(c *pb.CatchUpCall) bool {
	found := false
	for _, s := range c.Steps {
		e := s.GetEndCall()
		if cause := endedBecause(e.GetCause()); e.GetToTag() == "" || cause != CauseByeCaller && cause != CauseByeCallee {
			continue
		}
		found = true
		if row := x.known(c); !row.wasAnswered() {
			x.lateAnswer(row, c, e.ToTag)
		}
		x.ago(s.GetAgoMs())
		x.lasted = s.GetLastedMs() // the row says when the later owner heard the answer
		x.endDialog(x.known(c), e)
	}
	x.ago(0)
	x.lasted = 0
	return found
}

// lateAnswer enters the answer that began a dialog.
func (x *exec) lateAnswer(row *Call, c *pb.CatchUpCall, tag string) {
	for _, s := range c.Steps {
		if a := s.GetAnswerCall(); a != nil && a.ToTag == tag {
			x.ago(s.GetAgoMs())
			x.answer(row, a)
			return
		}
	}
}

// known is the row of the call that is to be brought up to date, nil if there is none.
func (x *exec) known(c *pb.CatchUpCall) *Call {
	t := &x.st.calls
	if row := t.get(c.Call); row != nil || c.Create == nil {
		return row
	}
	return t.byKey[string(c.Create.Key)]
}

// lateStep applies a step; what it is refused for is nothing that the sender could mend.
func (x *exec) lateStep(row *Call, s *pb.CallStep) {
	switch op := s.Step.(type) {
	case *pb.CallStep_LegResult:
		x.legOutcome(row, op.LegResult)
	case *pb.CallStep_AnswerCall:
		x.answer(row, op.AnswerCall)
	case *pb.CallStep_CancelCall:
		x.giveUp(row, op.CancelCall)
	case *pb.CallStep_EndCall:
		x.endDialog(row, op.EndCall)
	}
}

// lateCall finds the row that is to be brought up to date, or makes it: once for each sender, for a row that has gone again has left its CDR. The sender says
// whether it may have made it before (entered), so that no replica has to remember it; commands of a session are applied in order.
func (x *exec) lateCall(c *pb.CatchUpCall) (*Call, *pb.Result) {
	t := &x.st.calls
	row := x.known(c)
	switch {
	case row == nil && (c.Create == nil || c.Entered), row != nil && row.Home != c.Home:
		return nil, notFound("call %d of VIP group %d does not exist", c.Call, c.Home)
	case row != nil && row.Epoch > c.Epoch:
		return nil, fail(pb.Code_STALE_EPOCH, "call %d was changed under epoch %d, after %d", row.Number, row.Epoch, c.Epoch)
	case row != nil && (c.Create == nil || row.TokenNumber() == c.Call):
		return row, nil
	case !IsOwnNumber(c.Call) || len(c.Create.Key) == 0 || len(c.Create.Key) > maxKey || c.Create.Home != c.Home:
		return nil, rejected("catch up with call %d: its number, key or group can't be", c.Call)
	}
	legs, refused := x.triedLegs(c.Create)
	if refused != nil {
		return nil, refused
	}
	if row == nil {
		x.ago(c.CreatedAgoMs)
		n := x.newCall(c.Create, legs, x.st.conf.User(c.Create.Origin))
		n.odd = n.oddly()
		n.odd.number = c.Call
		t.put(nil, n)
		return n, nil
	}
	// CreateCall was committed after all, too late for its sender, which had gone on without.
	n := row.next(c.Epoch)
	x.ago(c.CreatedAgoMs)
	n.odd = n.oddly()
	n.odd.number = c.Call
	if row.Version == 1 {
		n.Legs = legs
		n.CreatedMs, n.CreatedWallMs = min(n.CreatedMs, x.at), min(n.CreatedWallMs, x.atWall)
		n.odd.outage = max(n.odd.outage, n.DeadlineMs-ringMs(c.Create)-x.at)
	}
	t.put(row, n)
	return n, nil
}

// triedLegs makes the legs of a call whose owner chose the gateways itself.
func (x *exec) triedLegs(c *pb.CreateCall) ([]Leg, *pb.Result) {
	if len(c.Targets) == 0 {
		return nil, rejected("create call: it goes nowhere")
	}
	legs, refused := x.appendLegs(nil, c.Targets)
	for i := range legs {
		if i > 0 && c.Pool != "" {
			legs[i].State = pb.LegState_PENDING
		}
	}
	return legs, refused
}

// beingSetUp reports whether the call's owner has transactions to see to.
func (c *Call) beingSetUp() bool {
	return c.State == pb.CallState_CALLING || c.State == pb.CallState_EARLY || c.State == pb.CallState_CALL_CANCELLING
}
