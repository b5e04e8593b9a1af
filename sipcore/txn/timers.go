package txn

import "time"

// Timer values of RFC 3261 §17 (table 4) for unreliable transports, in nanoseconds.
const (
	T1 = int64(500 * time.Millisecond)
	T2 = int64(4 * time.Second)
	T4 = int64(5 * time.Second)

	// SlowAfter is when Timer E has come to T2: a request other than INVITE that is not answered by then gets a 100 (RFC 4320 §4.1).
	SlowAfter = T1 + 2*T1 + 4*T1

	TimerB = 64 * T1 // B, F, H, J and, by RFC 6026, L and M
	TimerD = int64(32 * time.Second)
	TimerC = int64(181 * time.Second) // RFC 3261 §16.6 step 11: more than three minutes
)

// timer is one armed deadline of a cell, linked into the list of its duration.
type timer struct {
	next, prev *timer
	list       *timerList
	cell       *Cell
	at         int64 // when it fires
	leg        int16 // index of the leg, -1 for the server side
	kind       timerKind
}

type timerKind uint8

const (
	timerRetransmit timerKind = iota // A and E of a leg, G of the server side, SlowAfter of a request other than INVITE
	timerDeadline                    // B, F and C of a leg, H, I, J, L of the server side
)

// timerList holds the timers of one duration in the order in which they fire: all of them run equally
// long, so appending keeps the order and a look at the head is enough.
type timerList struct {
	duration   int64
	head, tail *timer
}

// timers is a shard's timers: one list per duration in use. Durations are few: the constants above and
// ringing times in whole seconds.
type timers struct {
	lists []*timerList
}

func (ts *timers) list(d int64) *timerList {
	for _, l := range ts.lists {
		if l.duration == d {
			return l
		}
	}
	l := &timerList{duration: d}
	ts.lists = append(ts.lists, l)
	return l
}

// arm starts t, or starts it anew.
func (ts *timers) arm(t *timer, now, d int64) {
	ts.stop(t)
	l := ts.list(d)
	t.at, t.list = now+d, l
	if l.tail != nil && l.tail.at > t.at {
		t.at = l.tail.at // time given by the caller went back a little: keep the order
	}
	t.prev, t.next = l.tail, nil
	if l.tail != nil {
		l.tail.next = t
	} else {
		l.head = t
	}
	l.tail = t
}

// stop unlinks t; it may be idle.
func (ts *timers) stop(t *timer) {
	l := t.list
	if l == nil {
		return
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		l.head = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		l.tail = t.prev
	}
	t.next, t.prev, t.list = nil, nil, nil
}

// expired unlinks and returns one timer that is due, nil when there is none.
func (ts *timers) expired(now int64) *timer {
	for _, l := range ts.lists {
		if t := l.head; t != nil && t.at <= now {
			ts.stop(t)
			return t
		}
	}
	return nil
}
