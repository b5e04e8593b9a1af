package cdr

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"holdline/cluster/api"
	"holdline/fsm/pb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// table is a source whose records from first on are kept.
type table struct {
	mu          sync.Mutex
	first, last uint64
	asked       int
}

func (t *table) grow(by uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last += by
}

func (t *table) CDRs(after uint64, limit int) (out []*pb.Cdr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked++
	for n := max(after+1, t.first); n <= t.last && len(out) < limit; n++ {
		out = append(out, &pb.Cdr{Number: n, Call: n, CallId: fmt.Sprintf("<%d>\n\"@h", n), EndedWallMs: 1_700_000_000_000, Cause: "lost"})
	}
	return out
}

type node struct {
	*testing.T
	dir    string
	source *table
	limits Limits
	synced []uint64
	log    bytes.Buffer
}

func newNode(t *testing.T) *node {
	return &node{T: t, dir: filepath.Join(t.TempDir(), "cdr"), source: &table{first: 1}, limits: Limits{FileBytes: 1 << 20}}
}

func (n *node) open() *Writer {
	n.Helper()
	w, err := Open(Options{
		Dir: n.dir, Prefix: "c1", Source: n.source, Limits: func() Limits { return n.limits },
		Synced: func(upTo uint64) { n.synced = append(n.synced, upTo) }, SyncEvery: time.Second, Retry: time.Second,
		Logger: slog.New(slog.NewTextHandler(&n.log, nil)),
	})
	if err != nil {
		n.Fatal(err)
	}
	return w
}

// write opens the files as a new process, writes what there is, and lets go of them without closing, as kill -9 does.
func (n *node) write() *Writer {
	n.Helper()
	w := n.open()
	if err := w.drain(context.Background()); err != nil {
		n.Fatal(err)
	}
	if w.files.file != nil {
		_ = w.files.file.Close() // no sync, nothing flushed: all that counts is in the file
	}
	return w
}

// numbers reads all lines of all files.
func (n *node) numbers() (out []uint64) {
	n.Helper()
	names, _ := filepath.Glob(filepath.Join(n.dir, "c1-*.jsonl"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			n.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var c api.CDR
			if err := json.Unmarshal([]byte(line), &c); err != nil || !strings.HasSuffix(line, "\n") {
				n.Fatalf("%s: %q: %v", name, line, err)
			}
			out = append(out, c.Number)
		}
	}
	return out
}

func (n *node) whole(from, to uint64) {
	n.Helper()
	got := n.numbers()
	if uint64(len(got)) != to+1-from {
		n.Fatalf("%d records, want %d to %d", len(got), from, to)
	}
	for i, k := range got {
		if k != from+uint64(i) {
			n.Fatalf("record %d has number %d", i, k)
		}
	}
}

// lastFile is the file written to.
func (n *node) lastFile() string {
	names, _ := filepath.Glob(filepath.Join(n.dir, "c1-*.jsonl"))
	return names[len(names)-1]
}

// TestEveryCut lets the process die after each byte of the last lines: no record is lost or doubled.
func TestEveryCut(t *testing.T) {
	n := newNode(t)
	n.source.grow(5)
	n.write()
	whole, err := os.ReadFile(n.lastFile())
	if err != nil {
		t.Fatal(err)
	}
	n.source.grow(3)
	for cut := range len(whole) + 1 {
		if err := os.WriteFile(n.lastFile(), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		n.write()
		n.whole(1, 8)
	}
}

// TestGarbageAfterPowerLoss: pages that were never written read as zeroes, or a line is broken although it ends.
func TestGarbageAfterPowerLoss(t *testing.T) {
	for _, junk := range []string{strings.Repeat("\x00", 5000), "{\"number\":\n", "\n\n", "{}\n{\"num"} {
		n := newNode(t)
		n.source.grow(5)
		n.write()
		f, err := os.OpenFile(n.lastFile(), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.WriteString(junk)
		_ = f.Close()
		n.source.grow(2)
		n.write()
		n.whole(1, 7)
		if !strings.Contains(n.log.String(), "not written to its end") {
			t.Errorf("%q: nothing was said: %s", junk, &n.log)
		}
	}
}

func TestRotation(t *testing.T) {
	n := newNode(t)
	n.limits = Limits{FileBytes: 600, Files: 4}
	for range 10 {
		n.source.grow(3)
		n.write()
		if err := os.WriteFile(filepath.Join(n.dir, "c0-00000000000000000001.jsonl"), []byte("{\"number\":99}\n"), 0o600); err != nil {
			t.Fatal(err) // of the cluster the node was in before
		}
	}
	names, _ := filepath.Glob(filepath.Join(n.dir, "c1-*.jsonl"))
	if len(names) != 4 {
		t.Fatalf("%d files", len(names))
	}
	got := n.numbers()
	n.whole(got[0], 30)
	if want := fmt.Sprintf("c1-%020d.jsonl", got[0]); filepath.Base(names[0]) != want {
		t.Errorf("%s begins with record %d", names[0], got[0])
	}
	// A crash between making a file and writing to it.
	if err := os.WriteFile(filepath.Join(n.dir, fmt.Sprintf("c1-%020d.jsonl", 31)), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.source.grow(1)
	n.write()
	got = n.numbers()
	n.whole(got[0], 31)
}

// TestAway: what the cluster does not keep any more is missing, and that is said and counted.
func TestAway(t *testing.T) {
	n := newNode(t)
	n.source.grow(5)
	n.write()
	n.source.grow(95)
	n.source.first = 91
	w := n.write()
	if got := n.numbers(); len(got) != 15 || got[5] != 91 || w.Stats.Missed.Load() != 85 || w.Stats.Written.Load() != 100 {
		t.Errorf("%v, %d missed", got, w.Stats.Missed.Load())
	}
	if !strings.Contains(n.log.String(), "from=6 to=90") {
		t.Errorf("nothing was said: %s", &n.log)
	}
}

// TestDiskRefuses: what fails is tried again, and nothing is doubled.
func TestDiskRefuses(t *testing.T) {
	n := newNode(t)
	n.source.grow(5)
	w := n.open()
	if err := w.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	good := w.files.file
	readOnly, err := os.Open(n.lastFile())
	if err != nil {
		t.Fatal(err)
	}
	w.files.file = readOnly // writes fail
	n.source.grow(5)
	if err := w.drain(t.Context()); err == nil || !w.files.dirty || w.Stats.Written.Load() != 5 {
		t.Fatalf("%v", err)
	}
	if _, err := good.WriteAt([]byte(`{"number":6,`), w.files.size); err != nil { // as much as went through
		t.Fatal(err)
	}
	_ = readOnly.Close()
	w.files.file = good
	if err := w.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.whole(1, 10)
	if err := w.files.close(); err != nil {
		t.Fatal(err)
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		w := n.open()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		n.source.grow(1200)
		w.Wake()
		synctest.Wait()
		n.whole(1, 1200)
		time.Sleep(1500 * time.Millisecond) // fake time: one sync
		synctest.Wait()
		n.source.grow(1)
		w.Wake()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		n.whole(1, 1201)
		if fmt.Sprint(n.synced) != "[0 1200]" {
			t.Errorf("synced: %v", n.synced)
		}
	})
}

// TestGather: records that come one after the other are written together.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		w := n.open()
		w.opt.Gather = 100 * time.Millisecond
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Run(ctx) }()
		for range 100 {
			n.source.grow(1)
			w.Wake()
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(w.opt.Gather)
		synctest.Wait()
		n.whole(1, 100)
		// At the start, and then until there is no more, each 100 ms: twice, or once more when a record comes at that very moment.
		if most := 1 + 3*11; n.source.asked > most {
			t.Errorf("asked %d times in 1.1 s, want %d at most", n.source.asked, most)
		}
		n.source.grow(1)
		w.Wake()
		synctest.Wait()
		cancel() // while it gathers: what is not in the file yet is in the cluster
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
