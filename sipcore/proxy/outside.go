package proxy

import (
	"net/netip"

	"holdline/fsm/pb"
	"holdline/sipcore/resolve"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// outOfDialog handles a request that belongs to no dialog that we know of: who sends it, where does it go, and for
// an INVITE the record of the call, before anything is sent.
func (s *Shard) outOfDialog(in *Inbound, key txn.Key) {
	m := in.Msg
	if !m.To.Tag.Empty() && s.strayInDialog(in, key) {
		return
	}
	if m.Method == wire.Invite {
		if r := tooLong(m); r != nil {
			s.reply(in, key, r)
			return
		}
	}
	w, answer := s.identify(in)
	if answer != nil {
		s.reply(in, key, answer)
		return
	}
	d, answer, onward := s.onward(in, &w)
	if !onward {
		d, answer = s.route(in, &w)
	}
	if answer != nil {
		s.refuse(in, key, answer)
		return
	}
	k := kindOther
	if m.Method == wire.Invite {
		k = kindCall
	}
	if s.turnedAway(in, key, &w) {
		return
	}
	c, u := s.newCell(in, key, k)
	if c == nil {
		s.overloaded(in, key)
		return
	}
	u.loop = s.loopHash(in)
	u.serial, u.several = d.pool != "", d.several
	u.tagHash = s.view.route[0].TagHash(m.Bytes(m.From.Tag))
	u.pinned = s.behindNAT(in, &w)
	u.near, u.far = len(w.members) > 0 || w.divert != nil && w.divert.Trusted, d.pool != ""
	if !s.template(in, c, u, &w) {
		s.freeCell(c)
		s.reply(in, key, unwritable(m))
		return
	}
	if k == kindCall {
		s.createCall(in, c, u, &d, &w)
		return
	}
	if d.pool != "" {
		d.targets = s.poolTargets(c, u, d.pool, d.user)
	}
	u.targets = append(u.targets[:0], d.targets...)
	if !s.startNext(c, u) {
		s.freeCell(c)
		s.refuse(in, key, &wire.Response{Status: 404})
	}
}

// strayInDialog handles a request with a To tag but without a token of ours: a dialog that this proxy never
// record-routed. It is not relayed on the word of strangers.
func (s *Shard) strayInDialog(in *Inbound, key txn.Key) bool {
	switch in.Msg.Method {
	case wire.Register, wire.Notify, wire.Message, wire.Options, wire.Publish:
		return false
	}
	s.refuse(in, key, &wire.Response{Status: 481})
	return true
}

// behindNAT reports whether a user's requests come from elsewhere than its Contact says, or over a stream: requests
// of its dialogs must then take the flow it sends from. Pool members mean what they write.
func (s *Shard) behindNAT(in *Inbound, w *sender) bool {
	m := in.Msg
	if contactAsksForFlow(m) {
		return true
	}
	if in.Flow.Proto != pb.Transport_UDP {
		return len(w.members) == 0 || in.Flow.Proto >= pb.Transport_WS
	}
	if len(w.members) > 0 || !m.Via2.Value.Empty() || m.Has(wire.HdrRecordRoute) || !m.Has(wire.HdrContact) {
		return false
	}
	na, err := wire.ParseNameAddr(m.Value(wire.HdrContact))
	if err != nil {
		return false
	}
	_, elsewhere := Listens(m, in.Flow, na.URI)
	return !elsewhere && !uriNames(na.URI, in.Flow)
}

// Listens finds where a device on UDP listens that sends from another port: it writes its own address into Via and Contact, with the port that it means, and does
// not ask for rport (RFC 3581), which would say that it hears where it sends from. No NAT is between, for that would show. Requests go to the Contact then
// (RFC 3261 §16.6 step 7), as responses do (§18.2.2).
func Listens(m *wire.Msg, from transport.Flow, contact []byte) (at netip.AddrPort, ok bool) {
	if from.Proto != pb.Transport_UDP || m.Via1.HasRPort || !m.Via2.Value.Empty() {
		return at, false
	}
	source := addrPort(from.Remote.Addr(), from.Remote.Port())
	via, ok := resolve.Literal(m.Bytes(m.Via1.Host))
	if !ok || via.Unmap() != source.Addr() || responseAddr(&m.Via1, m, from.Remote).Port() == source.Port() {
		return at, false
	}
	u, err := wire.ParseURI(contact)
	if err != nil {
		return at, false
	}
	host, ok := resolve.Literal(u.Host)
	at = addrPort(host, portOf(&u, from.Proto))
	return at, ok && at.Addr() == source.Addr() && at.Port() != source.Port()
}

// contactAsksForFlow reports whether a request comes straight from a phone whose Contact has ob (RFC 5626 §5.3).
func contactAsksForFlow(m *wire.Msg) bool {
	if !m.Via2.Value.Empty() || !m.Has(wire.HdrContact) {
		return false
	}
	na, err := wire.ParseNameAddr(m.Value(wire.HdrContact))
	return err == nil && asksForFlow(na.URI)
}

// createCall submits the call's record. Nothing is sent until it has been applied: the caller's own
// retransmissions bridge the time.
func (s *Shard) createCall(in *Inbound, c *txn.Cell, u *call, d *destination, w *sender) {
	m := in.Msg
	s.opt.Stats.Calls.Add(1)
	trying := s.opt.Pool.Get(512)
	out, err := wire.AppendResponse(trying.B, m, &wire.Response{Status: 100, Source: in.Flow.Remote})
	if err != nil {
		trying.Release()
		s.freeCell(c)
		return
	}
	trying.B = out
	u.trying, u.creating, u.renewed = trying, true, s.now
	u.targets = append(u.targets[:0], d.targets...)
	u.pool, u.user = d.pool, d.user
	cmd := &pb.CreateCall{
		Key: recordKey(c.Key, c.Home), Home: c.Home, Epoch: c.Epoch, Domain: d.domain.GetName(),
		CallId:  text(m.Bytes(m.CallID)),
		FromTag: text(m.Bytes(m.From.Tag)), FromUri: text(m.Bytes(m.From.URI)), ToUri: text(m.Bytes(m.To.URI)),
		Caller: u.source.PB(), HomeVip: uint32(u.source.VIP),
		Invite: append([]byte(nil), c.Request.B...),
		Pool:   d.pool, RequestUser: d.user, Avoid: s.avoid(d.pool), Origin: w.origin(), CallerInstance: s.callerPhone(in, w.aor()),
		Emergency: w.user != nil && s.emergency(m),
	}
	if d.pool == "" {
		cmd.Targets = append([]*pb.Target(nil), u.targets...)
	} else {
		cmd.Alternates = uint32(s.opt.MaxLegs - 1)
	}
	s.submit(&pb.Command{Op: &pb.Command_CreateCall{CreateCall: cmd}}, Commit{Kind: commitCreate, Cell: c.Ref()})
}

// recordKey is what the call's record is created under: the same for a retransmission on any node.
func recordKey(k txn.Key, home uint32) []byte {
	b := make([]byte, 0, 20)
	for _, v := range [...]uint64{k.Hi, k.Lo} {
		for shift := 56; shift >= 0; shift -= 8 {
			b = append(b, byte(v>>uint(shift)))
		}
	}
	return append(b, byte(home>>24), byte(home>>16), byte(home>>8), byte(home))
}

// created goes on with a new call when its record has been applied: 100 to the caller and an INVITE to the first
// targets. A record that was there already, made by another node for the same request, is taken up where it stands.
func (s *Shard) created(c *txn.Cell, u *call, cm Commit, r *pb.Result, err error) {
	u.creating = false
	if err == nil {
		switch r.Code {
		case pb.Code_OK, pb.Code_EXISTS:
			u.number = r.Id
			s.adoptLegs(u, r.Legs)
		case pb.Code_LIMIT:
			u.why = r.Error
			s.finish(c, u, 503, nil)
			return
		case pb.Code_CALLER_LIMIT:
			s.overLimit(c, u, r.Error)
			return
		case pb.Code_NOT_FOUND:
			s.finish(c, u, 404, nil)
			return
		default:
			u.why = r.Error
			s.finish(c, u, 500, nil)
			return
		}
	} else {
		if why := s.overLimitLater(cm); why != "" {
			s.overLimit(c, u, why)
			return
		}
		if u.pool != "" {
			u.targets = append(u.targets[:0], s.poolTargets(c, u, u.pool, u.user)...)
		}
		u.number = s.keepCall(cm, u.targets, err)
	}
	if u.cancel == phaseCommitting {
		s.submitCancel(c, u)
		return
	}
	if err == nil && r.Existing {
		if row := s.opt.State.Call(r.Id); row != nil {
			s.resume(c, u, row)
			return
		}
	}
	trying := u.trying
	u.trying = nil
	if s.tab.Respond(c, s.now, 100, trying) {
		s.send(c.Caller, trying.B)
	}
	if !s.startNext(c, u) {
		s.finish(c, u, 480, nil)
	}
}

// adoptLegs takes the committed legs for the targets, in their order; failed ones leave a hole.
func (s *Shard) adoptLegs(u *call, legs []*pb.Leg) {
	clear(u.targets)
	u.targets = u.targets[:0]
	for i, l := range legs {
		if len(u.targets) == s.opt.MaxLegs {
			break
		}
		t := l.Target
		if l.State == pb.LegState_FAILED {
			t = nil
		}
		u.targets = append(u.targets, t)
		u.began(i, l.Attempt)
	}
}
