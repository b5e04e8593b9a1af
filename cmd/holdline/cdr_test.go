package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdline/cluster/api"
)

// recorded stands for the node behind the API: it has records, may refuse to move cursors, and stops.
type recorded struct {
	api.Backend
	mu      sync.Mutex
	last    uint64
	cursor  uint64
	refuses bool // no raft leader
	stopped bool
	more    chan struct{} // closed when something of this has changed
}

func (r *recorded) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.more)
	r.more = make(chan struct{})
}

func (r *recorded) ListCDRs(ctx context.Context, f api.CDRFilter) (api.CDRs, error) {
	enough := time.After(time.Duration(f.WaitS) * time.Second)
	for {
		r.mu.Lock()
		last, cursor, stopped, more := r.last, r.cursor, r.stopped, r.more
		r.mu.Unlock()
		since := f.Since
		if f.Consumer != "" || f.Latest {
			since = cursor
		}
		out := api.CDRs{Last: last, Next: max(since, last)}
		for n := since + 1; n <= last; n++ {
			out.CDRs = append(out.CDRs, api.CDR{Number: n})
		}
		if stopped {
			return api.CDRs{}, api.Errorf(api.CodeUnavailable, "this node is stopping")
		}
		if len(out.CDRs) > 0 || f.WaitS == 0 {
			return out, nil
		}
		select {
		case <-more:
		case <-enough:
			return out, nil
		case <-ctx.Done():
			return api.CDRs{}, ctx.Err()
		}
	}
}

func (r *recorded) AcknowledgeCDRs(_ context.Context, _ string, upTo uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuses {
		return api.Errorf(api.CodeUnavailable, "there is no raft leader")
	}
	r.cursor = upTo
	return nil
}

// text is written and read at once.
type text struct {
	mu sync.Mutex
	b  strings.Builder
}

func (t *text) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(b)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// A follower goes on while no leader takes its cursor and over a restart of the daemon: it says so once each time, and shows each record once.
func TestCDRFollowGoesOn(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	node := &recorded{last: 3, more: make(chan struct{})}
	serve := func() (stop func()) {
		l, err := api.Listen(socket)
		if err != nil {
			t.Fatal(err)
		}
		log := slog.New(slog.DiscardHandler)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- api.Serve(ctx, l, api.NewHandler(api.ServerOptions{Backend: node, Logger: log}), log) }()
		return func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	var out, errs text
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("never: %s\n%s\n%s", what, out.String(), errs.String())
			}
		}
	}
	shown := func() (numbers []uint64) {
		for d := json.NewDecoder(strings.NewReader(out.String())); ; {
			var c api.CDR
			if d.Decode(&c) != nil {
				return numbers
			}
			numbers = append(numbers, c.Number)
		}
	}
	acknowledged := func(n uint64) func() bool {
		return func() bool {
			node.mu.Lock()
			defer node.mu.Unlock()
			return node.cursor == n
		}
	}

	stop := serve()
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"cdr", "--socket", socket, "--consumer", "billing", "--since", "0", "--follow", "--json"}, nil, &out, &errs)
	}()
	until("the first three are taken", acknowledged(3))

	node.change(func() { node.last, node.refuses = 4, true })
	until("it says that there is no leader", func() bool { return strings.Contains(errs.String(), "no raft leader") })
	node.change(func() { node.refuses = false })
	until("the fourth is taken", acknowledged(4))

	node.change(func() { node.stopped = true })
	until("it says that the daemon stops", func() bool { return strings.Contains(errs.String(), "stopping") })
	stop()
	node.change(func() { node.last, node.stopped = 5, false })
	stop = serve()
	until("the fifth is taken, from the daemon started anew", acknowledged(5))

	interrupt()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d when it is interrupted", code)
	}
	stop()
	if got := shown(); !slices.Equal(got, []uint64{1, 2, 3, 4, 5}) {
		t.Errorf("records shown: %v", got)
	}
	if n := strings.Count(errs.String(), "\n"); n != 2 {
		t.Errorf("%d lines on stderr, want one for each time:\n%s", n, errs.String())
	}
}

// An empty table does not look as if there had been no calls when its records have been taken.
func TestCDRSaysThatAllAreTaken(t *testing.T) {
	l, err := api.Listen(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	node := &recorded{last: 3, cursor: 3, more: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- api.Serve(ctx, l, api.NewHandler(api.ServerOptions{Backend: node, Logger: log}), log) }()
	for cursor, want := range map[uint64]string{3: "holdline: the records up to 3 have been taken", 2: ""} {
		node.change(func() { node.cursor = cursor })
		var out, errs text
		if code := run(t.Context(), []string{"cdr", "--socket", l.Addr().String()}, nil, &out, &errs); code != exitOK {
			t.Errorf("exit code %d", code)
		}
		if got := errs.String(); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("up to %d taken of 3: %q", cursor, got)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What will not pass by itself ends it, and without --follow anything does.
func TestCDREndsWhenItMust(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	if code := run(t.Context(), []string{"cdr", "--socket", socket}, nil, io.Discard, io.Discard); code != exitFailed {
		t.Errorf("exit code %d without a daemon", code)
	}
	a := &app{err: io.Discard}
	err := a.whilePassing(t.Context(), true, func() error { return api.Errorf(api.CodeNotFound, "no such consumer") })
	if api.CodeOf(err) != api.CodeNotFound {
		t.Errorf("a consumer that does not exist: %v", err)
	}
}
