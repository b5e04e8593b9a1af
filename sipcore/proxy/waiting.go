package proxy

import (
	"slices"
	"time"

	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
)

// How long a request waits for a phone whose connection is gone: after a takeover all phones of the group come back, and the last
// of many thousands needs its time; else it has most likely been switched off. Both are well below Timer B and F (32 s), so the sender
// hears a final in time.
const (
	waitTakeover = int64(10 * time.Second)
	waitAlone    = int64(time.Second)
)

// maxGone bounds how many connections one request is tried over that turn out to be gone.
const maxGone = 32

// waiter is a leg that waits for its phone to register again.
type waiter struct {
	cell txn.Ref
	leg  uint8 // position in the cell
	peer peer
}

// follow sends a leg to a phone over the connection that it has now, or has it wait for the phone to come back; false: neither.
func (s *Shard) follow(c *txn.Cell, u *call, l *txn.Leg) bool {
	if !onStream(l.Flow) || len(u.gone) >= maxGone {
		return false
	}
	if !slices.Contains(u.gone, l.Flow.Conn) {
		u.gone = append(u.gone, l.Flow.Conn)
	}
	p, ok := s.peerOf(c, u, l)
	if !ok || mayRetry(c, u, l) && s.anotherFlow(u, l.Index) != nil { // it is tried next
		return false
	}
	if s.waits(c, l, p.aor) {
		return true
	}
	if u.waitsSince == 0 {
		u.waitsSince = s.now
	}
	if s.now >= s.waitsUntil(u, l) {
		return s.redirect(c, u, l, &p)
	}
	if !s.env.Await(p.aor) {
		s.opt.Stats.WaitsRefused.Add(1)
		return s.redirect(c, u, l, &p)
	}
	// Asked first, looked second: a REGISTER that is applied in between is told of.
	if s.redirect(c, u, l, &p) {
		s.env.Awaited(p.aor)
		return true
	}
	s.opt.Stats.Waited.Add(1)
	s.waiting[p.aor] = append(s.waiting[p.aor], waiter{cell: c.Ref(), leg: legPos(c, l), peer: p})
	s.waitLook = min(s.waitLook, s.waitsUntil(u, l))
	return true
}

// waits reports whether a leg waits already.
func (s *Shard) waits(c *txn.Cell, l *txn.Leg, aor string) bool {
	return slices.ContainsFunc(s.waiting[aor], func(w waiter) bool {
		_, leg := w.open()
		return leg == l && w.cell.Cell() == c
	})
}

// waitsUntil is when a leg's wait ends.
func (s *Shard) waitsUntil(u *call, l *txn.Leg) int64 {
	until := u.waitsSince + waitAlone
	if at := s.env.MovedAt(l.Flow.Group); at != 0 {
		until = max(until, at+waitTakeover)
	}
	return min(until, u.waitsSince+waitTakeover)
}

// redirect sends a leg over the connection that its phone has now; false: none is known. The branch stays, unless the
// phone has another Contact now, so that a request which it has got already is a retransmission to it.
func (s *Shard) redirect(c *txn.Cell, u *call, l *txn.Leg, p *peer) bool {
	b, ok := s.present(p, true)
	flow := transport.Flow(b.Flow)
	if !ok || s.view.face(flow) == nil || slices.Contains(u.gone, flow.Conn) {
		return false
	}
	if !u.hasToken {
		if u.hasTarget(flow) {
			return false // another leg is on its way there
		}
		u.retarget(l, bindingTarget(&b, p.aor))
	}
	s.remember(p, flow)
	s.opt.Stats.Followed.Add(1)
	l.Flow = flow
	if l.Cancel == txn.CancelSent && l.CancelRq != nil {
		s.send(flow, l.CancelRq.B)
		return true
	}
	s.sendLeg(c, u, l)
	return true
}

// retarget gives a leg another target. The old one is left as it is: the command that recorded it has it, too.
func (u *call) retarget(l *txn.Leg, t *pb.Target) {
	for i := range u.flows {
		if f := &u.flows[i]; f.leg == l.Index && f.attempt == l.Attempt {
			f.target = t
			return
		}
	}
	u.targets[l.Index] = t
}

// hasTarget reports whether a leg of the call goes, or is to go, over a flow.
func (u *call) hasTarget(f transport.Flow) bool {
	return slices.ContainsFunc(u.targets, func(t *pb.Target) bool {
		if t == nil {
			return false
		}
		flow, err := transport.FlowFromPB(t.Flow)
		return err == nil && flow == f
	})
}

// Rebound tells that a phone of the AoR has registered over another connection: what waits for it goes out.
func (s *Shard) Rebound(v *View, now int64, aor string) {
	s.view, s.now = v, now
	waiting := s.waiting[aor]
	if len(waiting) == 0 {
		return
	}
	delete(s.waiting, aor) // what is sent may come back undelivered, and then it begins to wait anew
	var still []waiter
	for _, w := range waiting {
		c, l := w.open()
		if l != nil && s.held(c) && !s.redirect(c, callOf(c), l, &w.peer) {
			still = append(still, w)
			continue
		}
		s.env.Awaited(aor)
	}
	if len(still) > 0 {
		s.waiting[aor] = append(s.waiting[aor], still...)
	}
}

// open is the leg that waits, nil when it is over.
func (w *waiter) open() (*txn.Cell, *txn.Leg) {
	c := w.cell.Cell()
	if c == nil || int(w.leg) >= len(c.Legs) {
		return nil, nil
	}
	l := c.Legs[w.leg]
	if !l.Open || l.State != txn.LegCalling && l.State != txn.LegProceeding {
		return nil, nil
	}
	return c, l
}

// endWaits gives up what has waited long enough.
func (s *Shard) endWaits() {
	if s.now < s.waitLook {
		return
	}
	s.waitLook = never
	for aor, waiting := range s.waiting {
		var over []waiter
		waiting = slices.DeleteFunc(waiting, func(w waiter) bool {
			c, l := w.open()
			if l != nil && s.held(c) {
				if until := s.waitsUntil(callOf(c), l); s.now < until {
					s.waitLook = min(s.waitLook, until)
					return false
				}
				over = append(over, w)
			}
			s.env.Awaited(aor)
			return true
		})
		if s.waiting[aor] = waiting; len(waiting) == 0 {
			delete(s.waiting, aor)
		}
		for _, w := range over {
			if c, l := w.open(); l != nil && (!c.Invite() || l.State == txn.LegCalling) { // one that rings may yet answer over a new connection
				s.opt.Stats.WaitedInVain.Add(1)
				s.absent(c, callOf(c), l)
			}
		}
	}
}

const never = int64(1<<63 - 1)

// Moved tells that a group has another owner: the connections that requests went over are gone, and with them perhaps the
// requests, or the responses to them. What has no final yet is sent again; to a connection that is there it is a retransmission, the others come back as
// undeliverable.
func (s *Shard) Moved(v *View, now int64, group uint32) {
	s.view, s.now = v, now
	s.tab.Each(func(c *txn.Cell) {
		for _, l := range c.Legs {
			if l.Flow.Group != group || !onStream(l.Flow) || !l.Open || l.Request == nil || !s.held(c) {
				continue
			}
			switch {
			case l.Cancel == txn.CancelSent && l.CancelRq != nil:
				s.send(l.Flow, l.CancelRq.B)
			case l.State == txn.LegCalling, l.State == txn.LegProceeding:
				s.send(l.Flow, l.Request.B)
			}
		}
	})
}
