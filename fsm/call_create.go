package fsm

import (
	"slices"

	"holdline/fsm/pb"
)

const (
	maxLegs = 32
	maxKey  = 64

	// timerCMs is the no-answer time when none is given: above 3 minutes (RFC 3261 §16.6 step 11).
	timerCMs = 185_000
	// renewStepMs is by how much at least a provisional response puts Timer C off: a change of the row for each would be many.
	renewStepMs = 30_000
	// lingerMs is how long a failed, cancelled or ended call is kept for retransmissions: 64·T1.
	lingerMs = 32_000
	// maxDurationMs ends a call that has no session timer, unless call.max-duration (seconds) is set.
	maxDurationMs = 12 * 3600 * 1000
)

// createCall makes a call's record, or returns the one that is there under this key.
func (x *exec) createCall(c *pb.CreateCall) *pb.Result {
	if r := x.stale(c.GetHome(), c.GetEpoch()); r != nil {
		return r
	}
	if len(c.Key) == 0 || len(c.Key) > maxKey {
		return rejected("create call: a key of %d bytes", len(c.Key))
	}
	t := &x.st.calls
	if old := t.byKey[string(c.Key)]; old != nil {
		r := again(old.Number)
		r.Legs = legsPB(old.Legs)
		return r
	}
	by := x.st.conf.User(c.Origin)
	if r := x.st.overLimit(c, by); r != nil {
		return r
	}
	legs, refused := x.firstLegs(c)
	if refused != nil {
		return refused
	}
	row := x.newCall(c, legs, by)
	t.put(nil, row)
	r := okID(row.Number)
	r.Legs = legsPB(legs)
	return r
}

// newCall is the row of a call that began at x.at. by is the user who calls, nil if none does.
func (x *exec) newCall(c *pb.CreateCall, legs []Leg, by *User) *Call {
	x.st.meta.lastCall++
	row := &Call{
		Number: x.st.meta.lastCall, Key: string(c.Key), Home: c.Home, HomeVIP: c.HomeVip, Epoch: c.Epoch, Version: 1,
		State:  pb.CallState_CALLING,
		Domain: x.sharedDomain(c.Domain), CallID: c.CallId, FromTag: c.FromTag, FromURI: c.FromUri, ToURI: c.ToUri,
		Caller: flowFromPB(c.Caller), Pool: x.sharedPool(c.Pool), Origin: sharedUser(c.Origin, by), Phone: c.CallerInstance,
		Invite: slices.Clip(c.Invite), Legs: legs,
		CreatedMs: x.at, CreatedWallMs: x.atWall,
	}
	row.until(x.now+ringMs(c), x.late())
	return row
}

// ringMs is for how long a call may go without an answer.
func ringMs(c *pb.CreateCall) int64 {
	if c.RingS != 0 {
		return int64(c.RingS) * 1000
	}
	return timerCMs
}

// firstLegs makes the legs a call begins with: one per target, or the chosen pool member with its alternates pending.
func (x *exec) firstLegs(c *pb.CreateCall) ([]Leg, *pb.Result) {
	if c.Pool == "" {
		if len(c.Targets) == 0 {
			return nil, rejected("create call: it goes nowhere")
		}
		return x.appendLegs(nil, c.Targets)
	}
	p := x.st.conf.Pool(c.Pool)
	switch {
	case p == nil:
		return nil, noPool(c.Pool)
	case len(p.Members) == 0:
		return nil, fail(pb.Code_LIMIT, "pool %s has no members: add one with `holdline pool member add %s`", p.Name, p.Name)
	}
	chosen := x.st.calls.choose(p, c.CallId, c.Avoid)
	if len(chosen) == 0 {
		return nil, fail(pb.Code_LIMIT, "every member of pool %s carries as many calls as it may, or is disabled", p.Name)
	}
	chosen = chosen[:min(len(chosen), 1+int(min(c.Alternates, maxLegs-1)))]
	legs := make([]Leg, len(chosen))
	for i, m := range chosen {
		legs[i] = Leg{Index: uint32(i), Target: targetFromPB(x.st.conf.memberTarget(m, c.RequestUser, c.Home, c.HomeVip))}
		legs[i].Target.Pool, legs[i].Target.Member = m.Pool, m.Name
		if i > 0 {
			legs[i].State = pb.LegState_PENDING
		}
	}
	return legs, nil
}

// appendLegs adds a leg per target to a copy of legs.
func (x *exec) appendLegs(legs []Leg, targets []*pb.Target) ([]Leg, *pb.Result) {
	if len(legs)+len(targets) > maxLegs {
		return nil, fail(pb.Code_LIMIT, "a call has at most %d legs", maxLegs)
	}
	out := make([]Leg, len(legs), len(legs)+len(targets))
	copy(out, legs)
	for _, in := range targets {
		if in.GetUri() == "" {
			return nil, rejected("a leg's target has no URI")
		}
		out = append(out, Leg{Index: uint32(len(out)), Target: targetFromPB(in)})
	}
	return out, nil
}

// addLegs adds targets to a call that is being set up.
func (x *exec) addLegs(c *pb.AddLegs) *pb.Result {
	old, refused := x.change1(c.GetCall(), c.GetHome(), c.GetEpoch())
	if refused != nil {
		return refused
	}
	if old.State != pb.CallState_CALLING && old.State != pb.CallState_EARLY {
		return rejected("call %d is not being set up any more", old.Number)
	}
	legs, refused := x.appendLegs(old.Legs, c.Targets)
	if refused != nil {
		return refused
	}
	row := old.next(c.Epoch)
	row.Legs = legs
	x.st.calls.put(old, row)
	r := okID(row.Number)
	r.Legs = legsPB(legs)
	return r
}

// sharedDomain returns the table's own string, which is one for all calls.
func (x *exec) sharedDomain(name string) string {
	if d := x.st.conf.Domain(name); d != nil && d.Name == name {
		return d.Name
	}
	return name
}

func sharedUser(aor string, u *User) string {
	if u != nil {
		return u.AoR
	}
	return aor
}

func (x *exec) sharedPool(name string) string {
	if p := x.st.conf.Pool(name); p != nil {
		return p.Name
	}
	return name
}
