package proxy

import (
	"strconv"

	"holdline/sipcore/wire"
)

// Session intervals that are too short (RFC 4028 §8.1). Each refresh costs a command, and a phone that asks for one a second would
// cost as much as a hundred calls.
const (
	settingMinSE = "call.min-session-expires" // seconds
	minSE        = 90                         // and no minimum may be lower (§4)
)

// minSE is the shortest session interval that we take, in seconds.
func (s *Shard) minSE() uint32 {
	return uint32(min(max(s.view.Config.SettingInt(settingMinSE, minSE), minSE), 1<<24))
}

// sessionAsked is the session interval that a request asks for, in seconds; false if it asks for none that can be read.
func sessionAsked(m *wire.Msg) (uint32, bool) {
	if !m.Has(wire.HdrSessionExpires) || m.Method != wire.Invite && m.Method != wire.Update {
		return 0, false
	}
	v := m.Value(wire.HdrSessionExpires)
	return leadingNumber(v), len(v) > 0 && '0' <= v[0] && v[0] <= '9'
}

// checkSession refuses a request whose session interval is too short, if its sender knows what to do about it: it asks again for
// a longer one.
func (s *Shard) checkSession(m *wire.Msg) *wire.Response {
	asked, ok := sessionAsked(m)
	if !ok {
		return nil
	}
	least := s.minSE()
	if asked >= least || !m.Lists(wire.HdrSupported, "timer") {
		return nil
	}
	return &wire.Response{Status: 422, Fields: []wire.Field{{ID: wire.HdrMinSE, Value: strconv.AppendUint(nil, uint64(least), 10)}}}
}

// lengthenSession does for a sender that does not know session timers what it can't: Min-SE is raised to our minimum, and
// Session-Expires to Min-SE. The refresher stays as it is.
func (s *Shard) lengthenSession(e *wire.Edit, m *wire.Msg) {
	asked, ok := sessionAsked(m)
	if !ok {
		return
	}
	least := max(leadingNumber(m.Value(wire.HdrMinSE)), minSE)
	if ours := s.minSE(); asked < ours && least < ours {
		least = ours
		e.Set(wire.HdrMinSE, strconv.AppendUint(nil, uint64(least), 10))
	}
	if asked >= least {
		return
	}
	v := m.Value(wire.HdrSessionExpires)
	n := 0
	for n < len(v) && '0' <= v[n] && v[n] <= '9' {
		n++
	}
	e.Set(wire.HdrSessionExpires, append(strconv.AppendUint(nil, uint64(least), 10), v[n:]...))
}
