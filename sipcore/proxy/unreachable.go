package proxy

import (
	"bytes"
	"net/netip"
	"time"

	"holdline/sipcore/txn"
)

// Unreachable is an ICMP error about a request of a leg (RFC 3261 §18.4).
type Unreachable struct {
	Branch Branch
	Remote netip.AddrPort // where the request was to go
	Hard   bool           // the host itself says that nobody listens
	cancel bool           // the request was the leg's CANCEL
}

// ParseUnreachable reads the beginning of a datagram as an ICMP error quotes it; false: not one of our requests that wait for a
// response, or too little of it. Our Via is the second line of all that we send for a leg.
func ParseUnreachable(quoted []byte) (Unreachable, bool) {
	line, rest, ok := bytes.Cut(quoted, []byte("\r\n"))
	method, _, ok2 := bytes.Cut(line, []byte(" "))
	if !ok || !ok2 || string(method) == "ACK" || string(method) == "SIP/2.0" || !bytes.HasPrefix(rest, []byte("Via: SIP/2.0/UDP ")) {
		return Unreachable{}, false
	}
	via, _, _ := bytes.Cut(rest, []byte("\r\n"))
	_, branch, _ := bytes.Cut(via, []byte(";branch="))
	b, ok := parseBranch(branch[:min(len(branch), branchLen)])
	return Unreachable{Branch: b, cancel: string(method) == "CANCEL"}, ok
}

const (
	// unsettled is how long after a takeover errors are not believed: neighbours may not know yet where the VIP is, and ours
	// may still be looked for (an ARP request is given up after 3 s). Requests are repeated, and errors with them.
	unsettled = int64(4 * time.Second)
	// apart is how far two errors must be apart to say more than one: as far as a request and its repetition, about.
	apart = int64(txn.T1) / 2
)

// Unreachable goes on with a leg of which an ICMP error says that its request has not arrived, as if it had been answered with
// 503 (RFC 3261 §16.9, RFC 3263 §4.3): the next address or gateway is tried, a phone is not there. What nobody off the path can
// know proves the error: the leg's branch, with its MAC.
func (s *Shard) Unreachable(v *View, now int64, x *Unreachable) {
	s.view, s.now = v, now
	c := s.tab.FindLo(x.Branch.Txn)
	if c == nil || !s.held(c) {
		return
	}
	l := legOf(c, x.Branch.Leg, x.Branch.Attempt)
	if l == nil || !l.Open || l.Flow.Remote != x.Remote || !waitsFor(c, l, x) || !x.Branch.verify(v.branch, c.Caller.Remote) {
		return
	}
	u := callOf(c)
	if !s.believe(c, u, l, x) {
		return
	}
	if u.kind != kindProbe {
		s.opt.Stats.Unreachable.Add(1)
	}
	switch {
	case x.cancel || u.cancel != phaseNone || l.Cancel != txn.CancelNone:
		s.legFailed(c, u, l, 487)
		return
	case len(l.Others) == 0:
		s.down(u, l.Index)
	}
	if !c.Invite() {
		s.legFailed(c, u, l, s.unsent(c, u, l))
		return
	}
	s.tab.Abandon(l, s.unsent(c, u, l)) // should it answer after all, it is called back
	if !s.tryOther(c, u, l) && !s.tryFlow(c, u, l) {
		s.legDone(c, u, l, nil)
	}
}

// waitsFor reports whether what the error is about is still being sent: a peer that has answered has it.
func waitsFor(c *txn.Cell, l *txn.Leg, x *Unreachable) bool {
	if x.cancel {
		return l.Cancel == txn.CancelSent
	}
	return l.State == txn.LegCalling || l.State == txn.LegProceeding && !c.Invite()
}

// believe reports whether an error is enough to give the leg up. One is if there is somebody else to try, or if the host itself
// says that nobody listens. A dialog, a CANCEL, and a peer without an alternative behind a network that is not there just now, are
// given up when a repetition has met the same.
func (s *Shard) believe(c *txn.Cell, u *call, l *txn.Leg, x *Unreachable) bool {
	for _, group := range [...]uint32{c.Home, l.Flow.Group} {
		if at := s.env.AcquiredAt(group); at != 0 && s.now-at < unsettled {
			return false
		}
	}
	if !x.cancel && !u.hasToken && u.kind != kindHangup {
		if x.Hard || len(l.Others) > 0 || u.serial && u.moreTargets() {
			return true
		}
	}
	if l.Unsure == 0 {
		l.Unsure = s.now
		return false
	}
	return s.now-l.Unsure >= apart
}
