package proxy

import (
	"net/netip"
	"slices"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/dialog"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// A request of a dialog needs no password, and its sender writes where it goes: Request-URI, Route (RFC 3261 §12.2.1.1). Whoever has a
// token of ours, a stranger too who has called a user, could so have us send an INVITE that he made up to a gateway, which trusts our address. So tokens
// say which sides are no gateways, and requests to those go to no gateway's address. What a side is follows from its address and its target,
// not from what it writes, and so comes out the same on a new owner.

// Why such requests get 403.
const (
	noGateway = "This Side Of The Dialog Is No Gateway"
	byNumber  = "Gateways Are Called By Number"
)

// callerBars are the bars of a caller at addr.
func (s *Shard) callerBars(addr netip.Addr) dialog.Bars {
	if len(s.view.sources(addr)) > 0 || s.view.Config.MemberAt(addr) {
		return 0
	}
	return dialog.BarMembers | dialog.BarSources
}

// calleeBars are the bars of a callee, reached as t at addr. Phones may live in a network that a gateway's requests come from: theirs may move within
// it, and are kept from the gateways' own addresses only. A proxy there that speaks for others (Route, Path) is as good as a gateway.
func (s *Shard) calleeBars(t *pb.Target, addr netip.Addr) dialog.Bars {
	switch {
	case t == nil || t.Member != "" || s.view.Config.MemberAt(addr):
		return 0
	case len(s.view.sources(addr)) == 0:
		return dialog.BarMembers | dialog.BarSources
	case t.Aor == "" || len(t.Routes) > 0:
		return 0
	}
	return dialog.BarMembers
}

// barred reports whether bars keep a request from an address.
func (s *Shard) barred(bars dialog.Bars, addr netip.Addr) bool {
	return bars&dialog.BarMembers != 0 && s.view.Config.MemberAt(addr) || bars&dialog.BarSources != 0 && len(s.view.sources(addr)) > 0
}

// stopped reports whether bars keep a request of a dialog from its next hop, whose URI names host. What does not count now is taken off them.
func (s *Shard) stopped(in *Inbound, h *hop, host []byte) bool {
	stops := func() bool {
		if h.flow.Remote.IsValid() {
			return s.barred(h.bars, h.flow.Remote.Addr())
		}
		return h.bars != 0 && s.view.namesGateway(host)
	}
	if !stops() {
		return false
	}
	h.bars = s.barsNow(h.bars, in.Flow, in.Msg, in.Token.Call, h.toCaller)
	return stops()
}

// barsNow is what is left of a token's bars for a request that they would stop. A trusted source may send where it likes, outside of dialogs
// too. And a side whose address has become a gateway's since it called, or was called, is one: its calls go on.
func (s *Shard) barsNow(bars dialog.Bars, from transport.Flow, m *wire.Msg, number uint64, toCaller bool) dialog.Bars {
	if len(s.view.sources(from.Remote.Addr())) > 0 {
		return 0
	}
	if number == 0 {
		return bars
	}
	row := s.opt.State.Call(number)
	switch {
	case row == nil:
		return bars
	case toCaller:
		return bars & s.callerBars(row.Caller.Remote.Addr())
	}
	tag := m.Bytes(m.To.Tag)
	i := slices.IndexFunc(row.Legs, func(l fsm.Leg) bool { return l.ToTag == string(tag) })
	if i < 0 || row.Legs[i].Target == nil {
		return bars
	}
	t := row.Legs[i].Target
	return bars & s.calleeBars(targetPB(t), t.Flow.Remote.Addr())
}

// unbarred leaves of the addresses of a name those that a request of a dialog may be sent to.
func (s *Shard) unbarred(flows []transport.Flow, bars dialog.Bars, from transport.Flow, m *wire.Msg, number uint64, toCaller bool) []transport.Flow {
	stops := func(f transport.Flow) bool { return s.barred(bars, f.Remote.Addr()) }
	if bars == 0 || !slices.ContainsFunc(flows, stops) {
		return flows
	}
	bars = s.barsNow(bars, from, m, number, toCaller)
	return slices.DeleteFunc(flows, stops)
}

// legBars are those of a leg outside of dialogs: of a Route that a user has written, and of a Path that came with the REGISTER of one. Users reach gateways by the
// routes of their domain alone.
func (s *Shard) legBars(u *call, l *txn.Leg) dialog.Bars {
	t := targetOf(u, l)
	switch {
	case u.hasToken || t == nil || t.Member != "" || diverts(t):
		return 0
	case t.Aor == "" && !u.near:
		return dialog.BarMembers | dialog.BarSources
	case t.Aor != "" && len(t.Routes) > 0:
		if from, err := transport.FlowFromPB(t.Flow); err == nil {
			return s.callerBars(from.Remote.Addr())
		}
	}
	return 0
}

// unbarredLeg is unbarred for a leg that waited for its lookup.
func (s *Shard) unbarredLeg(c *txn.Cell, u *call, l *txn.Leg, flows []transport.Flow) []transport.Flow {
	if bars := s.legBars(u, l); bars != 0 {
		return slices.DeleteFunc(flows, func(f transport.Flow) bool { return s.barred(bars, f.Remote.Addr()) })
	}
	if u.bars == 0 {
		return flows
	}
	if s.tmp.Scan(c.Request.B) != nil {
		return nil
	}
	return s.unbarred(flows, u.bars, u.source, &s.tmp, u.tokenCall, u.toCaller)
}
