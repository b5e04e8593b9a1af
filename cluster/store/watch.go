package store

import (
	"slices"
	"sync"
	"time"
)

const (
	watchSamples = 256              // writes the percentile is taken over
	slowMemory   = 10 * time.Second // a disk that hung is distrusted for this long
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
