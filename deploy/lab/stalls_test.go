package lab

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A move is the machine's when it comes while, or soon after, the machine stood still, and whoever cannot see that blames nobody else.
func TestStallsExplainMoves(t *testing.T) {
	at := time.Date(2026, 11, 27, 1, 38, 53, 0, time.UTC)
	s := &stalls{}
	told := ""
	for _, n := range []noted{
		{Stall: Stall{What: stallCPU, At: at, MS: 60}},
		{Stall: Stall{What: stallDisk, At: at.Add(time.Second), MS: 300}},
		{Blind: "no real-time thread"},
	} {
		b, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		told += string(b) + "\n"
	}
	s.read(strings.NewReader(told))
	for _, x := range []struct {
		after time.Duration
		want  string
	}{
		{-100 * time.Millisecond, ""},
		{-10 * time.Millisecond, stallCPU},
		{100 * time.Millisecond, stallCPU},
		{900 * time.Millisecond, stallDisk},
		{2900 * time.Millisecond, stallDisk},
		{3100 * time.Millisecond, ""},
	} {
		move := at.Add(x.after)
		if got, ok := s.explain(move, move); got.What != x.want || ok != (x.want != "") {
			t.Errorf("%v after the first stall: %+v, %v", x.after, got, ok)
		}
	}
	if got, ok := s.explain(at.Add(-time.Minute), at.Add(time.Minute)); !ok || got.What != stallDisk {
		t.Errorf("somewhen in two minutes: %+v", got)
	}
	if all, blind := s.told(); len(all) != 2 || len(blind) != 1 {
		t.Errorf("told %v, blind %v", all, blind)
	}
	var none *stalls
	if _, ok := none.explain(at, at); ok {
		t.Error("nobody watched, and yet a move was explained")
	}

	r := good()
	r.trait.none, r.stalls = true, s
	r.moved(1, at, at, "10.77.0.101 to n2")
	r.judge()
	if r.out.Verdict != VerdictPass || r.out.MachineMoves != 1 || r.out.SpuriousMoves != 0 {
		t.Errorf("after a stall: %s, %+v", r.out.Verdict, r.out.Why)
	}
	r.moved(2, at.Add(time.Hour), at.Add(time.Hour), "10.77.0.101 to n3")
	r.judge()
	if r.out.Verdict != VerdictFail || r.out.SpuriousMoves != 2 {
		t.Errorf("an hour later: %s, %+v", r.out.Verdict, r.out.Why)
	}
}

// watcherMark makes this test program a watcher of the directory that it names.
const watcherMark = "HOLDLINE_TEST_STALLS"

// TestStallWatcher is the watcher where it is started as one, and nothing else.
func TestStallWatcher(t *testing.T) {
	dir := os.Getenv(watcherMark)
	if dir == "" {
		t.Skip("not started as a watcher")
	}
	if err := WatchStalls(os.Stdin, os.Stdout, dir); err != nil {
		t.Fatal(err)
	}
}

// TestWatchStalls: to a process that is stopped it looks as if the machine had stood still. The watcher says so, or that it cannot see it.
func TestWatchStalls(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run", "^TestStallWatcher$")
	cmd.Env = append(os.Environ(), watcherMark+"="+t.TempDir())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told := make(chan noted)
	go func() {
		defer close(told)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var n noted
			if json.Unmarshal(lines.Bytes(), &n) == nil && (n.Blind != "" || n.What == stallCPU) { // the test program says things, too
				told <- n
			}
		}
	}()
	// One that is stopped before it watches tells of nothing, and is stopped again.
	const stopped = 200 * time.Millisecond
	longest, blind := 0.0, ""
	for tries := 0; blind == "" && longest < milliseconds(stopped)-50 && tries < 20; tries++ {
		for _, signal := range []os.Signal{unix.SIGSTOP, unix.SIGCONT} {
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if signal == unix.SIGSTOP {
				time.Sleep(stopped) // what it is to see
			}
		}
		select {
		case n := <-told:
			longest, blind = max(longest, n.MS), n.Blind
		case <-time.After(stopped):
		}
	}
	_ = in.Close()
	for range told { // to its end
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	switch {
	case blind != "" && !strings.Contains(blind, "real-time"):
		t.Errorf("blind: %s", blind)
	case blind == "" && longest < milliseconds(stopped)-50:
		t.Errorf("it stood still for %v and tells of %.0f ms at most", stopped, longest)
	}
	t.Logf("longest %.0f ms, blind %q", longest, blind)
}
