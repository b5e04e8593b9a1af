package lab

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
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

// TestWatchStalls: it ends with its input, and says either what it saw or why it sees nothing.
func TestWatchStalls(t *testing.T) {
	in, stop := io.Pipe()
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() { done <- WatchStalls(in, &out, t.TempDir()) }()
	time.AfterFunc(300*time.Millisecond, func() { _ = stop.Close() })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s := &stalls{}
	s.read(&out)
	all, blind := s.told()
	for _, x := range all {
		if x.MS < milliseconds(leastCPUStall) || x.At.IsZero() || x.What != stallCPU && x.What != stallDisk {
			t.Errorf("told of %+v", x)
		}
	}
	t.Logf("stalls %v, blind %q", all, blind)
	for _, why := range blind {
		if !strings.Contains(why, "real-time") {
			t.Errorf("blind: %s", why)
		}
	}
}
