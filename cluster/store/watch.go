package store

import (
	"slices"
	"sync"
	"time"
)

const (
	watchSamples = 256              // writes the percentile is taken over
	slowMemory   = 10 * time.Second // a disk that hung is distrusted for this long
	hungLong     = time.Second      // a write that takes so long is more than a hiccup,
	hungOften    = 3                // and so are so many within slowMemory
)

// watchSteps is how many timer ticks make up the time after which a write is called slow. Ticks are counted, not time: a
// process that was stopped or starved sees one late tick however long it was away, and its disk is not to blame.
const watchSteps = 6

// diskWatch times writes and raises an alarm while one takes too long.
type diskWatch struct {
	step    time.Duration
	trouble func(on bool)

	mu      sync.Mutex
	samples [watchSamples]time.Duration
	n       int
	hanging int // writes that take too long right now
	last    time.Time
	raised  [hungOften]time.Time // when the latest alarms were, in turn
	alarms  int
}

func newDiskWatch(after time.Duration, trouble func(bool)) *diskWatch {
	return &diskWatch{step: after / watchSteps, trouble: trouble}
}

// diskWrite is one write under watch.
type diskWrite struct {
	w     *diskWatch
	start time.Time

	mu    sync.Mutex // guards all below: the timer's goroutine and the writer's share it
	timer *time.Timer
	ticks int
	done  bool
	alarm bool
}

// begin starts timing a write; the function it returns ends it.
func (w *diskWatch) begin() (end func()) {
	d := &diskWrite{w: w, start: time.Now()}
	d.mu.Lock()
	d.timer = time.AfterFunc(w.step, d.tick)
	d.mu.Unlock()
	return d.end
}

func (d *diskWrite) tick() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done {
		return
	}
	if d.ticks++; d.ticks < watchSteps {
		d.timer.Reset(d.w.step)
		return
	}
	d.alarm = true
	d.w.mark(+1)
	d.w.trouble(true)
}

func (d *diskWrite) end() {
	d.mu.Lock()
	d.timer.Stop()
	d.done = true
	took, alarm := time.Since(d.start), d.alarm
	if !alarm {
		took = min(took, time.Duration(d.ticks+1)*d.w.step) // what the process was away for is not the disk's
	}
	d.mu.Unlock()
	if alarm {
		d.w.mark(-1)
		d.w.trouble(false)
	}
	d.w.mu.Lock()
	d.w.samples[d.w.n%watchSamples] = took
	d.w.n++
	d.w.mu.Unlock()
}

func (w *diskWatch) mark(d int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hanging += d
	w.last = time.Now()
	if d > 0 {
		w.raised[w.alarms%hungOften] = w.last
		w.alarms++
	}
}

// hangs says whether a write is taking too long right now.
func (w *diskWatch) hangs() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hanging > 0
}

func (w *diskWatch) slow() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hanging > 0 || (!w.last.IsZero() && time.Since(w.last) < slowMemory)
}

// failing says whether the disk is worse than a hiccup: a write hangs and has done so for hungLong, or writes have hung time and again.
func (w *diskWatch) failing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.alarms == 0 {
		return false
	}
	newest, oldest := w.raised[(w.alarms-1)%hungOften], w.raised[w.alarms%hungOften]
	return w.hanging > 0 && time.Since(newest) >= hungLong || w.alarms >= hungOften && time.Since(oldest) < slowMemory
}

func (w *diskWatch) p99() time.Duration {
	w.mu.Lock()
	s := slices.Clone(w.samples[:min(w.n, watchSamples)])
	w.mu.Unlock()
	if len(s) == 0 {
		return 0
	}
	slices.Sort(s)
	return s[len(s)*99/100]
}
