package fsm

import (
	"slices"

	"holdline/fsm/pb"
)

// MaxExpire bounds the rows one Expire entry may expire: what Apply does at once is bounded too.
const MaxExpire = 10_000

// graceMs is how much later than its deadline a call is ended here: its home's owner ends it at the deadline, with BYE and
// CANCEL. This only catches what no owner did.
const graceMs = 60_000

// expire removes what is due by FSM time, earliest first, registrations, then calls, sessions, CDRs.
func (x *exec) expire(e *pb.Expire) *pb.Result {
	upTo := min(e.GetUpToMs(), x.now) // never ahead of time
	left := MaxExpire
	if e.GetMaxRows() != 0 {
		left = min(left, int(min(e.MaxRows, MaxExpire)))
	}
	left = x.expireRegistrations(upTo, left)
	left = x.expireCalls(upTo, left)
	left = x.expireSessions(upTo, left)
	x.trimCDRs(upTo, left)
	at, any := x.st.expireDue()
	return &pb.Result{Existing: any && at <= upTo} // existing: there is more
}

func (x *exec) expireRegistrations(upTo int64, left int) int {
	t := &x.st.regs
	for _, old := range t.agenda.first(upTo, left) {
		left--
		row := *old
		row.bindings = slices.DeleteFunc(slices.Clone(old.bindings), func(b Binding) bool { return b.ExpiresMs <= upTo })
		if len(row.bindings) == 0 {
			t.drop(old.aor)
		} else {
			t.put(old, row.stored(old))
		}
	}
	return left
}

func (x *exec) expireCalls(upTo int64, left int) int {
	t := &x.st.calls
	for ; left > 0; left-- {
		c, at := t.firstDue()
		if c == nil || at > upTo {
			break
		}
		if c.Active() {
			row := c.next(c.Epoch)
			row.end(x.now)
			x.putCall(c, row, expiredBecause(c))
			x.expired = append(x.expired, row)
		} else {
			t.drop(c)
			x.expired = append(x.expired, c)
		}
	}
	return left
}

func (x *exec) expireSessions(upTo int64, left int) int {
	var idle []*session
	x.st.sessions.scan(func(_ uint64, s *session) bool {
		if s.last+SessionIdleMs <= upTo && len(idle) < left {
			idle = append(idle, s)
		}
		return true
	})
	for _, s := range idle {
		x.st.dropSession(s)
	}
	return left - len(idle)
}

// firstDue is the call to expire next. Ended rows go at their deadline, active calls are ended a grace later.
func (t *callTable) firstDue() (*Call, int64) {
	d, any := t.due.Min()
	if l, found := t.live.Min(); found && (!any || l.less(d)) {
		d, any = l, true
	}
	if !any {
		return nil, 0
	}
	return t.get(d.number), d.at
}

// dueAt is when Expire has something to do with the call.
func (c *Call) dueAt() int64 {
	if c.Active() {
		return c.DeadlineMs + graceMs
	}
	return c.DeadlineMs
}

func (s *state) expireDue() (at int64, any bool) {
	earlier := func(t int64) {
		if !any || t < at {
			at, any = t, true
		}
	}
	if t, found := s.regs.agenda.min(); found {
		earlier(t)
	}
	if c, t := s.calls.firstDue(); c != nil {
		earlier(t)
	}
	s.sessions.scan(func(_ uint64, v *session) bool {
		earlier(v.last + SessionIdleMs)
		return true
	})
	if t, found := s.cdrDue(); found {
		earlier(t)
	}
	return at, any
}
