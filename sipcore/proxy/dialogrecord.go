package proxy

import (
	"net/netip"
	"slices"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/resolve"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// dialogRecord is what is on record of the call that a dialog belongs to, or is still to be entered (behind).
type dialogRecord struct {
	origin string     // who called
	callee *pb.Target // whose answer, or ringing, made the dialog; nil: one of two behind one leg
}

// dialogOf finds the record of a dialog by its call's number and all that identifies a dialog (RFC 3261 §12): a request may name any call of which its sender has a token. false: there is no
// such dialog on record.
func (s *Shard) dialogOf(number uint64, callID, callerTag, calleeTag []byte) (d dialogRecord, ok bool) {
	if number == 0 {
		return d, false
	}
	row, b := s.opt.State.Call(number), s.behind[number]
	var targets []*pb.Target
	var tags []string
	switch {
	case row != nil:
		if row.CallID != text(callID) || row.FromTag != tagText(callerTag) {
			return d, false
		}
		d.origin = row.Origin
		for i := range row.Legs {
			var t *pb.Target
			if row.Legs[i].Target != nil {
				t = targetPB(row.Legs[i].Target)
			}
			targets, tags = append(targets, t), append(tags, row.Legs[i].ToTag)
		}
	case b != nil && b.create != nil:
		if b.create.CallId != text(callID) || b.create.FromTag != tagText(callerTag) {
			return d, false
		}
		d.origin = b.create.Origin
		targets, tags = slices.Clone(b.create.Targets), make([]string, len(b.create.Targets))
	default:
		return d, false
	}
	if b != nil {
		b.play(targets, tags)
	}
	tag := tagText(calleeTag)
	if i := slices.Index(tags, tag); i >= 0 {
		d.callee = targets[i]
		return d, true
	}
	return d, row != nil && slices.Contains(row.Dialogs, tag)
}

// play brings the targets of a call's legs, and the tags of their dialogs, to what they are after the steps that are still to be entered.
func (b *behind) play(targets []*pb.Target, tags []string) {
	for _, x := range b.steps {
		switch op := x.cmd.GetOp().(type) {
		case *pb.Command_LegResult:
			if r := op.LegResult; r.Redirect != nil && int(r.Leg) < len(targets) {
				targets[r.Leg] = r.Redirect
			}
		case *pb.Command_AnswerCall:
			if a := op.AnswerCall; int(a.Leg) < len(tags) {
				tags[a.Leg] = a.ToTag
			}
		}
	}
}

// isAt reports whether a pool's member is called at an address: its own, one that its name is known to have now, or one that it sends its requests from.
func (s *Shard) isAt(pool, member string, addr netip.Addr) bool {
	p := s.view.Config.Pool(pool)
	if p == nil {
		return false
	}
	i := slices.IndexFunc(p.Members, func(m *pb.Member) bool { return m.Name == member })
	if i < 0 {
		return false
	}
	_, at := fsm.MemberHost(p.Members[i])
	if at.IsValid() && at.Addr() == addr.Unmap() || !at.IsValid() && s.isNamed(p.Members[i], addr) {
		return true
	}
	return slices.ContainsFunc(s.view.sources(addr), func(m *pb.Member) bool { return m.Pool == pool && m.Name == member })
}

// isNamed reports whether a member's name has an address, as far as that is known without a look at the DNS.
func (s *Shard) isNamed(m *pb.Member, addr netip.Addr) bool {
	u, err := wire.ParseURI([]byte(memberURI(m, "")))
	if err != nil {
		return false
	}
	known, _ := s.env.Known(s.query(0, &u, transport.Flow{Group: m.Group, Proto: s.view.Config.MemberFlow(m, m.Group, 0).Proto}, false))
	return slices.ContainsFunc(known, func(t resolve.Target) bool { return t.Addr.Addr().Unmap() == addr.Unmap() })
}

// onItsWay reports whether a request of the caller's side of a diverted call has come by the call that was diverted, and is about the dialog that it names. Its caller
// may be anybody, and the callee a gateway, to which he has no right of his own: what begins anything there must belong to the dialog that is there.
func (s *Shard) onItsWay(in *Inbound) bool {
	m := in.Msg
	if !s.view.addrs[in.Flow.Remote.Addr().Unmap()] {
		return false
	}
	switch m.Method {
	case wire.Ack: // one to a refusal of ours belongs to no dialog
		if in.Token.Call == 0 {
			return true
		}
	case wire.Bye, wire.Cancel, wire.Prack, wire.Update, wire.Info, wire.Notify, wire.Options:
		return true
	}
	_, ok := s.dialogOf(in.Token.Call, m.Bytes(m.CallID), m.Bytes(m.From.Tag), m.Bytes(m.To.Tag))
	return ok
}
