package txn

// Watch has a Slow event come for a request other than INVITE that is not answered within SlowAfter.
func (t *Table) Watch(c *Cell, now int64) { t.timers.arm(&c.retransmit, now, SlowAfter) }

// Respond takes over resp as the response to send now and repeat later, and arms the timers of the state
// that its status leads to (RFC 3261 §17.2, RFC 6026 §7.1). It reports whether the caller should send it:
// a provisional after the final, or a second final that is not a further 2xx of an INVITE, is dropped.
func (t *Table) Respond(c *Cell, now int64, status uint16, resp *Buf) bool {
	switch c.State {
	case ServerCompleted, ServerConfirmed:
		resp.Release()
		return false
	case ServerAccepted:
		resp.Release()
		return false // the user of the table relays further 2xx itself
	}
	c.Response.Release()
	c.Response, c.Status = resp, status
	switch {
	case status < 200:
		c.State = ServerProceeding
	case c.Invite() && status < 300:
		t.Accept(c, now)
	default:
		c.State = ServerCompleted
		t.timers.stop(&c.retransmit)
		c.Request.Release()
		c.Request = nil
		t.timers.arm(&c.expires, now, TimerB) // H or J
		if c.Invite() && !reliable(c.Caller) {
			c.interval = T1
			t.timers.arm(&c.retransmit, now, T1) // G
		}
	}
	return true
}

// Accept moves an INVITE's server transaction to Accepted: the 2xx is repeated by the callee, not here,
// and nothing of the request is needed any more. The cell lives on for Timer L so that
// retransmitted INVITEs are absorbed and further 2xx find their way.
func (t *Table) Accept(c *Cell, now int64) {
	if c.State == ServerAccepted {
		return
	}
	c.State = ServerAccepted
	c.Request.Release()
	c.Response.Release()
	c.Request, c.Response = nil, nil
	t.timers.stop(&c.retransmit)
	t.timers.arm(&c.expires, now, TimerB)
}

// Retransmitted is what to send when the request comes again: the last response, or nil.
func (t *Table) Retransmitted(c *Cell) *Buf {
	switch c.State {
	case ServerProceeding, ServerCompleted:
		return c.Response
	}
	return nil
}

// Acked takes the ACK of a non-2xx final. It reports false when the cell has sent none.
func (t *Table) Acked(c *Cell, now int64) bool {
	if !c.Invite() || (c.State != ServerCompleted && c.State != ServerConfirmed) {
		return false
	}
	if c.State == ServerCompleted {
		c.State = ServerConfirmed
		t.timers.stop(&c.retransmit)
		// Timer I would end it after T4; the legs absorb retransmitted finals for Timer D.
		t.timers.arm(&c.expires, now, TimerD)
	}
	return true
}
