package proxy

import (
	"cmp"
	"slices"
	"strings"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/dialog"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// answerCommand is the record of a 2xx to an INVITE: the dialog, its session interval (RFC 4028), and what a BYE of ours to
// either side needs. It is called while the request is still there.
func (s *Shard) answerCommand(m *wire.Msg, c *txn.Cell, u *call, l *txn.Leg) *pb.AnswerCall {
	cmd := &pb.AnswerCall{
		Call: u.number, Home: c.Home, Epoch: c.Epoch, Leg: uint32(l.Index), ToTag: tagText(m.Bytes(m.To.Tag)),
		SessionExpires: cmp.Or(sessionExpires(m), u.session),
	}
	cmd.CalleeContact, cmd.CalleeRoutes = reach(contact(m), s.routesAbove(m, u, l))
	if c.Request != nil && s.tmp2.Scan(c.Request.B) == nil {
		cmd.CallerContact, cmd.CallerRoutes = reach(contact(&s.tmp2), recordedRoutes(&s.tmp2))
	}
	return cmd
}

// reach is how a side is reached, as a record keeps it: one with more Routes than it keeps is left to its own session timer.
func reach(contact, routes string) (string, string) {
	if len(routes) > maxRoutes {
		return "", ""
	}
	return contact, routes
}

// contact is the URI of a message's Contact, "" without a readable one.
func contact(m *wire.Msg) string {
	if !m.Has(wire.HdrContact) {
		return ""
	}
	na, err := wire.ParseNameAddr(m.Value(wire.HdrContact))
	if err != nil {
		return ""
	}
	if len(na.URI) > maxURI {
		return ""
	}
	return text(na.URI)
}

// recordedRoutes is the route set towards whoever sent m, as a Route header has it.
func recordedRoutes(m *wire.Msg) string {
	if !m.Has(wire.HdrRecordRoute) {
		return ""
	}
	var routes []string
	for it := m.Values(wire.HdrRecordRoute); ; {
		_, v, ok := it.Next()
		if !ok {
			return strings.Join(routes, ", ")
		}
		routes = append(routes, text(m.Bytes(v)))
	}
}

// routesAbove is the route set from us to the callee, as a Route header has it: what is above our Record-Route in
// its response, from the bottom up. Where the leg leads to ourselves, as another call, there is that one's above it.
func (s *Shard) routesAbove(m *wire.Msg, u *call, l *txn.Leg) string {
	if !m.Has(wire.HdrRecordRoute) {
		return ""
	}
	var routes []string
	for it := m.Values(wire.HdrRecordRoute); ; {
		_, v, ok := it.Next()
		if !ok {
			return "" // ours is not there: whoever took it off took us out of the dialog
		}
		na, err := wire.ParseNameAddr(m.Bytes(v))
		if err != nil {
			return ""
		}
		if uri, err := wire.ParseURI(na.URI); err == nil && s.view.isOwn(uri.Host, uri.Port) && (!s.view.addrs[l.Flow.Remote.Addr()] || s.ofCall(&uri, u.number)) {
			slices.Reverse(routes)
			return strings.Join(routes, ", ")
		}
		routes = append(routes, text(m.Bytes(v)))
	}
}

// ofCall reports whether a Record-Route of ours is that of a call.
func (s *Shard) ofCall(uri *wire.URI, number uint64) bool {
	token, _ := uri.Param(dialog.Param)
	t, _, err := dialog.Parse(token, s.view.route)
	return err == nil && t.Call == number
}

// refreshCommand is the command that records a 2xx to a re-INVITE or UPDATE; nil when there is nothing new in it. A
// refresh renews the deadline, a 2xx without Session-Expires ends the session timer (RFC 4028 §8.2), and a Contact may be
// another one (RFC 3261 §12.2.1.2). It is called while the request is still there.
func (s *Shard) refreshCommand(m *wire.Msg, c *txn.Cell, u *call) *pb.AnswerCall {
	if u.number == 0 || c.Request == nil || u.kind != kindReinvite && c.Method != wire.Update {
		return nil
	}
	row := s.opt.State.Call(u.number)
	if row == nil || row.Home != c.Home || row.State != pb.CallState_CALL_ANSWERED || !slices.Contains(row.Dialogs, u.calleeTag) {
		return nil
	}
	i := slices.IndexFunc(row.Legs, func(l fsm.Leg) bool { return l.ToTag == u.calleeTag })
	if i < 0 || s.tmp2.Scan(c.Request.B) != nil {
		return nil
	}
	cmd := &pb.AnswerCall{
		Call: row.Number, Home: c.Home, Epoch: c.Epoch, Leg: uint32(i), ToTag: u.calleeTag, SessionExpires: cmp.Or(sessionExpires(m), u.session),
		CallerContact: contact(&s.tmp2), CalleeContact: contact(m),
	}
	if u.byCallee {
		cmd.CallerContact, cmd.CalleeContact = cmd.CalleeContact, cmd.CallerContact
	}
	timed := row.DeadlineMs < s.view.Config.MaxEnd(row)
	moved := cmd.CallerContact != "" && cmd.CallerContact != row.CallerContact || cmd.CalleeContact != "" && cmd.CalleeContact != row.Legs[i].Contact
	if cmd.SessionExpires == 0 && !timed && !moved {
		return nil
	}
	return cmd
}

// submitAnswer commits an answer or refresh; the ACK, or the final to an UPDATE, waits for that.
func (s *Shard) submitAnswer(c *txn.Cell, u *call, cmd *pb.AnswerCall) {
	u.answers++
	s.answers[u.number] = c.Ref()
	s.submit(&pb.Command{Op: &pb.Command_AnswerCall{AnswerCall: cmd}}, Commit{Kind: commitAnswer, Cell: c.Ref(), Call: u.number})
}

// submitRefresh commits what the 2xx to an UPDATE says of the session; its final waits for that.
func (s *Shard) submitRefresh(c *txn.Cell, u *call) bool {
	if c.Method != wire.Update || u.final == nil || u.finalCode/100 != 2 || s.tmp.Scan(u.final.B) != nil {
		return false
	}
	cmd := s.refreshCommand(&s.tmp, c, u)
	if cmd == nil {
		return false
	}
	s.submit(&pb.Command{Op: &pb.Command_AnswerCall{AnswerCall: cmd}}, Commit{Kind: commitEnd, Cell: c.Ref(), Call: u.number})
	return true
}
