package fsm

import (
	"net/netip"
	"slices"
	"unique"

	"holdline/fsm/pb"
)

// MaxBindings bounds an AoR's bindings whatever the configured maximum.
const MaxBindings = 64

// register changes an AoR's bindings, all of a REGISTER's or none (RFC 3261 §10.3 step 7).
func (x *exec) register(c *pb.Register) *pb.Result {
	r := x.applyRegister(c)
	r.Aor, r.Id = c.GetAor(), uint64(c.GetCseq())
	return r
}

func (x *exec) applyRegister(c *pb.Register) *pb.Result {
	if r := x.stale(c.GetGroup(), c.GetEpoch()); r != nil {
		return r
	}
	old := x.st.regs.get(c.Aor)
	txn := txnHash(c.Txn)
	row := regRow{callID: c.CallId, cseq: c.Cseq, txn: txn}
	if old == nil {
		u := x.st.conf.User(c.Aor) // a user who goes takes the row along: where there is one there is the user
		if u == nil {
			return notFound("user %s does not exist", c.Aor)
		}
		row.aor = u.AoR
	} else {
		if old.repeats(c.CallId, c.Cseq, txn) {
			return again(0)
		}
		if old.callID == c.CallId && c.Cseq <= old.cseq {
			return x.outOfOrder(c, old, txn)
		}
		row.aor, row.bindings = old.aor, old.bindings
		if old.callID == c.CallId {
			row.callID = old.callID
		}
	}
	for i := range row.bindings { // a binding that another Call-ID changed since
		if b := &row.bindings[i]; b.CallID == c.CallId && c.Cseq <= b.CSeq && touches(c, row.bindings, i) {
			return x.outOfOrder(c, old, txn)
		}
	}
	if c.RemoveAll {
		row.bindings = nil
	}
	x.m.bindings = append(x.m.bindings[:0], row.bindings...)
	row.bindings = x.m.bindings
	for _, ch := range c.Changes {
		if r := x.change(&row, c, ch); r != nil {
			return r
		}
	}
	limit := MaxBindings
	if c.MaxBindings != 0 {
		limit = min(limit, int(c.MaxBindings))
	}
	had := 0
	if old != nil {
		had = len(old.bindings)
	}
	if over := len(row.bindings) - max(limit, had); over > 0 && !row.dropFormer(over) {
		return fail(pb.Code_LIMIT, "%s has %d contacts registered, the most allowed", c.Aor, limit)
	}
	if len(row.bindings) == 0 {
		row.goneMs = x.now + tombstoneMs
	}
	if row.rebound(old) {
		x.events = append(x.events, Rebound{row.aor})
	}
	x.st.regs.put(old, row.stored(old))
	clear(row.bindings)
	return ok()
}

// rebound reports whether a binding goes over a flow that none of old's did.
func (r *regRow) rebound(old *regRow) bool {
	for i := range r.bindings {
		f := r.bindings[i].Flow
		known := old != nil && slices.ContainsFunc(old.bindings, func(b Binding) bool { return b.Flow == f })
		if !known {
			return true
		}
	}
	return false
}

// outOfOrder answers a REGISTER that isn't newer than what it would change: with success when it is a late copy of one
// that was applied, else it is refused (RFC 3261 §10.3 step 7).
func (x *exec) outOfOrder(c *pb.Register, old *regRow, txn uint64) *pb.Result {
	for i := range old.bindings {
		if b := &old.bindings[i]; b.CallID == c.CallId && b.CSeq == c.Cseq && b.txn == txn {
			return again(0)
		}
	}
	return fail(pb.Code_STALE_ORDER, "a newer REGISTER of %s was applied before CSeq %d", c.Aor, c.Cseq)
}

// touches reports whether the command would change binding i.
func touches(c *pb.Register, bindings []Binding, i int) bool {
	if c.RemoveAll {
		return true
	}
	for _, ch := range c.Changes {
		if b := ch.GetBinding(); b != nil && find(bindings, b.Contact, b.Instance, b.RegId) == i {
			return true
		}
	}
	return false
}

// change applies one contact to the row in the making.
func (x *exec) change(row *regRow, c *pb.Register, ch *pb.BindingChange) *pb.Result {
	in := ch.GetBinding()
	if in.GetContact() == "" {
		return rejected("register %s: a contact is empty", c.Aor)
	}
	i := find(row.bindings, in.Contact, in.Instance, in.RegId)
	if ch.ExpiresS == 0 {
		if i >= 0 {
			row.bindings = slices.Delete(row.bindings, i, i+1)
		}
		return nil
	}
	b := bindingFromPB(in)
	b.CallID, b.CSeq, b.txn = row.callID, c.Cseq, row.txn
	b.ExpiresMs = x.now + int64(ch.ExpiresS)*1000
	if i < 0 {
		row.bindings = append(row.bindings, b)
		return nil
	}
	row.bindings[i] = b
	return nil
}

func bindingFromPB(in *pb.Binding) Binding {
	b := Binding{
		Contact:   in.Contact,
		Params:    in.Params,
		Instance:  in.Instance,
		CallID:    in.CallId,
		Path:      in.Path,
		Flow:      flowFromPB(in.Flow),
		ExpiresMs: in.ExpiresMs,
		CSeq:      in.Cseq,
		RegID:     in.RegId,
		Q:         uint16(min(in.Q, 1000)),
		KeepsFlow: in.KeepsFlow,
		txn:       in.Txn,
	}
	if in.UserAgent != "" {
		b.agent = unique.Make(in.UserAgent)
	}
	return b
}

func (b *Binding) pb() *pb.Binding {
	return &pb.Binding{
		Contact: b.Contact, Params: b.Params, Instance: b.Instance, RegId: b.RegID, Q: uint32(b.Q),
		CallId: b.CallID, Cseq: b.CSeq, ExpiresMs: b.ExpiresMs, Flow: b.Flow.PB(), Path: b.Path,
		UserAgent: b.UserAgent(), Txn: b.txn, KeepsFlow: b.KeepsFlow,
	}
}

// flowFromPB reads a flow. An address that can't be read is left invalid: it can't be sent to.
func flowFromPB(in *pb.Flow) Flow {
	var f Flow
	if in == nil {
		return f
	}
	var remote netip.AddrPort
	if len(in.Remote) > 0 && remote.UnmarshalBinary(in.Remote) == nil && remote.Addr().Zone() == "" {
		f.Remote = remote
	}
	f.Group, f.VIP, f.Proto, f.Conn = in.Group, uint8(min(in.Vip, maxVIPs)), in.Transport, in.Conn
	if in.LocalPort <= 0xffff {
		f.Port = uint16(in.LocalPort)
	}
	return f
}

// PB is the flow as commands carry it.
func (f Flow) PB() *pb.Flow {
	out := &pb.Flow{Group: f.Group, Vip: uint32(f.VIP), Transport: f.Proto, Conn: f.Conn, LocalPort: uint32(f.Port)}
	if f.Remote.IsValid() {
		out.Remote, _ = f.Remote.MarshalBinary() // never fails: netip documents no error
	}
	return out
}
