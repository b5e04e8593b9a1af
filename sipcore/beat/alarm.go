package beat

import (
	"context"
	"slices"
	"sync"
	"time"
)

// began is moment zero: what recurs falls on its multiples from here.
var began = time.Now()

// Alarm rings at the next multiple of an interval since the process began. So all that recurs every 50 ms or every 100 wakes the process
// together and not each by itself. For what may be early the first time; a [time.Timer] is for the rest. Its methods are safe for concurrent use.
type Alarm struct {
	C chan struct{} // rings; one ring is kept

	due time.Duration // since began; 0: it is not set. Under common.mu, as is all below
}

// common wakes whose alarms are due. Its goroutine lives while there is an alarm.
var common struct {
	mu     sync.Mutex
	alarms []*Alarm
	timer  *Timer
	set    time.Duration // when the timer expires; 0: it is not set
}

// NewAlarm makes an alarm that is not set. Stop it when it is of no use any more.
func NewAlarm() *Alarm {
	common.mu.Lock()
	defer common.mu.Unlock()
	if common.timer == nil {
		common.timer, common.set = NewTimer(), 0
		go run(common.timer)
	}
	a := &Alarm{C: make(chan struct{}, 1)}
	common.alarms = append(common.alarms, a)
	return a
}

// Next sets the alarm to the next multiple of interval, which is never now, instead of what it was set to.
func (a *Alarm) Next(interval time.Duration) {
	common.mu.Lock()
	defer common.mu.Unlock()
	now := time.Since(began)
	a.due = now - now%interval + interval
	if common.timer != nil && (common.set == 0 || a.due < common.set) {
		arm(a.due, now)
	}
}

// Stop ends the alarm.
func (a *Alarm) Stop() {
	common.mu.Lock()
	defer common.mu.Unlock()
	common.alarms = slices.DeleteFunc(common.alarms, func(b *Alarm) bool { return a == b })
	if len(common.alarms) == 0 && common.timer != nil {
		common.timer.Close()
		common.timer = nil
	}
}

func arm(due, now time.Duration) {
	common.set = due
	common.timer.Set(due - now)
}

func run(t *Timer) {
	for t.Wait() {
		if !ring(t) {
			return
		}
	}
}

// ring rings what is due and sets the timer for what is not. It returns false when the timer is no more the common one.
func ring(t *Timer) bool {
	common.mu.Lock()
	defer common.mu.Unlock()
	if common.timer != t {
		return false
	}
	now := time.Since(began)
	next := time.Duration(0)
	for _, a := range common.alarms {
		switch {
		case a.due == 0:
		case a.due <= now:
			a.due = 0
			select {
			case a.C <- struct{}{}:
			default:
			}
		case next == 0 || a.due < next:
			next = a.due
		}
	}
	if common.set = 0; next != 0 {
		arm(next, now)
	}
	return true
}

// Every calls fn at each multiple of interval until ctx ends. Those that pass while fn runs are left out.
func Every(ctx context.Context, interval time.Duration, fn func()) {
	a := NewAlarm()
	defer a.Stop()
	for {
		a.Next(interval)
		select {
		case <-a.C:
			fn()
		case <-ctx.Done():
			return
		}
	}
}
