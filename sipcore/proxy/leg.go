package proxy

import (
	"bytes"
	"net/netip"

	"holdline/fsm/pb"
	"holdline/sipcore/dialog"
	"holdline/sipcore/resolve"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// startTarget makes the leg of target i, with its share of the Max-Breadth if that is split, and sends it, at once or when its host has been looked up.
func (s *Shard) startTarget(c *txn.Cell, u *call, i, share int) {
	l := s.tab.NewLeg(c)
	l.Index, l.Attempt, l.Breadth = uint8(i), u.attempt(i), uint32(share)
	s.launch(c, u, l, u.targets[i])
}

// launch sends a new leg to t.
func (s *Shard) launch(c *txn.Cell, u *call, l *txn.Leg, t *pb.Target) {
	l.Patience = s.patience(u, l.Index, t)
	if !s.legFlow(c, u, l, t) {
		s.legFailed(c, u, l, 503)
		return
	}
	if !secure(l.Flow.Proto) && (isSIPS([]byte(t.Uri)) || isSIPS(requestURI(c.Request.B, u.lineEnd))) {
		s.legFailed(c, u, l, 480) // RFC 5630 §5.3: sips goes over TLS or not at all
		return
	}
	if l.Flow.Remote.IsValid() {
		s.sendLeg(c, u, l)
		return
	}
	s.resolveLeg(c, u, l, s.nextHopOf(c, t))
}

// legFlow gives a leg the flow of its target.
func (s *Shard) legFlow(c *txn.Cell, u *call, l *txn.Leg, t *pb.Target) bool {
	flow, err := transport.FlowFromPB(t.Flow)
	if err != nil || len(t.Uri) == 0 {
		return false
	}
	if flow.Group == 0 {
		flow.Group, flow.VIP = c.Home, u.source.VIP
	}
	if len(t.Routes) > 0 {
		s.pathFlow(&flow, t.Routes[0])
	}
	if f := s.view.face(flow); t.Aor == "" && f != nil {
		flow.Port = f.ports[flow.Proto] // a gateway is called from the VIP's SIP port
	}
	l.Flow, l.Shift = flow, uint8(t.CseqShift)
	return true
}

// resolveLeg finds the address of a leg's next hop, a URI or name-addr, and sends the leg.
func (s *Shard) resolveLeg(c *txn.Cell, u *call, l *txn.Leg, hop []byte) {
	if bytes.IndexByte(hop, '<') >= 0 { // without brackets the user's own parameters would be taken for those of a header (RFC 3261 §20)
		if na, err := wire.ParseNameAddr(hop); err == nil {
			hop = na.URI
		}
	}
	uri, err := wire.ParseURI(hop)
	if err != nil || uri.Scheme == wire.SchemeOther || uri.Scheme == wire.SchemeTel {
		s.legFailed(c, u, l, 503)
		return
	}
	if addr, ok := resolve.Literal(uri.Host); ok {
		l.Flow.Remote = addrPort(addr, portOf(&uri, l.Flow.Proto))
		if at, ours := s.view.ourAddr(&uri, l.Flow.Proto); ours {
			l.Flow.Remote = at
		}
		if s.barred(s.legBars(u, l), l.Flow.Remote.Addr()) {
			s.opt.Stats.KeptOff.Add(1)
			s.legFailed(c, u, l, 403)
			return
		}
		s.sendLeg(c, u, l)
		return
	}
	s.env.Lookup(s.query(max(u.tagHash, u.tokenHash), &uri, l.Flow, s.free3263(u, l, &uri)), Lookup{Cell: c.Ref(), Leg: legPos(c, l)})
}

// legPos is the leg's position in its cell; Leg.Index numbers targets, which may differ after a takeover.
func legPos(c *txn.Cell, l *txn.Leg) uint8 {
	for i, x := range c.Legs {
		if x == l {
			return uint8(i)
		}
	}
	return 0
}

// legOf finds the leg that a branch names.
func legOf(c *txn.Cell, index, attempt uint8) *txn.Leg {
	for _, l := range c.Legs {
		if l.Index == index && l.Attempt == attempt {
			return l
		}
	}
	return nil
}

// sendLeg builds a leg's request from the template and sends it. What an address of the other family is to be sent to has no way there: the caller need not wait until
// the time for an answer is over.
func (s *Shard) sendLeg(c *txn.Cell, u *call, l *txn.Leg) {
	if f, to := s.view.face(l.Flow), l.Flow.Remote.Addr().Unmap(); f != nil && to.IsValid() && f.six != to.Is6() {
		s.legFailed(c, u, l, 503)
		return
	}
	uri := requestURI(c.Request.B, u.lineEnd)
	var routes []string
	if t := targetOf(u, l); t != nil {
		uri, routes = []byte(t.Uri), t.Routes
	}
	buf := s.opt.Pool.Get(len(c.Request.B) + 512)
	out, ok := s.appendLeg(buf.B, c, u, l, uri, routes)
	if ok && len(out) > largeRequest && s.largeOverTCP(u, l) {
		l.Flow.Proto = pb.Transport_TCP
		out, ok = s.appendLeg(out[:0], c, u, l, uri, routes)
	}
	if !ok {
		buf.Release()
		s.legFailed(c, u, l, 503)
		return
	}
	if tooLarge(l.Flow, len(out)) {
		buf.Release()
		s.legFailed(c, u, l, 513)
		return
	}
	buf.B = out
	s.tab.Start(c, l, s.now, buf)
	s.send(l.Flow, out)
}

// appendLeg writes a leg's request: request line, our Via, Record-Route, Path, and the template below its request
// line (RFC 3261 §16.6). The branch depends on nothing else than the request, the target and the cluster's key.
func (s *Shard) appendLeg(out []byte, c *txn.Cell, u *call, l *txn.Leg, uri []byte, routes []string) ([]byte, bool) {
	out, ok := s.appendHead(out, c, u, l, uri)
	if !ok {
		return out, false
	}
	if recordRoutes(c.Method) && !u.hasToken {
		out = s.appendRecordRoute(out, c, u, l)
	}
	for _, r := range routes {
		out = append(out, "Route: "...)
		out = append(out, r...)
		out = append(out, "\r\n"...)
	}
	if l.Shift == 0 && u.credentials == "" {
		return appendBody(appendLength(out, u, l), c, u, l), true
	}
	return s.appendForAccount(out, c, u, l)
}

func (s *Shard) appendHead(out []byte, c *txn.Cell, u *call, l *txn.Leg, uri []byte) ([]byte, bool) {
	f := s.view.face(l.Flow)
	if f == nil || len(uri) == 0 {
		return out, false
	}
	line := c.Request.B[:u.lineEnd]
	for i, ch := range line {
		if ch == ' ' {
			out = append(out, line[:i+1]...) // the method
			break
		}
	}
	out = appendRequestURI(out, uri)
	out = append(out, " SIP/2.0\r\n"...)
	return s.appendVia(out, f, c, u.gen, u.loop, l, uri), true
}

func (s *Shard) appendVia(out []byte, f *face, c *txn.Cell, gen uint8, loop uint32, l *txn.Leg, uri []byte) []byte {
	k := s.view.branchKey(gen)
	b := Branch{
		Key: k.id, Home: c.Home, Caller: c.Caller, Leg: l.Index, Shift: l.Shift, Attempt: l.Attempt,
		Target: uint16(hash32(k.secret, uri)), Txn: c.Key.Lo, Loop: loop,
	}
	out = append(out, f.via[l.Flow.Proto]...)
	out = b.append(out, k.secret, c.Caller.Remote)
	return append(out, "\r\n"...)
}

// recordRoutes reports whether a request of this method outside a dialog may make one (§16.6 step 4).
func recordRoutes(m wire.Method) bool {
	switch m {
	case wire.Invite, wire.Subscribe, wire.Refer, wire.Notify:
		return true
	}
	return false
}

// appendRecordRoute writes one Record-Route when both sides use the same VIP, port and transport, else two, the
// callee's on top (RFC 5658).
func (s *Shard) appendRecordRoute(out []byte, c *txn.Cell, u *call, l *txn.Leg) []byte {
	near, far := s.view.face(c.Caller), s.view.face(l.Flow)
	if near == nil {
		near = far
	}
	k := s.view.route[0]
	t := dialog.Token{
		Home: c.Home, Call: u.number, TagHash: u.tagHash,
		Caller: dialog.Side{Flow: u.source, Pinned: u.pinned, Bars: s.callerBars(u.source.Remote.Addr())},
		Callee: dialog.Side{Flow: l.Flow, Pinned: s.pinCallee(u, l), Bars: s.calleeBars(targetOf(u, l), l.Flow.Remote.Addr())},
		Shift:  l.Shift, Diverted: s.view.addrs[u.source.Remote.Addr().Unmap()],
	}
	sips := isSIPS(requestURI(c.Request.B, u.lineEnd))
	out = append(out, far.recordRoute(l.Flow.Proto, sips)...)
	at := len(out)
	out = t.Append(out, k)
	end := len(out)
	out = append(out, ">\r\n"...)
	if near == far && c.Caller.Proto == l.Flow.Proto {
		return out
	}
	out = append(out, near.recordRoute(c.Caller.Proto, sips)...)
	out = append(out, out[at:end]...)
	return append(out, ">\r\n"...)
}

func (f *face) recordRoute(p pb.Transport, sips bool) string {
	if sips {
		return f.rrs[p]
	}
	return f.rr[p]
}

// pinCallee reports whether requests to the callee must take the flow of its registration: it is a phone on a stream,
// or its contact names another address than it registers from.
func (s *Shard) pinCallee(u *call, l *txn.Leg) bool {
	t := targetOf(u, l)
	if t == nil || t.Aor == "" || len(t.Routes) > 0 { // none: a leg that had failed before the call was taken over
		return false
	}
	if l.Flow.Proto != pb.Transport_UDP {
		return true
	}
	return !uriNames([]byte(t.Uri), l.Flow) || asksForFlow([]byte(t.Uri))
}

// uriNames reports whether a URI's host and port are literally those of flow's peer.
func uriNames(uri []byte, f transport.Flow) bool {
	p, err := wire.ParseURI(uri)
	if err != nil {
		return false
	}
	a, ok := resolve.Literal(p.Host)
	return ok && addrPort(a, portOf(&p, f.Proto)) == f.Remote
}

func addrPort(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a.Unmap(), port) }
