package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"holdline/deploy/lab/userns"
)

func TestMain(m *testing.M) {
	userns.ForTests()
	os.Exit(m.Run())
}

// TestFloods is all floods in short: the node lives through them, keeps its memory, and serves those who behave. How well it does
// under twice its load is for `make floods` on an idle machine to say.
func TestFloods(t *testing.T) {
	if testing.Short() {
		t.Skip("floods a node for fifteen seconds")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "holdline")
	if out, err := exec.Command("go", "build", "-o", binary, "holdline/cmd/holdline").CombinedOutput(); err != nil {
		t.Fatalf("build the product: %v: %s", err, out)
	}
	const memory = 512 << 20
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := run(ctx, options{binary: binary, dir: dir, length: 700 * time.Millisecond, memory: memory, phones: 100, said: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range r.judge(terms{polite: 0.9, rss: fullTerms(memory).rss}) {
		t.Error(bad)
	}
}

// TestJudge: a run that does not hold what it should is told from one that could not be made.
func TestJudge(t *testing.T) {
	good := report{
		Peak: 1000, Offered: 2000, Goodput: 950, Phones: 10, Registered: 10,
		Rows: []row{{Flood: "junk", Polite: 100, PoliteOK: 100}, {Flood: twicePeak, Polite: 100, PoliteOK: 60, PoliteBusy: 40}},
	}
	if bad := good.judge(fullTerms(1 << 30)); len(bad) > 0 {
		t.Errorf("complaints: %v", bad)
	}
	for name, spoil := range map[string]func(*report){
		"collapse":  func(r *report) { r.Goodput = 400 },
		"weak":      func(r *report) { r.Offered = 1500 },
		"behind":    func(r *report) { r.Lag = 300 },
		"phone":     func(r *report) { r.Registered = 9 },
		"unserved":  func(r *report) { r.Rows[0].PoliteOK = 90 },
		"no answer": func(r *report) { r.Rows[1].PoliteBusy = 30 },
		"memory":    func(r *report) { r.Rows[0].RSS = 4 << 30 },
	} {
		r := good
		r.Rows = append([]row(nil), good.Rows...)
		spoil(&r)
		if bad := r.judge(fullTerms(1 << 30)); len(bad) != 1 {
			t.Errorf("%s: complaints: %v", name, bad)
		}
	}
}
