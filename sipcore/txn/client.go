package txn

// Verdict is what a response to a leg means for the user of the table.
type Verdict uint8

// Verdicts.
const (
	Absorb   Verdict = iota // a retransmission, or too late: nothing to do
	Pass                    // new: provisional, or the leg's final
	PassAck                 // a non-2xx final came again and has been acknowledged before: send Leg.Ack again
	PassLate                // a leg that was abandoned is heard of: cancel it, or acknowledge its final
	PassOK                  // a 2xx to an INVITE came again, or another one of a fork below: relay it
)

// Start sends a leg: it takes over request, which the caller sends, and arms Timers A/E and B/F.
func (t *Table) Start(c *Cell, l *Leg, now int64, request *Buf) {
	l.Request.Release()
	l.Request, l.State = request, LegCalling
	if !reliable(l.Flow) {
		l.interval = T1
		t.timers.arm(&l.retransmit, now, T1)
	}
	limit := TimerB
	if l.Patience > 0 && l.Patience < TimerB {
		limit = l.Patience
	}
	t.timers.arm(&l.expires, now, limit)
}

// Response advances a leg by a response with status. ring is the time a provisional response gives the
// leg (Timer C, or the no-answer time).
func (t *Table) Response(c *Cell, l *Leg, now int64, status uint16, ring int64) Verdict {
	if !c.Invite() {
		return t.nonInviteResponse(l, now, status)
	}
	ok := status >= 200 && status < 300
	switch l.State {
	case LegCalling, LegProceeding:
		switch {
		case status < 200:
			if l.State == LegCalling || status > 100 && ring == TimerC {
				// RFC 3261 §16.7 step 2: a provisional other than 100 restarts Timer C. A no-answer time runs on.
				if l.Cancel != CancelSent && l.Cancel != CancelDone {
					t.timers.arm(&l.expires, now, ring)
				}
			}
			if l.Cancel != CancelSent {
				t.timers.stop(&l.retransmit)
			}
			l.State = LegProceeding
		case ok:
			t.finish(l, LegAccepted, status)
		default:
			t.finish(l, LegCompleted, status)
		}
		return Pass
	case LegCompleted:
		if ok {
			return PassOK
		}
		if status >= 300 && l.Acked {
			return PassAck
		}
	case LegAccepted, LegTerminated:
		if ok {
			l.State = LegAccepted
			return PassOK
		}
		if l.State == LegTerminated && l.Request != nil && status > 100 {
			return PassLate
		}
	}
	return Absorb
}

func (t *Table) nonInviteResponse(l *Leg, now int64, status uint16) Verdict {
	switch l.State {
	case LegCalling, LegProceeding:
		if status >= 200 {
			t.finish(l, LegCompleted, status)
			l.Request.Release()
			l.Request = nil
			return Pass
		}
		if l.State == LegCalling {
			l.State = LegProceeding
			if !reliable(l.Flow) {
				l.interval = T2 // §17.1.2.2: in Proceeding every T2
				t.timers.arm(&l.retransmit, now, T2)
			}
		}
		return Pass
	}
	return Absorb
}

// finish stops a leg's timers. An INVITE's request is kept: its ACK is made from it.
func (t *Table) finish(l *Leg, s LegState, status uint16) {
	l.State, l.Status = s, status
	t.timers.stop(&l.retransmit)
	t.timers.stop(&l.expires)
	l.CancelRq.Release()
	l.CancelRq = nil
	if s == LegAccepted {
		l.Request.Release()
		l.Request = nil
	}
}

// StartCancel takes over request, the leg's CANCEL, which the caller sends. Only a leg in
// Proceeding may be cancelled (§9.1).
func (t *Table) StartCancel(l *Leg, now int64, request *Buf) {
	l.CancelRq.Release()
	l.CancelRq, l.Cancel = request, CancelSent
	if !reliable(l.Flow) {
		l.interval = T1
		t.timers.arm(&l.retransmit, now, T1)
	}
	// §9.1: without a final within 64*T1 the transaction is taken for cancelled.
	t.timers.arm(&l.expires, now, TimerB)
}

// Cancelled takes a response to the leg's CANCEL.
func (t *Table) Cancelled(l *Leg, status uint16) {
	if l.Cancel == CancelSent && status >= 200 {
		l.Cancel = CancelDone
		t.timers.stop(&l.retransmit)
		l.CancelRq.Release()
		l.CancelRq = nil
	}
}

// Abandon ends a leg as GiveUp does, but keeps the request: should the peer be heard of after all, its CANCEL or ACK is made
// from it.
func (t *Table) Abandon(l *Leg, status uint16) { t.finish(l, LegTerminated, status) }

// GiveUp ends a leg as if it had been answered with status: timeout (408) or transport error (503, §16.9).
func (t *Table) GiveUp(l *Leg, status uint16) {
	t.finish(l, LegTerminated, status)
	l.Request.Release()
	l.Request = nil
}
