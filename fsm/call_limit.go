package fsm

import (
	"strings"

	"holdline/fsm/pb"
)

// SettingMaxPerUser is how many calls a user may make at once, over the whole cluster, unless he has a number of his own; 0: any number. That is what it
// is unless set, for a PBX may be one user.
const (
	SettingMaxPerUser = "call.max-per-user"
	MaxPerUser        = 0
)

// userCalls are the active calls of one user.
type userCalls struct {
	part int32 // in which he takes part: he calls, is rung or talks
	made int32 // those of them that he makes: his password was given, or his phone has sent them on to somebody else
}

// countUsers adds an active call to those of its users, or takes it away. No zeroes are kept.
func (t *callTable) countUsers(c *Call, by int) {
	for _, aor := range users(c) {
		n := t.byUser[aor]
		n.part += int32(by)
		if aor == c.Origin {
			n.made += int32(by)
		}
		if n == (userCalls{}) {
			delete(t.byUser, aor)
		} else {
			t.byUser[aor] = n
		}
	}
}

// madeByUser reports whether who calls is a user, and no gateway or stranger.
func madeByUser(origin string) bool { return strings.IndexByte(origin, '@') > 0 }

// overLimit refuses a call whose user makes as many as he may by now. by is his row, nil if he has been removed. Whom he is called by does not count, nor is an
// emergency call refused. A limit that is lowered ends no call.
func (s *state) overLimit(c *pb.CreateCall, by *User) *pb.Result {
	if c.Emergency || !madeByUser(c.Origin) {
		return nil
	}
	limit := s.conf.callLimit(by)
	if limit <= 0 || int64(s.calls.byUser[c.Origin].made) < limit {
		return nil
	}
	return fail(pb.Code_CALLER_LIMIT, "more calls at once than the %d that %s may make", limit, c.Origin)
}

// callLimit is how many calls a user may make at once, 0 or less: any number. u is nil for one who has been removed.
func (c *Config) callLimit(u *User) int64 {
	if u != nil && u.MaxCalls > 0 {
		return int64(u.MaxCalls)
	}
	return c.SettingInt(SettingMaxPerUser, MaxPerUser)
}

// OverLimit says why a call that is not to be committed before it goes on would be refused now for how many its user makes; "": it would not. Calls that are not
// recorded yet are in no count.
func (m *Machine) OverLimit(c *pb.CreateCall) string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.st.calls.byKey[string(c.Key)] != nil {
		return ""
	}
	return m.st.overLimit(c, m.st.conf.User(c.Origin)).GetError()
}

// CallsMade is the number of active calls that a user makes, as his limit counts them.
func (m *Machine) CallsMade(aor string) int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return int(m.st.calls.byUser[aor].made)
}
