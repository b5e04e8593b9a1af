package fsm

import "holdline/fsm/pb"

// cutCall notes that an operator wants a call ended, and moves its deadline to now. The owner of its home, or whoever comes after it, ends it: with BYE what
// was answered, with CANCEL what is being set up. Expire ends it a minute later if nobody did. Nothing else in the row changes, not its version either: it
// remains the owner's, and what that has under way counts. A second wish changes nothing.
func (x *exec) cutCall(c *pb.CutCall) *pb.Result {
	old := x.st.calls.get(c.GetCall())
	switch {
	case old == nil && (IsOwnNumber(c.GetCall()) || c.GetCall() == 0 || c.GetCall() > x.st.meta.lastCall):
		return notFound("call %d does not exist", c.GetCall())
	case old == nil || !old.Active():
		return notFound("call %d has ended already", c.GetCall())
	case old.CutMs() != 0:
		return again(old.Number)
	}
	row := *old
	row.odd = row.oddly()
	row.odd.cut = max(1, x.now) // 0 is no wish
	row.DeadlineMs = min(row.DeadlineMs, row.odd.cut)
	x.st.calls.put(old, &row)
	return okID(row.Number)
}

// CutMs is when an operator asked for the call's end, in FSM time; 0: nobody did.
func (c *Call) CutMs() int64 {
	if c.odd == nil {
		return 0
	}
	return c.odd.cut
}
