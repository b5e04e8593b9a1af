package proxy

import (
	"net/netip"
	"time"

	"github.com/dchest/siphash"

	"holdline/fsm/pb"
	"holdline/sipcore/resolve"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// response handles a response (RFC 3261 §16.7): to the leg that its branch names, or without state when this
// node doesn't know the transaction.
func (s *Shard) response(in *Inbound) {
	s.opt.Stats.Responses.Add(1)
	m := in.Msg
	c := s.tab.FindLo(in.Branch.Txn)
	if c == nil {
		c = s.takeUpAnswered(in)
	}
	if c == nil {
		s.statelessResponse(in)
		return
	}
	l := legOf(c, in.Branch.Leg, in.Branch.Attempt)
	if l == nil {
		if callOf(c) == over {
			s.opt.Stats.Retransmissions.Add(1)
			return
		}
		s.statelessResponse(in)
		return
	}
	if m.Method == wire.Cancel && c.Method != wire.Cancel {
		s.tab.Cancelled(l, m.Status)
		return
	}
	in.shift = l.Shift
	u := callOf(c)
	if m.Via2.Value.Empty() && !u.kind.ours() { // §16.7 step 3: it is meant for nobody else
		s.opt.Stats.StrayResponses.Add(1)
		return
	}
	if u.kind != kindProbe {
		s.heard(u, l, m)
	}
	switch s.tab.Response(c, l, s.now, m.Status, txn.TimerC) {
	case txn.Pass:
		s.passed(in, c, u, l)
	case txn.PassAck:
		if l.Ack != nil {
			s.send(l.Flow, l.Ack.B)
		}
	case txn.PassOK:
		s.answeredBy(in, c, u, l)
	case txn.PassLate:
		s.lateGateway(m, l)
	default:
		s.opt.Stats.Retransmissions.Add(1)
		s.lateFinal(in, c, l)
	}
}

// lateGateway calls back an INVITE that was given up before its time when it is heard of after all: the call is with the next
// gateway by now.
func (s *Shard) lateGateway(m *wire.Msg, l *txn.Leg) {
	if m.Status >= 300 {
		if l.Ack = s.buildAck(m, l); l.Ack != nil {
			l.Acked, l.State = true, txn.LegCompleted
			s.send(l.Flow, l.Ack.B)
		}
		return
	}
	if s.tmp.Scan(l.Request.B) != nil {
		return
	}
	out, err := wire.AppendCANCEL(s.out[:0], &s.tmp)
	if err != nil {
		return
	}
	s.out = out
	s.send(l.Flow, out) // once per provisional response: it comes again if this is lost
}

// lateFinal acknowledges a final that the last owner of the call may not have acknowledged: its result is committed,
// so nothing waits for it any more.
func (s *Shard) lateFinal(in *Inbound, c *txn.Cell, l *txn.Leg) {
	m := in.Msg
	if !c.Invite() || m.Status < 300 || !l.Taken || l.Acked {
		return
	}
	if l.Ack = s.buildAck(m, l); l.Ack != nil {
		l.Acked = true
		s.send(l.Flow, l.Ack.B)
		return
	}
	if out, err := wire.AppendACKTo(s.out[:0], m); err == nil { // where its request went is not known any more
		s.out = out
		s.send(in.Flow, out)
	}
}

// passed handles a response that is news to a leg.
func (s *Shard) passed(in *Inbound, c *txn.Cell, u *call, l *txn.Leg) {
	m := in.Msg
	switch {
	case m.Status < 200:
		if l.Cancel == txn.CancelWanted {
			s.sendCancel(c, l)
		}
		s.renew(in, c, u, l)
		s.provisional(in, c, u)
	case c.Invite() && m.Status < 300:
		l.Open = false
		s.answeredBy(in, c, u, l)
	default:
		s.legFinal(in, c, u, l)
	}
}

// renewEvery is how often a call that rings on puts its record's deadline off. A callee repeats its 180 each minute
// (RFC 3261 §13.3.1.1), and each restarts Timer C; the record must not be given up for lost before that fires.
const renewEvery = int64(40 * time.Second)

// renew tells the record of a call that rings for long that this node sees to it.
func (s *Shard) renew(in *Inbound, c *txn.Cell, u *call, l *txn.Leg) {
	if u.kind != kindCall || u.number == 0 || in.Msg.Status == 100 || u.answered || u.decided || u.cancel != phaseNone || s.now-u.renewed < renewEvery {
		return
	}
	u.renewed = s.now
	s.submit(&pb.Command{Op: &pb.Command_LegResult{LegResult: &pb.LegResult{
		Call: u.number, Home: c.Home, Epoch: c.Epoch, Leg: uint32(l.Index), Status: uint32(in.Msg.Status), ToTag: tagText(in.Msg.Bytes(in.Msg.To.Tag)),
	}}}, Commit{Kind: commitRenew, Cell: c.Ref(), Call: u.number})
}

// provisional relays a 1xx. Our own 100 was sent when the call's record was committed; a 100 from a leg of a re-INVITE
// goes on, for then the callee has the request and will not let go of it (DESIGN §4, commit before silence). A
// request other than INVITE gets none of a leg's (RFC 4320 §4.1), only our own 100 when it takes long.
func (s *Shard) provisional(in *Inbound, c *txn.Cell, u *call) {
	m := in.Msg
	if !c.Invite() || u.answered || u.decided || m.Status == 100 && (u.kind == kindCall || c.State != txn.ServerTrying) {
		return
	}
	buf := s.popVia(in, c, u)
	if buf == nil {
		return
	}
	if s.tab.Respond(c, s.now, m.Status, buf) {
		s.send(c.Caller, buf.B)
	}
}

// popVia copies a response without our Via.
func (s *Shard) popVia(in *Inbound, c *txn.Cell, u *call) *txn.Buf {
	s.passOn(in, c.Caller, u)
	buf := s.opt.Pool.Get(len(in.Msg.B))
	out, err := s.edit.AppendTo(buf.B)
	if err != nil {
		buf.Release()
		return nil
	}
	buf.B = out
	return buf
}

// answeredBy relays a 2xx to an INVITE at once; the answer is committed meanwhile, and the caller's ACK waits for
// that. Other legs are cancelled.
func (s *Shard) answeredBy(in *Inbound, c *txn.Cell, u *call, l *txn.Leg) {
	m := in.Msg
	s.passOn(in, c.Caller, u)
	s.answerSession(m, c, u)
	out, err := s.edit.AppendTo(s.out[:0])
	if err != nil {
		return
	}
	s.out = out
	s.send(c.Caller, out)
	first := !u.answered
	var cmd *pb.AnswerCall
	switch {
	case u.number == 0:
	case u.kind == kindCall && u.newDialog(m.Bytes(m.To.Tag)):
		cmd = s.answerCommand(m, c, u, l)
	case first && u.kind == kindReinvite:
		cmd = s.refreshCommand(m, c, u)
	}
	if !u.decided {
		s.tab.Accept(c, s.now)
	}
	u.answered, u.noMore = true, true
	clear(u.targets) // nothing is kept for the rest of the transaction's life that it does not need
	u.targets = u.targets[:0]
	clear(u.flows)
	u.flows = u.flows[:0]
	if first {
		u.reason = elsewhere
		for _, x := range c.Legs {
			if x.Open {
				s.cancelLeg(c, x)
			}
		}
	}
	if cmd != nil {
		s.submitAnswer(c, u, cmd)
	}
}

// newDialog reports whether a To tag is one not seen yet in this call.
func (u *call) newDialog(tag []byte) bool {
	h := siphash.Hash(u.number, 1, tag) | 1
	for i, t := range u.toTags {
		switch t {
		case h:
			return false
		case 0:
			u.toTags[i] = h
			return true
		}
	}
	return false // more dialogs than a call may have
}

// sessionExpires reads the Session-Expires header (RFC 4028 §4), 0 when there is none.
func sessionExpires(m *wire.Msg) uint32 { return leadingNumber(m.Value(wire.HdrSessionExpires)) }

// leadingNumber reads the digits that a header's value begins with, 0 without any.
func leadingNumber(b []byte) uint32 {
	var n uint32
	for _, d := range b {
		if d < '0' || d > '9' || n > 1<<24 {
			break
		}
		n = n*10 + uint32(d-'0')
	}
	return n
}

// answerCommitted lets go what waited for the answer's commit, in the order in which it came.
func (s *Shard) answerCommitted(c *txn.Cell, u *call) {
	if u.answers--; u.answers > 0 {
		return
	}
	delete(s.answers, u.number)
	if len(u.held) > 0 {
		s.env.Urgent() // the caller's next request may be here already, in other hands
	}
	for _, h := range u.held {
		s.letGo(c, h.buf.B, h.flow)
		h.buf.Release()
	}
	clear(u.held)
	u.held = u.held[:0]
}

// statelessResponse relays a response to a request that another node, or this one before it restarted, has
// forwarded: its branch proves that we did, and the Via below says where it goes (DESIGN §4).
//
// Not so where a command must come first. The final to a BYE waits for EndCall: it is left to the BYE's retransmission,
// which makes a transaction here. While the calls of a group just acquired are being taken up, the same goes for INVITE.
func (s *Shard) statelessResponse(in *Inbound) {
	m := in.Msg
	if m.Method != wire.Invite && !s.recent(in.Home) {
		s.opt.Stats.StrayResponses.Add(1) // RFC 4320 §4.3: it comes too late
		return
	}
	if m.Method == wire.Bye || m.Method == wire.Invite && !s.env.Settled(in.Home) {
		s.opt.Stats.StrayResponses.Add(1)
		return
	}
	to := in.Branch.Caller
	ok := false
	if !m.Via2.Value.Empty() && m.Status != 100 {
		to.Remote, ok = viaResponseAddr(m)
	}
	if !ok || !in.Branch.verify(s.view.branch, to.Remote) {
		s.opt.Stats.StrayResponses.Add(1)
		return
	}
	if f := s.view.face(to); f == nil {
		s.opt.Stats.StrayResponses.Add(1)
		return
	}
	if s.ackDecided(in) {
		return
	}
	in.shift = in.Branch.Shift
	s.passOn(in, to, nil)
	s.answerSessionAgain(m)
	out, err := s.edit.AppendTo(s.out[:0])
	if err != nil {
		return
	}
	s.out = out
	s.opt.Stats.StatelessResponses.Add(1)
	s.send(to, out)
}

// recent reports whether this node has owned a group for no longer than a transaction of the last owner's may live.
func (s *Shard) recent(group uint32) bool {
	at := s.env.AcquiredAt(group)
	return at != 0 && s.now-at < txn.TimerB
}

// viaResponseAddr is responseAddr read back from the Via below ours, as we wrote it into the request.
func viaResponseAddr(m *wire.Msg) (netip.AddrPort, bool) {
	v := &m.Via2
	host := v.Received
	if host.Empty() {
		host = v.Host
	}
	a, ok := resolve.Literal(m.Bytes(host))
	if !ok {
		return netip.AddrPort{}, false
	}
	port := v.Port
	if port == 0 {
		port = defaultViaPort(m, v)
	}
	if p := m.Bytes(v.RPort); len(p) > 0 {
		n := 0
		for _, d := range p {
			if d < '0' || d > '9' || n > 65535 {
				return netip.AddrPort{}, false
			}
			n = n*10 + int(d-'0')
		}
		port = uint16(n)
	}
	return netip.AddrPortFrom(a, port), true
}
