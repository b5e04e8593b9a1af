package proxy

import (
	"net/netip"

	"holdline/fsm/pb"
	"holdline/sipcore/dialog"
	"holdline/sipcore/resolve"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// relayInDialog forwards a request of a dialog that we record-routed, by Route and our token alone: it needs no record
// of the call, so any owner of the call's home can do it.
func (s *Shard) relayInDialog(in *Inbound, key txn.Key) {
	k := kindOther
	switch {
	case in.Msg.Method == wire.Invite:
		k = kindReinvite
	case in.Msg.Method == wire.Bye && in.Token.Call != 0:
		k = kindBye
	}
	c, u := s.newCell(in, key, k)
	if c == nil {
		s.overloaded(in, key)
		return
	}
	u.loop = s.loopHash(in)
	u.toCaller = in.TokenKey.TagHash(in.Msg.Bytes(in.Msg.From.Tag)) != in.Token.TagHash
	if k != kindOther || in.Msg.Method == wire.Update {
		u.number = in.Token.Call
		u.dialogTag(in)
	}
	hop, ok := s.nextHop(in)
	if hop.barred {
		s.freeCell(c)
		s.opt.Stats.KeptOff.Add(1)
		s.reply(in, key, &wire.Response{Status: 403, Reason: noGateway})
		return
	}
	u.bars = hop.bars
	u.near, u.far = trusted(in)
	if !ok || !s.template(in, c, u, nil) {
		s.freeCell(c)
		s.reply(in, key, unwritable(in.Msg))
		return
	}
	l := s.tab.NewLeg(c)
	l.Flow = hop.flow
	if !u.toCaller {
		l.Shift = in.Token.Shift
	}
	if hop.flow.Remote.IsValid() {
		s.sendLeg(c, u, l)
		return
	}
	s.resolveLeg(c, u, l, hop.uri)
}

// hop is where a request of a dialog goes next.
type hop struct {
	flow transport.Flow // Remote is not valid when uri has yet to be looked up
	uri  []byte

	toCaller bool        // of the dialog
	bars     dialog.Bars // of that side
	barred   bool        // the request may not go there
}

// nextHop applies §16.6 steps 6 and 7: the next Route that is not ours, else the remote target. Behind NAT and on
// streams the flow in the token takes the place of the remote target's address.
func (s *Shard) nextHop(in *Inbound) (h hop, ok bool) {
	m := in.Msg
	side := &in.Token.Caller
	toCallee := in.TokenKey.TagHash(m.Bytes(m.From.Tag)) == in.Token.TagHash
	if toCallee {
		side = &in.Token.Callee
	}
	h.flow = side.Flow
	if s.view.face(h.flow) == nil {
		return h, false
	}
	if toCallee && in.Token.Diverted && !s.onItsWay(in) {
		h.barred = true
		return h, false
	}
	h.uri = m.Bytes(m.URI)
	next, more := s.nextRoute(in)
	switch {
	case more:
		na, err := wire.ParseNameAddr(next)
		if err != nil {
			return h, false
		}
		h.uri = na.URI
	case side.Pinned:
		h.flow = s.presentFlow(in, h.flow, !toCallee)
		return h, true
	case in.Strict:
		h.uri = s.lastRoute(m)
	}
	u, err := wire.ParseURI(h.uri)
	if err != nil || u.Scheme != wire.SchemeSIP && u.Scheme != wire.SchemeSIPS {
		return h, false
	}
	h.flow.Remote, h.flow.Conn = netip.AddrPort{}, 0
	s.transportOf(&u, &h.flow)
	if at, ours := s.view.ourAddr(&u, h.flow.Proto); ours {
		if s.roundTrips(m) > maxRoundTrips {
			return h, false
		}
		h.flow.Remote = at
	} else if a, literal := resolve.Literal(u.Host); literal {
		h.flow.Remote = addrPort(a, portOf(&u, h.flow.Proto))
	}
	if m.Method != wire.Bye { // it can end the dialog that it names and nothing else (§15.1.2): calls end, come what may
		h.toCaller, h.bars = !toCallee, side.Bars
		h.barred = s.stopped(in, &h, u.Host)
	}
	return h, !h.barred
}

// maxRoundTrips is how many Routes may lead a request to ourselves: two of each call that it belongs to, and a diverted call is one for each time.
const maxRoundTrips = 2 * (maxDiversions + 2)

// roundTrips is how many Routes lead a request to ourselves. Who has tokens of two calls could write a thousand, each of which we would send and wait for.
func (s *Shard) roundTrips(m *wire.Msg) (n int) {
	for it := m.Values(wire.HdrRoute); ; {
		_, v, ok := it.Next()
		if !ok {
			return n
		}
		na, err := wire.ParseNameAddr(m.Bytes(v))
		if err != nil {
			return n
		}
		if u, err := wire.ParseURI(na.URI); err == nil && s.view.isOwn(u.Host, u.Port) {
			n++
		}
	}
}

// nextRoute is the first Route value that is not ours.
func (s *Shard) nextRoute(in *Inbound) ([]byte, bool) {
	m := in.Msg
	if !m.Has(wire.HdrRoute) {
		return nil, false
	}
	it := m.Values(wire.HdrRoute)
	for n := 0; ; n++ {
		_, v, ok := it.Next()
		if !ok {
			return nil, false
		}
		if in.Strict {
			// All but the last, which is the remote target.
			if _, _, another := it.Next(); another {
				return m.Bytes(v), true
			}
			return nil, false
		}
		if n >= in.Routes {
			return m.Bytes(v), true
		}
	}
}

func (s *Shard) lastRoute(m *wire.Msg) []byte {
	var last []byte
	it := m.Values(wire.HdrRoute)
	for {
		_, v, ok := it.Next()
		if !ok {
			break
		}
		last = m.Bytes(v)
	}
	na, err := wire.ParseNameAddr(last)
	if err != nil {
		return nil
	}
	return na.URI
}

// dialogTag finds the To tag under which the dialog is recorded: the callee's.
func (u *call) dialogTag(in *Inbound) {
	m := in.Msg
	if in.TokenKey.TagHash(m.Bytes(m.From.Tag)) == in.Token.TagHash {
		u.calleeTag = tagText(m.Bytes(m.To.Tag))
	} else {
		u.calleeTag = tagText(m.Bytes(m.From.Tag))
		u.byCallee = true
	}
}

// submitEnd commits the end of a dialog; the final to the BYE waits for it. A BYE that was refused for another
// reason than that the dialog is gone has not ended it.
func (s *Shard) submitEnd(c *txn.Cell, u *call) {
	st := u.finalCode
	if st >= 300 && st != 408 && st != 481 && st != 404 {
		s.sendFinal(c, u)
		return
	}
	cause := "caller"
	if u.byCallee {
		cause = "callee"
	}
	cmd := &pb.EndCall{Call: u.number, Home: c.Home, Epoch: c.Epoch, ToTag: u.calleeTag, Cause: cause}
	s.submit(&pb.Command{Op: &pb.Command_EndCall{EndCall: cmd}}, Commit{Kind: commitEnd, Cell: c.Ref(), Call: u.number})
}

// ack handles an ACK: that of a final of ours ends here, that of a 2xx goes on to the callee, held until the answer
// is committed.
func (s *Shard) ack(in *Inbound, key txn.Key) {
	if c := s.tab.Find(key); c != nil && c.Invite() {
		if s.tab.Acked(c, s.now) || c.State != txn.ServerAccepted {
			return
		}
	}
	if !in.HasToken || !s.inDialog(in) {
		s.opt.Stats.StrayAcks.Add(1)
		return
	}
	if u := s.answering(in); u != nil {
		s.hold(u, in)
		return
	}
	if s.unanswered(in.Token.Call, in.Home) {
		return
	}
	s.relayAck(in, key)
}

// answering is the call of a dialog whose answer is being committed, nil when there is none.
func (s *Shard) answering(in *Inbound) *call {
	if in.Token.Call == 0 || len(s.answers) == 0 {
		return nil
	}
	if c := s.answers[in.Token.Call].Cell(); c != nil {
		return callOf(c)
	}
	return nil
}

// hold keeps a request until the answer is committed; false: there is no room for it.
func (s *Shard) hold(u *call, in *Inbound) bool {
	if len(u.held) >= maxHeld {
		return false
	}
	u.held = append(u.held, message{s.opt.Pool.Copy(in.Msg.B), in.Flow})
	return true
}

// behindAck holds a request of a dialog whose ACK is held: a callee that gets the BYE first may end the call with an error, and then knows
// neither the ACK nor the BYE that comes again.
func (s *Shard) behindAck(in *Inbound) bool {
	u := s.answering(in)
	return u != nil && len(u.held) > 0 && s.hold(u, in)
}

// unanswered reports whether an ACK came for a call that was answered through another owner, which did not get to
// commit that. The ACK must not end the callee's retransmissions: the 200 comes again, is committed, and is acknowledged.
func (s *Shard) unanswered(number uint64, home uint32) bool {
	if number == 0 {
		return false
	}
	if c := s.resumed[number].Cell(); c != nil {
		return !callOf(c).answered
	}
	if s.env.Settled(home) {
		return false
	}
	row := s.opt.State.Call(number)
	return row != nil && (row.State == pb.CallState_CALLING || row.State == pb.CallState_EARLY)
}

// relayAck forwards an ACK without state. Its branch is made like that of any request, so that on a new owner the ACK of
// a non-2xx final still fits the INVITE that the last owner forwarded.
func (s *Shard) relayAck(in *Inbound, key txn.Key) {
	m := in.Msg
	if m.MaxForwards == 0 {
		return
	}
	h, ok := s.nextHop(in)
	if h.barred {
		s.opt.Stats.KeptOff.Add(1)
		return
	}
	if !ok {
		s.opt.Stats.Unroutable.Add(1)
		return
	}
	if !h.flow.Remote.IsValid() {
		u, err := wire.ParseURI(h.uri)
		if err != nil {
			return
		}
		q := s.query(in.Token.TagHash, &u, h.flow, false)
		t, known := s.env.Known(q)
		if !known { // the 200 comes again, and the ACK with it; by then the name is known
			s.env.Lookup(q, Lookup{})
			return
		}
		flows := s.targetFlows(h.flow, t)
		if len(flows) == 0 {
			s.opt.Stats.Unroutable.Add(1)
			return
		}
		if flows = s.unbarred(flows, h.bars, in.Flow, m, in.Token.Call, h.toCaller); len(flows) == 0 {
			s.opt.Stats.KeptOff.Add(1)
			return
		}
		h.flow = flows[0]
	}
	c, u, l := &s.ackCell, &s.ackCall, &s.ackLeg
	c.Key, c.Home, c.Method = key, in.Home, wire.Ack
	c.Caller = in.Flow
	c.Caller.Remote = responseAddr(&m.Via1, m, in.Flow.Remote)
	u.hasToken, u.loop, u.gen = true, s.loopHash(in), in.gen
	l.Flow, l.Shift, u.credentials = h.flow, 0, ""
	if in.Token.Shift != 0 && in.TokenKey.TagHash(m.Bytes(m.From.Tag)) == in.Token.TagHash {
		l.Shift, u.credentials = in.Token.Shift, s.ackCredentials(in, h.flow)
	}
	u.near, u.far = trusted(in)
	if !s.template(in, c, u, nil) {
		return
	}
	out, ok := s.appendLeg(s.out[:0], c, u, l, requestURI(c.Request.B, u.lineEnd), nil)
	c.Request.Release()
	c.Request = nil
	if ok {
		s.out = out
		s.send(l.Flow, out)
	}
}

// letGo relays a request that waited for the answer's commit.
func (s *Shard) letGo(c *txn.Cell, raw []byte, flow transport.Flow) {
	if s.heldMsg.Scan(raw) != nil {
		return
	}
	in := Inbound{Msg: &s.heldMsg, Flow: flow, Epoch: c.Epoch}
	if !s.view.Classify(&in) || !in.HasToken {
		return
	}
	switch key := s.keyOf(&in); {
	case in.Msg.Method == wire.Ack:
		s.relayAck(&in, key)
	case s.tab.Find(key) == nil: // else it has come twice
		s.relayInDialog(&in, key)
	}
}
