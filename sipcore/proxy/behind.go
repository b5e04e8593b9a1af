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
	createdAt int64
	steps     []step
	size      int64
	since     int64
	tried     int64
	sent      int // steps under way
}

// step is a command that is due since at; an end came lasted ms after the answer, 0: not known.
type step struct {
	cmd    *pb.Command
	at     int64
	lasted int64
}

// keepCall keeps the CreateCall that could not be committed, with the targets that are tried instead of those Apply would
// have chosen. It returns the number that the call goes by; 0: there is no room, and it is never recorded.
func (s *Shard) keepCall(cm Commit, targets []*pb.Target) uint64 {
	c := cm.cmd.GetCreateCall()
	number := fsm.OwnNumber(c.Key, c.Home)
	switch {
	case len(targets) == 0:
		return 0
	case s.behind[number] != nil:
		return number
	}
	if !cm.later { // else nobody else has seen it
		c = proto.CloneOf(c)
	}
	c.Targets = slices.Clone(targets)
	if b := s.grow(number, int64(proto.Size(c)), c.Home, c.Epoch, cm.later); b != nil {
		b.create, b.createdAt = c, cm.at
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
	st := step{cmd: cm.cmd, at: cm.at}
	if cm.cmd.GetEndCall() != nil {
		st.lasted = s.lasted(cm.Call, b, cm.at)
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
func (s *Shard) lasted(number uint64, b *behind, at int64) int64 {
	if answered := s.answeredMs(number); answered != 0 {
		return s.clock.See(s.opt.State.Now(), s.now) - (s.now-at)/int64(time.Millisecond) - answered
	}
	for _, x := range b.steps {
		if x.cmd.GetAnswerCall() != nil {
			return (at - x.at) / int64(time.Millisecond)
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
	s.env.Submit(b.command(number, s.now), Commit{Kind: commitCatchUp, Call: number})
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

// command is all that is to be entered of a call, as of now.
func (b *behind) command(number uint64, now int64) *pb.Command {
	ago := func(at int64) int64 { return (now - at) / int64(time.Millisecond) }
	up := &pb.CatchUpCall{Call: number, Home: b.home, Epoch: b.epoch}
	if b.create != nil {
		up.Create, up.CreatedAgoMs = b.create, ago(b.createdAt)
	}
	for _, x := range b.steps {
		st := &pb.CallStep{AgoMs: ago(x.at), LastedMs: x.lasted}
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

// caughtUp takes the result of catchUp.
func (s *Shard) caughtUp(number uint64, r *pb.Result, err error) {
	b := s.behind[number]
	if !b.later {
		s.flying = false
	}
	if err != nil { // until the next turn: nobody is there
		b.sent = 0
		if b.later {
			b.later = false // it has become late
			s.opt.Stats.Behind.Add(1)
		}
		s.queue(number, b)
		return
	}
	switch {
	case r.Code == pb.Code_NOT_FOUND && fsm.IsOwnNumber(number) && s.now-b.since < lookFor:
		b.sent = 0
		s.queue(number, b)
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
