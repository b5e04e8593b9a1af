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

// diskWatch times writes and raises an alarm while one takes too long.
type diskWatch struct {
	after   time.Duration
	trouble func(on bool)

	mu      sync.Mutex
	samples [watchSamples]time.Duration
	n       int
	hanging int // writes that take too long right now
	last    time.Time
}

func newDiskWatch(after time.Duration, trouble func(bool)) *diskWatch {
	return &diskWatch{after: after, trouble: trouble}
}

// begin starts timing a write; the function it returns ends it.
func (w *diskWatch) begin() (end func()) {
	start := time.Now()
	alarmed := make(chan struct{})
	timer := time.AfterFunc(w.after, func() {
		w.mark(+1)
		w.trouble(true)
		close(alarmed)
	})
	return func() {
		if !timer.Stop() {
			<-alarmed
			w.mark(-1)
			w.trouble(false)
		}
		w.mu.Lock()
		w.samples[w.n%watchSamples] = time.Since(start)
		w.n++
		w.mu.Unlock()
	}
}

func (w *diskWatch) mark(d int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hanging += d
	w.last = time.Now()
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
