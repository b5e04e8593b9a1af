package fsm

import "holdline/fsm/pb"

// outage notes that there was no leader for ms, in each call whose owner has transactions to see to, or a final to repeat. FSM time stood still
// meanwhile, and Expire goes by that: an owner may have seen to the call all the time. Phones and callers lived through it, so whoever takes the
// call up counts it (TimeOver). It goes over all calls, which are many; but nothing could be committed before.
func (x *exec) outage(ms int64) {
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	ms = min(ms, maxAgoMs)
	x.st.meta.outage += ms
	t := &x.st.calls
	var rows []*Call
	t.rows.scan(func(_ uint64, c *Call) bool {
		if len(c.Invite) > 0 || len(c.Final) > 0 {
			rows = append(rows, c)
		}
		return true
	})
	for _, old := range rows {
		row := *old // of the same version: nobody has done anything
		row.odd = row.oddly()
		row.odd.outage = min(row.odd.outage+ms, maxAgoMs)
		t.put(old, &row)
	}
}

// Outage is how many ms the deadline of a call that is being set up, or has failed, leaves out: those for which there was no leader since it was set, and
// those by which it was set after the fact (catchUpCall).
func (c *Call) Outage() int64 {
	if c.odd == nil {
		return 0
	}
	return c.odd.outage
}

// TimeOver reports whether the time of a call that is being set up, or has failed, is over for its phones by FSM time now, outages counted. One that rings has Expire's
// grace: its owner does not put the deadline off with each 180, and may rightly let it ring for longer. So has one that an operator wants ended, whose phones still ring.
func (c *Call) TimeOver(now int64) bool {
	at := c.DeadlineMs
	if c.State == pb.CallState_CALLING || c.State == pb.CallState_EARLY || c.Active() && c.CutMs() != 0 {
		at = c.dueAt()
	}
	return now+c.Outage() >= at
}

// until sets the deadline, late ms after it was to be set; outages count from here.
func (c *Call) until(at, late int64) {
	c.DeadlineMs = at
	if c.Outage() != late {
		c.odd = c.oddly()
		c.odd.outage = late
	}
}
