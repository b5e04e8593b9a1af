package sipcore

import (
	"sync"

	"holdline/sipcore/beat"
	"holdline/sipcore/transport"
)

// worker runs the timers of its shards and what is posted to them while nobody else holds them.
type worker struct {
	core   *Core
	shards []*shard
	out    *transport.Sender

	mu    sync.Mutex
	dirty []*shard
	spare []*shard
	bell  chan struct{}
}

func newWorker(c *Core) *worker {
	return &worker{core: c, out: c.udp.NewSender(), bell: make(chan struct{}, 1)}
}

// wake asks the worker to look at s soon.
func (w *worker) wake(s *shard) {
	w.mu.Lock()
	w.dirty = append(w.dirty, s)
	w.mu.Unlock()
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

func (w *worker) run() {
	alarm := beat.NewAlarm()
	defer alarm.Stop()
	alarm.Next(tick)
	for {
		select {
		case <-w.core.ctx.Done():
			return
		case <-w.bell:
			w.posted()
		case <-alarm.C:
			if w.timers() {
				alarm.Next(tick)
			} else {
				alarm.Next(idleTick)
			}
			if w == w.core.workers[0] {
				w.core.admit()
			}
		}
	}
}

func (w *worker) posted() {
	w.mu.Lock()
	dirty := w.dirty
	w.dirty = w.spare[:0]
	w.mu.Unlock()
	v, now := w.core.currentView(), w.core.now()
	for _, s := range dirty {
		s.lock(w.out)
		s.unlock(v, now)
	}
	w.spare = dirty
	w.out.Flush()
}

// timers fires what is due, and reports whether there is anything that may become due.
func (w *worker) timers() (busy bool) {
	v, now := w.core.currentView(), w.core.now()
	for _, s := range w.shards {
		s.lock(w.out)
		s.proxy.Advance(v, now)
		busy = busy || !s.proxy.Idle()
		s.unlock(v, now)
	}
	w.out.Flush()
	return busy
}
