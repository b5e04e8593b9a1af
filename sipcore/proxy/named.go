package proxy

import (
	"net/netip"

	"github.com/dchest/siphash"

	"holdline/sipcore/resolve"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// query is what is looked up for a hop with a host name. The choice among targets of one priority follows from the
// name and the caller's tag: all requests of a dialog go to the same target, from a new owner too.
func (s *Shard) query(tagHash uint32, uri *wire.URI, flow transport.Flow, free bool) resolve.Query {
	f := s.view.face(flow)
	return resolve.Query{
		Host: string(uri.Host), Port: uri.Port, Proto: flow.Proto, Fixed: !free, SIPS: uri.Scheme == wire.SchemeSIPS,
		Six:  f != nil && f.six,
		Seed: siphash.Hash(uint64(tagHash), 0, uri.Host),
	}
}

// free3263 reports whether the DNS may say which transport a leg takes: that of a target which is neither a phone nor a gateway
// of ours, and whose URI does not say.
func (s *Shard) free3263(u *call, l *txn.Leg, uri *wire.URI) bool {
	t := targetOf(u, l)
	if u.hasToken || t == nil {
		return false
	}
	_, given := uri.Param("transport")
	return (t.Aor == "" || len(t.Routes) > 0) && t.Member == "" && !given
}

// Resolved goes on with a leg whose host has been looked up: with the first target that is not taken for down; the others are
// tried when it fails (RFC 3263 §4.3). Without targets the leg has failed.
func (s *Shard) Resolved(v *View, now int64, r Lookup, targets []resolve.Target) {
	s.view, s.now = v, now
	c := r.Cell.Cell()
	if c == nil || int(r.Leg) >= len(c.Legs) || !s.held(c) {
		return
	}
	u, l := callOf(c), c.Legs[r.Leg]
	if l.State != txn.LegIdle || !l.Open {
		return
	}
	if c.Request == nil || u.cancel != phaseNone && l.Cancel == txn.CancelNone { // one that the last owner has sent must be heard of to be cancelled
		s.legFailed(c, u, l, 487)
		return
	}
	flows := s.targetFlows(l.Flow, targets)
	if len(flows) == 0 {
		s.legFailed(c, u, l, 503)
		return
	}
	if flows = s.unbarredLeg(c, u, l, flows); len(flows) == 0 {
		s.opt.Stats.KeptOff.Add(1)
		s.legFailed(c, u, l, 403)
		return
	}
	l.Flow, l.Others = flows[0], flows[1:]
	if len(l.Others) > 0 && l.Patience == 0 {
		l.Patience = s.seconds(settingGatewayTimeout, gatewayTimeout)
	}
	s.sendLeg(c, u, l)
}

// targetFlows makes flows of targets: those that are not taken for down first.
func (s *Shard) targetFlows(like transport.Flow, targets []resolve.Target) []transport.Flow {
	f := s.view.face(like)
	if f == nil {
		return nil
	}
	var up, down []transport.Flow
	for _, t := range targets {
		if f.ports[t.Proto] == 0 {
			continue // this VIP does not speak it
		}
		flow := like
		if t.Proto != like.Proto {
			flow.Proto, flow.Port = t.Proto, f.ports[t.Proto]
		}
		flow.Remote, flow.Conn = t.Addr, 0
		if s.opt.Health.isDown(addrPool, addrText(t.Addr), s.now) {
			down = append(down, flow)
		} else {
			up = append(up, flow)
		}
	}
	return append(up, down...)
}

// addrPool is under which addresses of names are kept in Health; no pool has this name.
const addrPool = "\x00address"

func addrText(a netip.AddrPort) string { return a.String() }

// mayRetry reports whether it is of use to send what a leg should have delivered another way, as another attempt.
func mayRetry(c *txn.Cell, u *call, l *txn.Leg) bool {
	return l.Open && u.cancel == phaseNone && !u.noMore && !u.answered && !u.decided && c.Request != nil && l.Attempt < 255
}

// tryOther sends a leg that failed to the next target of its host, as another attempt. It reports false when there is none, or no
// use. The failed attempt is not recorded: a new owner begins with the first target again.
func (s *Shard) tryOther(c *txn.Cell, u *call, l *txn.Leg) bool {
	if len(l.Others) == 0 || !mayRetry(c, u, l) {
		return false
	}
	s.opt.Health.mark(addrPool, addrText(l.Flow.Remote), s.now, s.now+s.seconds(settingGatewayDown, gatewayDown), false)
	n := s.tab.NewLeg(c)
	n.Index, n.Attempt, n.Breadth, n.Shift = l.Index, l.Attempt+1, l.Breadth, l.Shift
	n.Flow, n.Others = l.Others[0], l.Others[1:]
	switch {
	case len(n.Others) > 0:
		n.Patience = l.Patience
	case int(l.Index) < len(u.targets) && u.targets[l.Index] != nil:
		n.Patience = s.patience(u, l.Index, u.targets[l.Index])
	}
	l.Open, l.Others = false, nil
	s.sendLeg(c, u, n)
	return true
}
