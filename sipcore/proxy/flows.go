package proxy

import (
	"slices"
	"strings"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// A phone with several flows (RFC 5626: bindings of one instance with different reg-ids) is one target. When its flow fails, the
// next one is tried as another attempt of the leg (§7). Like the addresses of a gateway's name, attempts are not recorded:
// a new owner begins with the first again, and the others are in the bindings.

// phoneFlow is another flow of a target's phone.
type phoneFlow struct {
	leg, attempt uint8
	regID        uint32
	target       *pb.Target
}

// sameInstance reports whether two bindings are flows of one phone.
func sameInstance(a, b *fsm.Binding) bool {
	return a.RegID != 0 && b.RegID != 0 && a.Instance != "" && strings.EqualFold(a.Instance, b.Instance)
}

// oneFlowEach leaves one binding of each phone, the first (RFC 5626 §7: never two at a time). several tells that there were more.
func oneFlowEach(b []fsm.Binding) (rest []fsm.Binding, several bool) {
	if len(b) < 2 {
		return b, false
	}
	rest = b[:0]
	for i := range b {
		if slices.ContainsFunc(rest, func(have fsm.Binding) bool { return sameInstance(&have, &b[i]) }) {
			several = true
			continue
		}
		rest = append(rest, b[i])
	}
	return rest, several
}

// targetOf is where a leg goes: its target, or another flow of the same phone; nil for a request of a dialog.
func targetOf(u *call, l *txn.Leg) *pb.Target {
	for i := range u.flows {
		if f := &u.flows[i]; f.leg == l.Index && f.attempt == l.Attempt {
			return f.target
		}
	}
	if int(l.Index) >= len(u.targets) {
		return nil
	}
	return u.targets[l.Index]
}

// bindingTarget makes a target of a binding.
func bindingTarget(b *fsm.Binding, aor string) *pb.Target {
	return &pb.Target{Uri: b.Contact, Flow: transport.Flow(b.Flow).PB(), Q: uint32(b.Q), Routes: b.Path, Aor: aor, Instance: fsm.InstanceHash(b.Instance)}
}

// anotherFlow finds a flow of a target's phone that has not been tried for it, in the order in which they were registered; nil
// when there is none.
func (s *Shard) anotherFlow(u *call, index uint8) *phoneFlow {
	if u.hasToken || int(index) >= len(u.targets) || u.targets[index] == nil || u.targets[index].Aor == "" {
		return nil
	}
	t := u.targets[index]
	flow, err := transport.FlowFromPB(t.Flow)
	if err != nil {
		return nil
	}
	s.bindings = s.opt.State.Bindings(t.Aor, s.bindings[:0])
	first := slices.IndexFunc(s.bindings, func(b fsm.Binding) bool { // phones behind different NATs may write the same Contact
		f, err := transport.FlowFromPB(b.Flow.PB())
		return err == nil && f == flow && b.RegID != 0 && fsm.InstanceHash(b.Instance) == t.Instance && b.Contact == t.Uri && slices.Equal(b.Path, t.Routes)
	})
	same := func(b *fsm.Binding) bool { // the first flow has been registered anew, under another Contact: any is another one
		return b.RegID != 0 && t.Instance != 0 && fsm.InstanceHash(b.Instance) == t.Instance
	}
	if first >= 0 {
		same = func(b *fsm.Binding) bool {
			return sameInstance(b, &s.bindings[first]) && b.RegID != s.bindings[first].RegID
		}
	}
	tried := func(regID uint32) bool {
		return slices.ContainsFunc(u.flows, func(f phoneFlow) bool { return f.leg == index && f.regID == regID })
	}
	for i := range s.bindings {
		b := &s.bindings[i]
		if same(b) && !tried(b.RegID) {
			return &phoneFlow{leg: index, regID: b.RegID, target: bindingTarget(b, t.Aor)}
		}
	}
	return nil
}

// flowFailed reports whether a final says that the flow has failed, and not what the phone thinks of the request (RFC 5626 §7).
func flowFailed(status uint16) bool { return status == 430 || status == 408 }

// tryFlow sends a leg whose flow failed over another one of the same phone. It reports false when there is none, or no use. The
// failed attempt counts for nothing: the phone has not answered.
func (s *Shard) tryFlow(c *txn.Cell, u *call, l *txn.Leg) bool {
	if !mayRetry(c, u, l) {
		return false
	}
	f := s.anotherFlow(u, l.Index)
	if f == nil {
		return false
	}
	s.opt.Stats.OtherFlows.Add(1)
	f.attempt = l.Attempt + 1
	u.flows = append(u.flows, *f)
	n := s.tab.NewLeg(c)
	n.Index, n.Attempt, n.Breadth = l.Index, f.attempt, l.Breadth
	l.Open, l.Status, l.Others = false, 0, nil
	s.launch(c, u, n, f.target)
	return true
}

// viaProxy reports whether a request came from another proxy, and not from a phone: phones never get 430 (RFC 5626 §11.5).
func (s *Shard) viaProxy(c *txn.Cell) bool {
	return c.Request != nil && s.tmp2.Scan(c.Request.B) == nil && !s.tmp2.Via2.Value.Empty()
}

// asksForFlow reports whether a URI of a phone's says that requests to it must take the flow that it used (RFC 5626 §4.3).
func asksForFlow(uri []byte) bool {
	u, err := wire.ParseURI(uri)
	if err != nil {
		return false
	}
	_, ob := u.Param("ob")
	return ob
}
