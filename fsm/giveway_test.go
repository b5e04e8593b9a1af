package fsm

import (
	"bytes"
	"io"
	"runtime"
	"runtime/debug"
	"testing"
)

// A walk through all rows lets others run: on one processor somebody else gets it at least every few hundred rows, where the scheduler
// alone would take it from the walk every 10 ms, some ten thousand rows.
func TestWalksGiveWay(t *testing.T) {
	const phones = 20_000
	l := newLoad(t, phones)
	l.log = nil
	l.register(phones)
	var state bytes.Buffer
	if _, err := l.Snapshot().WriteTo(&state); err != nil {
		t.Fatal(err)
	}
	for name, walk := range map[string]func() error{
		"snapshot": func() error { _, err := l.Snapshot().WriteTo(io.Discard); return err },
		"restore":  func() error { return New().Restore(bytes.NewReader(state.Bytes())) },
	} {
		turns, err := turnsBeside(walk)
		if least := phones / 64 / 2; err != nil || turns < least {
			t.Errorf("%s: somebody else ran %d times beside it, want at least %d; %v", name, turns, least, err)
		}
	}
}

// turnsBeside runs walk on one processor and returns how often another goroutine had a turn meanwhile.
func turnsBeside(walk func() error) (turns int, err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection would take turns too
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	done := make(chan error, 1)
	go func() { done <- walk() }()
	for {
		select {
		case err := <-done:
			return turns, err
		default:
			turns++
			runtime.Gosched()
		}
	}
}
