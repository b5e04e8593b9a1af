// Package scenario plays the calls of a drill from both ends and keeps account of every message that was owed and did not come.
package scenario

import (
	"fmt"
	"sync"
	"time"
)

// Kind is the state a call is in when the fault comes.
type Kind string

// Kinds of calls.
const (
	Established Kind = "established" // answered before; in-dialog requests both ways and BYE about the fault and after
	Ringing     Kind = "ringing"     // 180 before, answered after
	Cancelled   Kind = "cancelled"   // 180 before, cancelled about the fault and after
	Setup       Kind = "setup"       // short calls throughout
	// SetupOnBroken: calls of any of these kinds whose caller's or callee's connection broke before the call was established, or
	// cancelled. They are counted here instead: such a set-up may fail, since what was in flight on the connection is gone.
	SetupOnBroken Kind = "setup_on_broken_connection"
)

// Missing is a message that was owed and did not come in time, or that came and was another one.
type Missing struct {
	Awaited string // the message
	By      string // who awaited it
	Since   time.Time
	Got     string // what came instead, "" nothing
}

func (m *Missing) Error() string {
	if m.Got != "" {
		return fmt.Sprintf("%s awaited %s, got %s", m.By, m.Awaited, m.Got)
	}
	return fmt.Sprintf("%s awaited %s in vain", m.By, m.Awaited)
}

// Loss is a call that is lost.
type Loss struct {
	Kind  Kind
	ID    string
	Route string    // from where through which VIPs to where
	Begun time.Time // when its INVITE was sent first
	Missing
}

// Count is how many calls of a kind there were and how many are lost.
type Count struct{ Total, Lost int }

// Ledger counts. Safe for concurrent use.
type Ledger struct {
	mu      sync.Mutex
	counts  map[Kind]Count
	losses  []Loss
	answers []time.Duration
}

func (l *Ledger) begin(k Kind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = map[Kind]Count{}
	}
	c := l.counts[k]
	c.Total++
	l.counts[k] = c
}

func (l *Ledger) lose(loss Loss) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts[loss.Kind]
	c.Lost++
	l.counts[loss.Kind] = c
	l.losses = append(l.losses, loss)
}

// move counts a call that has begun as another kind.
func (l *Ledger) move(from, to Kind) {
	l.forget(from)
	l.begin(to)
}

// forget takes back a call that was broken off because the drill was.
func (l *Ledger) forget(k Kind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts[k]
	c.Total--
	l.counts[k] = c
}

func (l *Ledger) answered(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers = append(l.answers, d)
}

// Count of a kind so far.
func (l *Ledger) Count(k Kind) Count {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[k]
}

// Losses so far.
func (l *Ledger) Losses() []Loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Loss(nil), l.losses...)
}

// Answers are the times from INVITE to 200 of the short calls so far, less the time the phone rang.
func (l *Ledger) Answers() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]time.Duration(nil), l.answers...)
}
