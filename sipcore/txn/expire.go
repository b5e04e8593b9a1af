package txn

import "holdline/sipcore/transport"

// EventKind says what a timer that fired asks for.
type EventKind uint8

// Event kinds.
const (
	Resend        EventKind = iota + 1 // send Buf to Flow again; the table has armed the next time
	LegTimeout                         // Timer B or F: nothing was heard from the leg
	LegNoAnswer                        // Timer C or the no-answer time: the leg must be cancelled
	LegCancelled                       // a cancelled leg never sent its final: take it for 487
	ServerTimeout                      // Timer H: no ACK came
	Slow                               // SlowAfter: there is no response yet
	Ended                              // the cell's time is over: free it
)

// Event is what one fired timer asks for. Buf is lent, not given.
type Event struct {
	Kind EventKind
	Cell *Cell
	Leg  *Leg
	Buf  *Buf
	Flow transport.Flow
}

// Expire returns what the next due timer asks for; false when none is due. Call it until it says so.
func (t *Table) Expire(now int64) (Event, bool) {
	for {
		tm := t.timers.expired(now)
		if tm == nil {
			return Event{}, false
		}
		if ev := t.fire(tm, now); ev.Kind != 0 {
			return ev, true
		}
	}
}

func (t *Table) fire(tm *timer, now int64) Event {
	c := tm.cell
	if tm.leg < 0 {
		return t.fireServer(tm, c, now)
	}
	l := c.Legs[tm.leg]
	if tm.kind == timerRetransmit {
		return t.resendLeg(c, l, now)
	}
	ev := Event{Cell: c, Leg: l}
	switch {
	case l.Cancel == CancelSent || l.Cancel == CancelDone:
		ev.Kind = LegCancelled
	case l.State == LegCalling || !c.Invite():
		ev.Kind = LegTimeout
	case l.State == LegProceeding:
		ev.Kind = LegNoAnswer
	}
	return ev
}

func (t *Table) resendLeg(c *Cell, l *Leg, now int64) Event {
	ev := Event{Kind: Resend, Cell: c, Leg: l, Flow: l.Flow}
	switch {
	case l.Cancel == CancelSent:
		ev.Buf = l.CancelRq
		l.interval = min(2*l.interval, T2) // E
	case l.State == LegCalling && c.Invite():
		ev.Buf = l.Request
		l.interval *= 2 // A
	case (l.State == LegCalling || l.State == LegProceeding) && !c.Invite():
		ev.Buf = l.Request
		l.interval = min(2*l.interval, T2) // E
	}
	if ev.Buf == nil {
		return Event{}
	}
	t.timers.arm(&l.retransmit, now, l.interval)
	return ev
}

func (t *Table) fireServer(tm *timer, c *Cell, now int64) Event {
	if tm.kind == timerRetransmit && !c.Invite() {
		if c.State != ServerTrying {
			return Event{}
		}
		return Event{Kind: Slow, Cell: c}
	}
	if tm.kind == timerRetransmit { // G
		if c.State != ServerCompleted || c.Response == nil {
			return Event{}
		}
		c.interval = min(2*c.interval, T2)
		t.timers.arm(&c.retransmit, now, c.interval)
		return Event{Kind: Resend, Cell: c, Buf: c.Response, Flow: c.Caller}
	}
	if c.Invite() && c.State == ServerCompleted {
		c.State = ServerConfirmed
		t.timers.stop(&c.retransmit)
		t.timers.arm(&c.expires, now, T4)
		return Event{Kind: ServerTimeout, Cell: c}
	}
	for _, l := range c.Legs {
		if l.State == LegCalling || l.State == LegProceeding {
			t.timers.arm(&c.expires, now, T4) // a leg is still on: its CANCEL must get through
			return Event{}
		}
	}
	return Event{Kind: Ended, Cell: c}
}
