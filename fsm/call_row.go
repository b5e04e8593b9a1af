package fsm

import "holdline/fsm/pb"

func legsPB(legs []Leg) []*pb.Leg {
	out := make([]*pb.Leg, len(legs))
	for i := range legs {
		l := &legs[i]
		out[i] = &pb.Leg{
			Index: l.Index, Attempt: l.Attempt, State: l.State, Status: l.Status, ToTag: l.ToTag, Contact: l.Contact, Routes: l.Routes,
			Target: l.Target.pb(),
		}
	}
	return out
}

func legsFromPB(in []*pb.Leg) []Leg {
	out := make([]Leg, len(in))
	for i, l := range in {
		out[i] = Leg{
			Index: l.Index, Attempt: l.Attempt, State: l.State, Status: l.Status, ToTag: l.ToTag, Contact: l.Contact, Routes: l.Routes,
			Target: targetFromPB(l.Target),
		}
	}
	return out
}

func (t *Target) pb() *pb.Target {
	return &pb.Target{
		Uri: t.URI, Aor: t.AoR, Pool: t.Pool, Member: t.Member, Routes: t.Routes, Flow: t.Flow.PB(), Q: uint32(t.Q), Instance: t.Phone,
		Credentials: t.Credentials, CseqShift: uint32(t.CSeqShift),
	}
}

func targetFromPB(in *pb.Target) *Target {
	return &Target{
		URI: in.GetUri(), AoR: in.GetAor(), Pool: in.GetPool(), Member: in.GetMember(), Routes: in.GetRoutes(),
		Flow: flowFromPB(in.GetFlow()), Q: uint16(min(in.GetQ(), 1000)), Phone: in.GetInstance(),
		Credentials: in.GetCredentials(), CSeqShift: uint8(min(in.GetCseqShift(), 255)),
	}
}

func (c *Call) pb() *pb.Call {
	out := &pb.Call{
		Number: c.Number, Key: []byte(c.Key), Home: c.Home, HomeVip: c.HomeVIP, Epoch: c.Epoch, Version: c.Version, State: c.State,
		Domain: c.Domain, CallId: c.CallID, FromTag: c.FromTag, FromUri: c.FromURI, ToUri: c.ToURI, Pool: c.Pool,
		Caller: c.Caller.PB(), Invite: c.Invite, Legs: legsPB(c.Legs), FinalStatus: c.FinalStatus, Final: c.Final,
		Dialogs: c.Dialogs, CreatedMs: c.CreatedMs, CreatedWallMs: c.CreatedWallMs, AnsweredWallMs: c.AnsweredWallMs,
		DeadlineMs: c.DeadlineMs, AnsweredMs: c.AnsweredMs, CallerContact: c.CallerContact, CallerRoutes: c.CallerRoutes, Origin: c.Origin, CallerInstance: c.Phone,
	}
	if o := c.odd; o != nil {
		out.OwnNumber, out.Gone, out.GoneCause, out.OutageMs, out.CutMs = o.number, o.gone, o.cause, o.outage, o.cut
	}
	return out
}

func callFromPB(in *pb.Call) *Call {
	out := &Call{
		Number: in.Number, Key: string(in.Key), Home: in.Home, HomeVIP: in.HomeVip, Epoch: in.Epoch, Version: in.Version, State: in.State,
		Domain: in.Domain, CallID: in.CallId, FromTag: in.FromTag, FromURI: in.FromUri, ToURI: in.ToUri, Pool: in.Pool,
		Caller: flowFromPB(in.Caller), Invite: in.Invite, Legs: legsFromPB(in.Legs), FinalStatus: in.FinalStatus, Final: in.Final,
		Dialogs: in.Dialogs, CreatedMs: in.CreatedMs, CreatedWallMs: in.CreatedWallMs, AnsweredWallMs: in.AnsweredWallMs,
		DeadlineMs: in.DeadlineMs, AnsweredMs: in.AnsweredMs, CallerContact: in.CallerContact, CallerRoutes: in.CallerRoutes, Origin: in.Origin, Phone: in.CallerInstance,
	}
	if in.OwnNumber != 0 || len(in.Gone) > 0 || in.OutageMs != 0 || in.CutMs != 0 {
		out.odd = &odd{number: in.OwnNumber, gone: in.Gone, cause: in.GoneCause, outage: in.OutageMs, cut: in.CutMs}
	}
	return out
}
