package proxy

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dchest/siphash"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// byeCSeq is above every CSeq that a side may have used (RFC 3261 §8.1.1.5: below 2^31), so that nobody needs to count those
// of a dialog. A gap is allowed (§12.2.2), and nothing comes after a BYE.
const byeCSeq = 1<<31 - 1

// sessionSlack is how much longer than its interval a session may live: a refresh that only the last owner of the group
// saw is followed by the next one when the interval ends. It and the BYEs' Timer F end before the state machine's own grace.
const sessionSlack = int64(20 * time.Second / time.Millisecond)

// hangup is the end of a call by us: the BYEs under way.
type hangup struct {
	call  uint64
	home  uint32
	epoch uint64
	cause string
	open  int
}

// Overdue ends an answered call whose deadline is at or before fsmNow, in FSM time: a BYE to either side of each dialog, and
// when all are answered, or have timed out, the end of its record. A new owner finds it overdue too, and its BYEs
// have the same branches. A call that an operator wants ended is overdue in any state; one that is being set up is cancelled. It reports whether it began to
// end the call.
func (s *Shard) Overdue(v *View, now int64, row *fsm.Call, epoch uint64, fsmNow int64) bool {
	s.view, s.now = v, now
	inMessages := row.TokenNumber()
	if s.hanging[row.Number] || s.behind[row.Number] != nil || s.behind[inMessages] != nil || s.answers[inMessages].Cell() != nil {
		return false
	}
	if row.State != pb.CallState_CALL_ANSWERED {
		return s.cutCall(row, epoch)
	}
	h := &hangup{call: row.Number, home: row.Home, epoch: epoch, cause: "session-timer"}
	reason := `SIP;cause=408;text="Session Expired"`
	switch {
	case row.CutMs() != 0:
		h.cause, reason = fsm.CauseOperator, byOperator
	case row.DeadlineMs >= v.Config.MaxEnd(row):
		h.cause, reason = "max-duration", `SIP;cause=487;text="Maximum Duration"`
	case fsmNow < row.DeadlineMs+sessionSlack:
		return false
	}
	s.opt.Stats.HangUps.Add(1)
	s.hanging[row.Number] = true
	h.open = 1
	for _, tag := range row.Dialogs {
		i := slices.IndexFunc(row.Legs, func(l fsm.Leg) bool { return l.ToTag == tag })
		if i < 0 {
			continue // one of two answers from behind one leg: where to is not known
		}
		s.byeTo(h, s.callerEnd(row, tag), reason)
		s.byeTo(h, s.calleeEnd(row, &row.Legs[i]), reason)
	}
	s.byeDone(h)
	return true
}

// end is one side of a dialog, as a BYE to it needs it.
type end struct {
	row             *fsm.Call
	side            string
	to, toTag       string
	from, fromTag   string
	contact, routes string
	flow            transport.Flow
	pinned          bool
}

func (s *Shard) callerEnd(row *fsm.Call, tag string) *end {
	e := &end{
		row: row, side: "caller", to: row.FromURI, toTag: row.FromTag, from: row.ToURI, fromTag: tag,
		contact: row.CallerContact, routes: row.CallerRoutes, flow: transport.Flow(row.Caller),
	}
	gateway := len(s.view.sources(e.flow.Remote.Addr())) > 0
	e.pinned = e.flow.Proto != pb.Transport_UDP || !gateway && e.routes == "" && !uriNames([]byte(e.contact), e.flow)
	return e
}

func (s *Shard) calleeEnd(row *fsm.Call, l *fsm.Leg) *end {
	e := &end{
		row: row, side: "callee", to: row.ToURI, toTag: l.ToTag, from: row.FromURI, fromTag: row.FromTag,
		contact: l.Contact, routes: l.Routes, flow: transport.Flow(l.Target.Flow),
	}
	if e.flow.Group == 0 {
		e.flow.Group, e.flow.VIP = row.Home, uint8(row.HomeVIP)
	}
	e.pinned = len(l.Target.Routes) == 0 && (e.flow.Proto != pb.Transport_UDP || l.Target.AoR != "" && !uriNames([]byte(l.Target.URI), e.flow))
	return e
}

// byeTo sends a BYE to one side, in the other's name. A side whose Contact is not known is left to its own session timer.
func (s *Shard) byeTo(h *hangup, e *end, reason string) {
	target, routes := e.contact, e.routes
	if first, rest, _ := strings.Cut(routes, ", "); first != "" && !strings.Contains(first, ";lr") {
		na, err := wire.ParseNameAddr([]byte(first)) // a strict router (§12.2.1.1)
		if err != nil {
			return
		}
		target, routes = string(na.URI), strings.TrimPrefix(rest+", <"+target+">", ", ")
	}
	f := s.view.face(e.flow)
	if target == "" || f == nil {
		return
	}
	c := s.tab.New(s.byeKey(e), wire.Bye)
	if c == nil {
		return
	}
	u := s.newCall()
	u.kind, u.hang, u.hasToken, u.gen = kindHangup, h, true, s.view.branch[0].id
	u.toCaller = e.side == "caller"
	u.tokenCall, u.tokenHash = h.call, s.view.route[0].TagHash([]byte(e.row.FromTag))
	c.User, c.Home, c.Epoch, c.Caller = u, h.home, h.epoch, e.flow
	c.Request = s.opt.Pool.Get(1024)
	text, ok := appendBye(c.Request.B, e, target, routes, reason)
	c.Request.B = text
	h.open++
	if !ok {
		s.byeGone(c, u)
		return
	}
	u.lineEnd = strings.IndexByte(string(text), '\n') + 1
	l := s.tab.NewLeg(c)
	l.Flow = e.flow
	if e.pinned && l.Flow.Remote.IsValid() {
		s.sendLeg(c, u, l)
		return
	}
	l.Flow.Remote, l.Flow.Conn = transport.Flow{}.Remote, 0
	hop := []byte(target)
	if e.routes != "" {
		first, _, _ := strings.Cut(e.routes, ", ")
		hop = []byte(first)
	}
	s.resolveLeg(c, u, l, hop)
}

// byeKey is the key of a BYE's transaction: the same on every node.
func (s *Shard) byeKey(e *end) txn.Key {
	k := s.view.branch[0].secret
	b := append(s.key[:0], "bye\x00"...)
	b = binary.BigEndian.AppendUint64(b, e.row.Number)
	b = append(b, e.side...)
	b = append(b, 0)
	b = append(b, e.toTag...)
	b = append(b, 0)
	b = append(b, e.fromTag...)
	s.key = b
	hi, lo := siphash.Hash128(k.K0, k.K1, b)
	return txn.Key{Hi: hi, Lo: lo}
}

// appendBye writes a BYE but for its Via; ok is false when a value in it could break the message.
func appendBye(b []byte, e *end, target, routes, reason string) (out []byte, ok bool) {
	if strings.ContainsAny(target, " \r\n") {
		return b, false
	}
	b = append(b, "BYE "...)
	b = append(b, target...)
	b = append(b, " SIP/2.0\r\nMax-Forwards: 70\r\n"...)
	for _, f := range []wire.Field{
		{ID: wire.HdrFrom, Value: []byte("<" + e.from + ">;tag=" + e.fromTag)},
		{ID: wire.HdrTo, Value: []byte("<" + e.to + ">;tag=" + e.toTag)},
		{ID: wire.HdrCallID, Value: []byte(e.row.CallID)},
		{ID: wire.HdrCSeq, Value: []byte(strconv.Itoa(byeCSeq) + " BYE")},
		{ID: wire.HdrRoute, Value: []byte(routes)},
		{ID: wire.HdrReason, Value: []byte(reason)},
	} {
		if len(f.Value) == 0 {
			continue
		}
		var err error
		if b, err = wire.AppendField(b, f); err != nil {
			return b, false
		}
	}
	return append(b, "Content-Length: 0\r\n\r\n"...), true
}

// byeGone ends a BYE of ours, however it fared: it is not asked again.
func (s *Shard) byeGone(c *txn.Cell, u *call) {
	h := u.hang
	u.hang = nil
	s.freeCell(c)
	s.byeDone(h)
}

// byeDone commits the end of the call after the last BYE.
func (s *Shard) byeDone(h *hangup) {
	if h.open--; h.open > 0 {
		return
	}
	s.submitHangup(&pb.EndCall{Call: h.call, Home: h.home, Epoch: h.epoch, Cause: h.cause})
}

func (s *Shard) submitHangup(cmd *pb.EndCall) {
	s.hanging[cmd.Call] = true
	s.submit(&pb.Command{Op: &pb.Command_EndCall{EndCall: cmd}}, Commit{Kind: commitHangup, Call: cmd.Call})
}
