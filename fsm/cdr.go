package fsm

import (
	"strings"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// Settings of how long CDRs are kept here, and what holds when nobody has set them. Rows go earlier when every consumer and every
// node has taken them.
const (
	SettingCDRMaxRows   = "cdr.max-rows"
	SettingCDRRetention = "cdr.retention" // days
	CDRMaxRows          = 200_000
	CDRRetentionDays    = 7
)

const (
	dayMs        = 24 * 3600 * 1000
	maxCursors   = 64
	trimPerCDR   = 16   // rows beyond cdr.max-rows that a new one takes with it: the setting may have been lowered
	trimPerAck   = 1000 // rows that go with an acknowledgement; Expire takes the rest
	maxCauseSize = 32
)

// Causes of a call's end, as CDRs name them. EndCall may name others.
const (
	CauseByeCaller = "bye-caller" // answered, and the caller hung up
	CauseByeCallee = "bye-callee"
	CauseCancelled = "cancelled" // the caller gave up before an answer
	CauseRejected  = "rejected"  // a final ≥ 300
	CauseNoAnswer  = "no-answer" // it rang for as long as it may
	CauseTimedOut  = "timed-out" // nobody responded; or answered, and its session timer or the maximum duration ran out
	CauseLost      = "lost"      // unanswered, and no node saw to its end
	CauseOperator  = "operator"  // an operator had it ended (CutCall)
	CauseEnded     = "ended"     // EndCall named no cause
	causeOther     = "other"
)

// nodeCursor begins the cursors of nodes' own writers.
const nodeCursor = "node/"

// NodeCursor is the name of the cursor of a node's own writer.
func NodeCursor(uuid string) string { return nodeCursor + uuid }

// cdrTable holds the CDRs first … last without a hole, encoded: they are many, and are only ever written out.
type cdrTable struct {
	last    uint64 // number given last
	rows    tree[uint64, cdrRow]
	cursors map[string]*pb.Cursor
}

type cdrRow struct {
	ended int64 // FSM time
	data  []byte
}

func (t *cdrTable) init() {
	t.rows = newTree[uint64, cdrRow]()
	t.cursors = map[string]*pb.Cursor{}
}

func (t *cdrTable) first() (number uint64, row cdrRow, any bool) {
	p, any := t.rows.t.Min()
	return p.key, p.value, any
}

// putCall puts a changed row in. If the change ends the call, its CDR is made: this is the only place, so a call has one.
func (x *exec) putCall(old, row *Call, cause string) {
	x.st.calls.put(old, row)
	if !old.Active() || row.Active() {
		return
	}
	t := &x.st.cdrs
	c := x.cdr(row, cause)
	c.Number = t.last + 1
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil { // can't be: each string came out of a message
		panic(FailStop{x.index, "encode CDR: " + err.Error()})
	}
	t.last++
	t.rows.set(t.last, cdrRow{x.now, data})
	x.cdrs = true
	limit := x.st.cdrMaxRows()
	for n := 0; n < trimPerCDR && t.rows.len() > limit; n++ {
		t.rows.t.DeleteMin()
	}
}

// cdr says of a call that is over what remains of it.
func (x *exec) cdr(c *Call, cause string) *pb.Cdr {
	out := &pb.Cdr{
		Call: c.Number, CallId: c.CallID, FromUri: c.FromURI, ToUri: c.ToURI, FromTag: c.FromTag, Domain: c.Domain,
		Caller: c.Origin, Home: c.Home, HomeName: x.st.conf.Group(c.Home).GetName(),
		CreatedWallMs: c.CreatedWallMs, AnsweredWallMs: c.AnsweredWallMs, EndedWallMs: x.atWall, EndedMs: x.now,
		SetupMs: max(0, x.at-c.CreatedMs), Status: c.FinalStatus, Cause: cause,
	}
	if c.wasAnswered() {
		out.SetupMs, out.DurationMs = c.AnsweredMs-c.CreatedMs, max(0, x.at-c.AnsweredMs)
		if x.lasted > 0 {
			out.DurationMs = x.lasted
		}
	}
	var l *Leg
	for i := range c.Legs {
		k := &c.Legs[i]
		if !k.tried() {
			continue
		}
		out.Legs++
		if l == nil || l.State != pb.LegState_ANSWERED {
			l = k
		}
	}
	if l != nil {
		out.ToTag, out.CalleeUri, out.Callee = l.ToTag, l.Target.URI, l.Target.AoR
		if l.Target.Member != "" {
			out.Callee = l.Target.Pool + "/" + l.Target.Member
		}
	}
	return out
}

func (c *Call) wasAnswered() bool { return c.AnsweredMs != 0 || c.AnsweredWallMs != 0 }

// tried reports whether a leg was begun: not an alternate whose turn never came.
func (l *Leg) tried() bool {
	return l.State != pb.LegState_PENDING && (l.State != pb.LegState_FAILED || l.Status != 0)
}

// failedBecause is why a call failed whose caller got a final ≥ 300. A 408 after a leg of ours had to be cancelled means that it
// rang; without, that nothing was heard.
func failedBecause(old, row *Call) string {
	if row.endedUnanswered() {
		return endedBecause(row.odd.cause)
	}
	if old.CutMs() != 0 {
		return CauseOperator
	}
	if old.State == pb.CallState_CALL_CANCELLING {
		return CauseCancelled
	}
	if row.FinalStatus != 408 {
		return CauseRejected
	}
	if row.State == pb.CallState_EARLY || old.State == pb.CallState_EARLY {
		return CauseNoAnswer
	}
	for i := range row.Legs {
		if row.Legs[i].Status == 487 {
			return CauseNoAnswer
		}
	}
	return CauseTimedOut
}

// endedBecause is the cause that EndCall names.
func endedBecause(cause string) string {
	switch {
	case cause == "":
		return CauseEnded
	case cause == "caller":
		return CauseByeCaller
	case cause == "callee":
		return CauseByeCallee
	case len(cause) > maxCauseSize:
		return causeOther
	}
	return cause
}

// expiredBecause is why Expire ends a call: its home's owner, if there was one, did not.
func expiredBecause(c *Call) string {
	switch {
	case c.endedUnanswered():
		return endedBecause(c.odd.cause)
	case c.CutMs() != 0:
		return CauseOperator
	case c.wasAnswered():
		return CauseTimedOut
	case c.State == pb.CallState_CALL_CANCELLING:
		return CauseCancelled
	}
	return CauseLost
}

// putCursor moves a consumer's cursor forward, makes it, or removes it.
func (x *exec) putCursor(c *pb.PutCursor) *pb.Result {
	t := &x.st.cdrs
	name := c.GetName()
	old := t.cursors[name]
	if c.GetRemove() {
		if old == nil {
			return notFound("CDR consumer %s does not exist", name)
		}
		delete(t.cursors, name)
		x.trimCDRs(x.now, trimPerAck)
		return ok()
	}
	if uuid, node := strings.CutPrefix(name, nodeCursor); node {
		if x.st.conf.NodeByUUID(uuid) == nil {
			return notFound("node %s does not exist", uuid)
		}
	} else if e := nameError("CDR consumer", name); e != "" {
		return rejected("%s", e)
	}
	switch {
	case c.GetUpTo() > t.last:
		return rejected("CDR consumer %s can't have taken CDR %d: the last one is %d", name, c.GetUpTo(), t.last)
	case old != nil && c.GetUpTo() <= old.UpTo:
		return again(old.UpTo)
	case old == nil && len(t.cursors) >= maxCursors:
		return fail(pb.Code_LIMIT, "there are %d CDR consumers already: remove one", maxCursors)
	}
	t.cursors[name] = &pb.Cursor{Name: name, UpTo: c.GetUpTo(), MovedWallMs: x.wall}
	x.trimCDRs(x.now, trimPerAck)
	return okID(c.GetUpTo())
}

// taken is the number up to which every consumer and every node has taken the CDRs; 0 without a consumer: then only the
// retention ends them.
func (s *state) taken() uint64 {
	least, consumers := s.cdrs.last, false
	for name, c := range s.cdrs.cursors {
		least = min(least, c.UpTo)
		consumers = consumers || !strings.HasPrefix(name, nodeCursor)
	}
	if !consumers {
		return 0
	}
	for _, n := range s.conf.nodes {
		if s.cdrs.cursors[NodeCursor(n.Uuid)] == nil {
			return 0 // it has not begun to write
		}
	}
	return least
}

func (s *state) cdrMaxRows() int {
	return int(max(1, min(s.conf.SettingInt(SettingCDRMaxRows, CDRMaxRows), 1<<24)))
}

func (s *state) cdrRetentionMs() int64 {
	return max(1, min(s.conf.SettingInt(SettingCDRRetention, CDRRetentionDays), 3650)) * dayMs
}

// trimCDRs removes rows that are taken, too many or too old, at most left of them, and returns what is left of that.
func (x *exec) trimCDRs(upTo int64, left int) int {
	t := &x.st.cdrs
	taken, limit, age := x.st.taken(), x.st.cdrMaxRows(), x.st.cdrRetentionMs()
	for ; left > 0; left-- {
		number, row, any := t.first()
		if !any || number > taken && t.rows.len() <= limit && row.ended+age > upTo {
			break
		}
		t.rows.t.DeleteMin()
	}
	return left
}

// cdrDue is when Expire has CDRs to remove.
func (s *state) cdrDue() (at int64, any bool) {
	number, row, any := s.cdrs.first()
	if !any {
		return 0, false
	}
	if number <= s.taken() || s.cdrs.rows.len() > s.cdrMaxRows() {
		return row.ended, true
	}
	return row.ended + s.cdrRetentionMs(), true
}
