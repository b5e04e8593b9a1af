package vip

import (
	"slices"
	"time"
)

// alarmLog keeps the latest alarms, each text once. Used by the loop only.
type alarmLog struct{ list []AlarmStatus }

const (
	alarmMax    = 32
	alarmRepeat = 10 * time.Second // the same alarm is told again after this long
)

// add tells whether the alarm is new or old enough to be told again.
func (l *alarmLog) add(text string, now time.Time) bool {
	i := slices.IndexFunc(l.list, func(a AlarmStatus) bool { return a.Text == text })
	if i >= 0 {
		a := &l.list[i]
		again := now.Sub(a.told) >= alarmRepeat
		a.Count++
		a.Last = now
		if again {
			a.told = now
		}
		return again
	}
	if len(l.list) == alarmMax {
		l.list = slices.Delete(l.list, 0, 1)
	}
	l.list = append(l.list, AlarmStatus{Text: text, Count: 1, Last: now, told: now})
	return true
}

// alarm tells the operator, by log, status and core.
func (g *guard) alarm(text string) {
	if g.alarms.add(text, time.Now()) {
		g.log.Warn("alarm", "text", text)
		g.tell(Alarm{Text: text})
	}
}

// note tells the operator by log and status alone: what is wrong with the core is over when the core reads of it, and it would then
// go on calling the node less than well.
func (g *guard) note(text string) {
	if g.alarms.add(text, time.Now()) {
		g.log.Warn("alarm", "text", text)
	}
}

// tell sends an event to the core, if one is connected.
func (g *guard) tell(e Event) {
	if g.peer != nil {
		g.peer.send(eventMessage(e))
	}
}
