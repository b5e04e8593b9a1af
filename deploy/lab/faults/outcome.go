package faults

// Outcome is how a call ended, as its phones saw it: what its detail record must say.
type Outcome struct {
	CallID  string
	Cause   string // as docs/cdr.md names it
	Status  int    // final status that the caller got
	Records int    // one, and one more for who diverted it
}

// Outcome returns it; false when the phones have not seen the call's end.
func (c *Call) Outcome() (Outcome, bool) {
	if len(c.callIDs) == 0 || c.final == 0 {
		return Outcome{}, false
	}
	o := Outcome{CallID: c.callIDs[0], Status: c.final, Records: 1}
	if c.Divert != "" {
		o.Records = 2
	}
	switch {
	case c.final >= 300 && c.cancelled:
		o.Cause = "cancelled"
	case c.final >= 300:
		o.Cause = "rejected"
	case c.bye == Caller:
		o.Cause = "bye-caller"
	case c.bye != "":
		o.Cause = "bye-callee"
	default:
		return o, false
	}
	return o, true
}

// saw notes what decides how the call ended.
func (c *Call) saw(s Step) {
	switch m := s.Message; {
	case s.Fault, s.Move:
	case s.Send && m.What == "BYE" && c.bye == "":
		c.bye = s.Side
	case s.Send && m.What == "CANCEL":
		c.cancelled = true
	case !s.Send && s.Side == Caller && m.method() == "INVITE" && m.status() >= 200 && c.final == 0:
		c.final = m.status()
	}
}
