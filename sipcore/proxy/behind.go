package proxy

import (
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"holdline/fsm"
	"holdline/fsm/pb"
)

// Bounds of what is kept to be committed later, when there is no raft leader.
const (
	maxBehindBytes = 64 << 20 // per node
	maxBehindCall  = 256 << 10
	behindCost     = 512 // of a call, beside its commands
	maxSteps       = 64  // of a call
	// recordWithin is how old a call gets at most before it is recorded that is recorded after the fact.
	recordWithin = int64(5 * time.Second)
	// lookFor is how long what is about a call that is not in the table yet is tried again: the owner of its group that
	// set it up, with no leader, may still enter it.
	lookFor = int64(20 * time.Second)
	// again is how long after a failure the next attempt is made.
	again = int64(900 * time.Millisecond)
)

// SettingCommit says when what happens to a call is committed: before anything is sent that would end a neighbour's
// retransmission (DESIGN §4), or after the fact: when the call is over, or 5 s old. Then nothing waits for the log, which gets one
// command for a short call instead of three; but a node that fails takes with it what it has done and not recorded yet, and limits and
// the choice of gateways are each node's own.
const (
	SettingCommit = "call.commit"
	CommitBefore  = "before"
	CommitAfter   = "after"
)

// errBehind stands in for the result of a command that must come after others which could not be committed.
var errBehind = errors.New("the call's record is behind")

// behind is what this node did about a call while nothing could be committed (DESIGN §4, "Without a leader"), or was to be. It
// outlives the transactions, and the group's lease: nobody else knows of it.
type behind struct {
	later     bool // on purpose
	over      bool // the call has ended, or failed
	home      uint32
	epoch     uint64
	create    *pb.CreateCall // unless the call is known to be recorded
	createdAt moment
	steps     []step
	size      int64
	since     int64
	tried     int64
	sent      int // steps under way

	// A call's record is made once: one that has gone has left its CDR. So while it is not known whether an attempt to make it was applied, or once it is
	// known, no other makes it (pb.CatchUpCall.entered). Attempts are applied, and heard of, in the order in which they were submitted.
	doubt   uint64 // Commit.making of the latest attempt whose outcome is not known; 0: there is none
	entered bool   // the record was made, or nobody will know whether it was
	covers  int    // steps that this attempt held
}

// step is a command that is due since at; an end came lasted ms after the answer, 0: not known.
type step struct {
	cmd    *pb.Command
	at     moment
	lasted int64
}

// moment is a time by this node's clock, and how long the machine had slept by then: the clock stands still meanwhile.
type moment struct{ at, slept int64 }

// ms is how long m is after from, in ms.
func (m moment) ms(from moment) int64 {
	return (m.at - from.at + m.slept - from.slept) / int64(time.Millisecond)
}

// failed takes note of an attempt to make the call's record that has failed with err.
func (b *behind) failed(cm Commit, err error) {
	switch {
	case cm.making == 0:
	case errors.Is(err, ErrUndecided):
		b.doubt, b.covers = cm.making, 0
		if cm.Kind == commitCatchUp {
			b.covers = b.sent
		}
	case errors.Is(err, ErrUnknown):
		b.entered = true
	}
}

// keepCall keeps the CreateCall that could not be committed, with the targets that are tried instead of those Apply would
// have chosen. It returns the number that the call goes by; 0: there is no room, and it is never recorded. err is why.
func (s *Shard) keepCall(cm Commit, targets []*pb.Target, err error) uint64 {
	c := cm.cmd.GetCreateCall()
	number := fsm.OwnNumber(c.Key, c.Home)
	switch {
	case len(targets) == 0:
		return 0
	case s.behind[number] != nil:
		s.behind[number].failed(cm, err)
		return number
	}
	if !cm.later { // else nobody else has seen it
		c = proto.CloneOf(c)
	}
	c.Targets = slices.Clone(targets)
	if b := s.grow(number, int64(proto.Size(c)), c.Home, c.Epoch, cm.later); b != nil {
		b.create, b.createdAt = c, cm.moment()
		b.failed(cm, err)
		return number
	}
	return 0
}

// keep keeps a command about a call that could not be committed.
func (s *Shard) keep(cm Commit) {
	var home uint32
	var epoch uint64
	switch op := cm.cmd.GetOp().(type) {
	case *pb.Command_LegResult:
		if cm.Kind == commitRenew {
			return
		}
		home, epoch = op.LegResult.Home, op.LegResult.Epoch
	case *pb.Command_AnswerCall:
		home, epoch = op.AnswerCall.Home, op.AnswerCall.Epoch
	case *pb.Command_CancelCall:
		home, epoch = op.CancelCall.Home, op.CancelCall.Epoch
	case *pb.Command_EndCall:
		home, epoch = op.EndCall.Home, op.EndCall.Epoch
	default:
		return
	}
	b := s.grow(cm.Call, int64(proto.Size(cm.cmd)), home, epoch, cm.later)
	if b == nil {
		return
	}
	st := step{cmd: cm.cmd, at: cm.moment()}
	if cm.cmd.GetEndCall() != nil {
		st.lasted = s.lasted(cm.Call, b, st.at)
		b.noInvite()
	}
	if cm.cmd.GetEndCall() != nil || cm.cmd.GetLegResult().GetCallFailed() {
		b.over = true
	}
	if i := b.refreshed(cm.cmd.GetAnswerCall()); i >= 0 {
		b.steps[i] = st
		return
	}
	b.steps = append(b.steps, st)
}

// refreshed finds the step that a further answer of the same dialog takes the place of: it only renews the session. The first
// answer stays, for its time; what is under way stays too.
func (b *behind) refreshed(a *pb.AnswerCall) int {
	if a == nil {
		return -1
	}
	for i := len(b.steps) - 1; i > 0 && i >= b.sent; i-- {
		if x := b.steps[i].cmd.GetAnswerCall(); x == nil || x.ToTag != a.ToTag {
			continue
		}
		first := slices.ContainsFunc(b.steps[:i], func(x step) bool { return x.cmd.GetAnswerCall().GetToTag() == a.ToTag && x.cmd.GetAnswerCall() != nil })
		if first {
			return i
		}
	}
	return -1
}

// noInvite drops the INVITE of a call that has ended: no leg wants it any more.
func (b *behind) noInvite() {
	if b.create == nil {
		return
	}
	if !b.later || b.tried != 0 { // somebody may have it
		b.create = proto.CloneOf(b.create)
	}
	b.create.Invite = nil
}

// lasted is how long a call has gone on that ends at, by this node's clock: FSM time stood still.
func (s *Shard) lasted(number uint64, b *behind, at moment) int64 {
	if answered := s.answeredMs(number); answered != 0 {
		return s.clock.See(s.opt.State.Now(), s.now) - (s.now-at.at)/int64(time.Millisecond) - answered
	}
	for _, x := range b.steps {
		if x.cmd.GetAnswerCall() != nil {
			return at.ms(x.at)
		}
	}
	return 0
}

// answeredMs is when a call was answered as its record says, in FSM time; 0: it has none, or was not.
func (s *Shard) answeredMs(number uint64) int64 {
	if row := s.opt.State.Call(number); row != nil {
		return row.AnsweredMs
	}
	return 0
}

// grow returns what is kept of a call, with room for one more command of size bytes; nil: the node, or the call, has as much as it may.
func (s *Shard) grow(number uint64, size int64, home uint32, epoch uint64, later bool) *behind {
	b := s.behind[number]
	if b == nil {
		size += behindCost
	}
	full := b != nil && (len(b.steps) == maxSteps || b.size+size > maxBehindCall)
	if full || s.opt.Stats.BehindBytes.Add(size) > maxBehindBytes {
		if !full {
			s.opt.Stats.BehindBytes.Add(-size)
		}
		s.opt.Stats.NotCaughtUp.Add(1)
		return nil
	}
	if b == nil {
		b = &behind{home: home, since: s.now, later: later}
		s.behind[number] = b
		s.queue(number, b)
		if !later {
			s.opt.Stats.Behind.Add(1)
		}
	}
	b.size += size
	b.epoch = max(b.epoch, epoch)
	return b
}

// queue lets a call have its turn.
func (s *Shard) queue(number uint64, b *behind) {
	if b.later {
		s.later = append(s.later, number)
	} else {
		s.backlog = append(s.backlog, number)
	}
}

// forget ends what is kept of a call.
func (s *Shard) forget(number uint64, b *behind) {
	s.opt.Stats.BehindBytes.Add(-b.size)
	if !b.later {
		s.opt.Stats.Behind.Add(-1)
	}
	delete(s.behind, number)
}

// CatchUp enters in the replicated table what could not be committed when it was due. It is called about once a second; each
// success is followed by the next call, one at a time, so that what has gathered neither floods a new leader nor delays live calls.
//
// Calls that are recorded after the fact on purpose go all at once: those that are over or old enough, or any with all.
func (s *Shard) CatchUp(v *View, now int64, all bool) {
	s.view, s.now = v, now
	s.lived.See(s.opt.State.Lived(), now)
	s.record(all)
	s.catchUp()
}

func (s *Shard) record(all bool) {
	later := s.later
	s.later, s.sooner = s.sooner[:0], later
	for _, number := range later {
		if b := s.behind[number]; all || b.over || s.now-b.since >= recordWithin {
			s.enter(number, b)
		} else {
			s.later = append(s.later, number)
		}
	}
}

// enter submits all that is to be entered of a call.
func (s *Shard) enter(number uint64, b *behind) {
	b.tried, b.sent = s.now, len(b.steps)
	cm := Commit{Kind: commitCatchUp, Call: number}
	if b.create != nil && !b.entered && b.doubt == 0 {
		cm.making = s.nextMaking()
	}
	s.env.Submit(s.catchUpCall(number, b, cm.making != 0), cm)
}

func (s *Shard) nextMaking() uint64 {
	s.makings++
	return s.makings
}

func (s *Shard) catchUp() {
	if s.flying || len(s.backlog) == 0 {
		return
	}
	number := s.backlog[0]
	b := s.behind[number]
	if b.tried != 0 && s.now-b.tried < again {
		return
	}
	s.backlog = s.backlog[1:]
	s.flying = true
	s.enter(number, b)
}

// catchUpCall is all that is to be entered of a call, as of now; makes: it makes the record if there is none.
func (s *Shard) catchUpCall(number uint64, b *behind, makes bool) *pb.Command {
	now := moment{s.now, s.env.Slept()}
	up := &pb.CatchUpCall{Call: number, Home: b.home, Epoch: b.epoch, MadeMs: s.lived.See(s.opt.State.Lived(), s.now)}
	if b.create != nil {
		up.Create, up.CreatedAgoMs, up.Entered = b.create, now.ms(b.createdAt), !makes
	}
	for _, x := range b.steps {
		st := &pb.CallStep{AgoMs: now.ms(x.at), LastedMs: x.lasted}
		switch op := x.cmd.Op.(type) {
		case *pb.Command_LegResult:
			st.Step = &pb.CallStep_LegResult{LegResult: op.LegResult}
		case *pb.Command_AnswerCall:
			st.Step = &pb.CallStep_AnswerCall{AnswerCall: op.AnswerCall}
		case *pb.Command_CancelCall:
			st.Step = &pb.CallStep_CancelCall{CancelCall: op.CancelCall}
		case *pb.Command_EndCall:
			st.Step = &pb.CallStep_EndCall{EndCall: op.EndCall}
		}
		up.Steps = append(up.Steps, st)
	}
	return &pb.Command{Op: &pb.Command_CatchUpCall{CatchUpCall: up}}
}

// Decided takes what became of an attempt to make a call's record of which Committed was told ErrUndecided. A call's attempts are told of in the order in which
// they were submitted, before whatever was submitted later.
func (s *Shard) Decided(v *View, now int64, cm Commit, r *pb.Result, err error) {
	s.view, s.now = v, now
	number := cm.Call
	if c := cm.cmd.GetCreateCall(); c != nil {
		number = fsm.OwnNumber(c.Key, c.Home)
	}
	b := s.behind[number]
	if b == nil {
		return
	}
	made := errors.Is(err, ErrUnknown)
	if err == nil {
		// A later owner has written the record, if CatchUpCall is told of another epoch; to CreateCall that means the group's.
		made = r.Code == pb.Code_OK || r.Code == pb.Code_EXISTS || r.Code == pb.Code_STALE_EPOCH && cm.Kind == commitCatchUp
	}
	b.entered = b.entered || made
	if b.doubt == cm.making {
		b.doubt = 0
		if err != nil || r.Code != pb.Code_OK {
			b.covers = 0
		}
	}
}

// caughtUp takes the result of catchUp.
func (s *Shard) caughtUp(cm Commit, r *pb.Result, err error) {
	number := cm.Call
	b := s.behind[number]
	if !b.later {
		s.flying = false
	}
	if err != nil || r.Code == pb.Code_TOO_LATE { // until the next turn: nobody is there, or this node lags behind
		b.failed(cm, err)
		b.sent = 0
		if b.later {
			b.later = false // it has become late
			s.opt.Stats.Behind.Add(1)
		}
		s.queue(number, b)
		return
	}
	switch {
	case r.Code == pb.Code_NOT_FOUND && b.create != nil && !b.entered && cm.making == 0: // the attempt that this one relied on was not applied
		b.sent = 0
		s.queue(number, b)
	case r.Code == pb.Code_NOT_FOUND && b.create == nil && fsm.IsOwnNumber(number) && s.now-b.since < lookFor:
		b.sent = 0
		s.queue(number, b)
	case r.Code == pb.Code_NOT_FOUND && b.create != nil && b.covers > 0 && b.covers == len(b.steps): // all was entered, and the record has gone since
		s.opt.Stats.CaughtUp.Add(1)
		s.forget(number, b)
	case r.Code != pb.Code_OK:
		s.opt.Stats.NotCaughtUp.Add(1)
		s.forget(number, b)
	case b.sent < len(b.steps): // more was done meanwhile
		b.create, b.steps = nil, slices.Clone(b.steps[b.sent:])
		b.sent, b.tried = 0, 0
		s.queue(number, b)
	default:
		s.opt.Stats.CaughtUp.Add(1)
		s.forget(number, b)
	}
	s.catchUp()
}
