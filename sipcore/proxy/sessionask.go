package proxy

import (
	"strconv"
	"strings"

	"holdline/sipcore/dialog"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// A phone that loses power amid a call sends no BYE, and the call counts on for as long as any may: no media passes here that could be missed. So
// sessions can be asked for where neither side asks (RFC 4028 §8): the callee refreshes them if it can, else the caller if it can; else the call has none.

// SettingSession is the longest session interval, in seconds, that INVITEs go on with; 0: theirs.
const SettingSession = "call.session-expires"

// askSession has an INVITE ask for a session of at most the interval that is set, and an UPDATE that asks for one; but for none that is shorter than it allows (§8.1).
func (s *Shard) askSession(e *wire.Edit, m *wire.Msg) {
	if s.view.session == 0 || m.Method != wire.Invite && m.Method != wire.Update {
		return
	}
	n := max(s.view.session, s.minSE(), leadingNumber(m.Value(wire.HdrMinSE)))
	asked, ok := sessionAsked(m)
	switch {
	case ok && asked > n:
		v := m.Value(wire.HdrSessionExpires)
		e.Set(wire.HdrSessionExpires, append(strconv.AppendUint(nil, uint64(n), 10), strings.TrimLeft(string(v), "0123456789")...))
	case !m.Has(wire.HdrSessionExpires) && m.Method == wire.Invite:
		e.Append(wire.Field{ID: wire.HdrSessionExpires, Value: strconv.AppendUint(nil, uint64(n), 10)})
	}
}

// answerSession tells the sender of an INVITE that it has to refresh, when who answered cannot and it can (§8.2): the answer is as if a callee had asked it to.
func (s *Shard) answerSession(m *wire.Msg, c *txn.Cell, u *call) {
	if s.view.session == 0 || m.Has(wire.HdrSessionExpires) {
		return
	}
	if u.session == 0 && c.Request != nil && s.tmp2.Scan(c.Request.B) == nil && s.tmp2.Lists(wire.HdrSupported, "timer") {
		u.session = leadingNumber(s.tmp2.Value(wire.HdrSessionExpires))
	}
	s.putSession(u.session)
}

// answerSessionAgain does so with an answer that comes again after a takeover: that it was done is seen by the call's record, which has a session's end.
func (s *Shard) answerSessionAgain(m *wire.Msg) {
	if s.view.session == 0 || m.Method != wire.Invite || m.Status/100 != 2 || m.Has(wire.HdrSessionExpires) {
		return
	}
	row := s.opt.State.Call(s.recorded(m))
	if row == nil || row.AnsweredMs == 0 || row.DeadlineMs >= s.view.Config.MaxEnd(row) {
		return
	}
	s.putSession(uint32(max(row.DeadlineMs-row.AnsweredMs, 0) / 1000))
}

func (s *Shard) putSession(n uint32) {
	if n == 0 {
		return
	}
	s.edit.Append(wire.Field{ID: wire.HdrSessionExpires, Value: append(strconv.AppendUint(nil, uint64(n), 10), ";refresher=uac"...)})
	s.edit.Append(wire.Field{ID: wire.HdrRequire, Value: []byte("timer")})
}

// recorded is the number of the call that a response belongs to, by the token in our Record-Route; 0: there is none.
func (s *Shard) recorded(m *wire.Msg) uint64 {
	for it := m.Values(wire.HdrRecordRoute); ; {
		_, v, ok := it.Next()
		if !ok {
			return 0
		}
		na, err := wire.ParseNameAddr(m.Bytes(v))
		if err != nil {
			return 0
		}
		u, err := wire.ParseURI(na.URI)
		if err != nil {
			return 0
		}
		if text, ok := u.Param(dialog.Param); ok {
			if t, _, err := dialog.Parse(text, s.view.route); err == nil {
				return t.Call
			}
		}
	}
}
