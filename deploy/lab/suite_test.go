package lab

import (
	"slices"
	"strings"
	"testing"
	"time"

	"holdline/deploy/lab/faults"
	"holdline/deploy/lab/node"
)

func TestSuitePlan(t *testing.T) {
	scripts, err := faults.Scripts()
	if err != nil {
		t.Fatal(err)
	}
	all, err := plan(SuiteAll)
	if err != nil {
		t.Fatal(err)
	}
	short, err := plan(SuiteShort)
	if err != nil {
		t.Fatal(err)
	}
	if len(short) < 2*len(scripts)-1 || len(all) < 20*len(scripts) {
		t.Errorf("%d transcripts, %d cases in all, %d in short", len(scripts), len(all), len(short))
	}
	seen := map[string]bool{}
	for _, p := range short {
		_, fault, _ := strings.Cut(p.name, "/")
		seen[fault] = true
	}
	for _, f := range faultSets["every"] {
		if !seen[f] {
			t.Errorf("no case of the short cut is of %s", f)
		}
	}
	one, err := plan("70-*/kill")
	if err != nil || len(one) != 1 || !strings.HasSuffix(one[0].name, "/kill") {
		t.Errorf("a pattern chose %+v, %v", one, err)
	}
	if two, err := plan("70-*/kill,24-*/mute"); err != nil || len(two) != 2 {
		t.Errorf("two patterns chose %+v, %v", two, err)
	}
	if _, err := plan("nothing/like-it"); err == nil || !strings.Contains(err.Error(), "no case is called") {
		t.Errorf("an unknown case: %v", err)
	}
}

// The clock is stepped only where that was allowed, and what is left out is said.
func TestClockStepsAreLeftOut(t *testing.T) {
	cases, err := plan("60-*/*")
	if err != nil {
		t.Fatal(err)
	}
	cases = slices.DeleteFunc(cases, func(p planned) bool { return p.trait.memory }) // who may do them depends on the machine
	isClock := func(p planned) bool { return p.trait.clock }
	if !slices.ContainsFunc(cases, isClock) {
		t.Fatal("no case steps the clock")
	}
	said := 0
	say := func(string, ...any) { said++ }
	left, err := Options{}.allowed(cases, say)
	if err != nil || said != 1 || slices.ContainsFunc(left, isClock) || len(left) != len(cases)-4 {
		t.Errorf("without leave: %d of %d cases, said %d times, %v", len(left), len(cases), said, err)
	}
	if _, err := (Options{Suite: "60-*/clock+1h"}).allowed(slices.DeleteFunc(cases, func(p planned) bool { return !isClock(p) }), say); err == nil {
		t.Error("a suite of nothing but clock steps began without leave")
	}
	for name, want := range map[string]time.Duration{"clock+90m": 90 * time.Minute, "clock+1h": time.Hour, "clock-1h": -time.Hour, "clock+2s": 2 * time.Second, "clock": 0, "clockwork": 0} {
		if d, ok := stepOf(name); ok != (want != 0) || ok && d != want {
			t.Errorf("%s: %v, %v", name, d, ok)
		}
	}
}

// A detail record must be there once, and say what the phones saw.
func TestRecordsAgainstPhones(t *testing.T) {
	o := faults.Outcome{CallID: "a", Cause: "bye-caller", Status: 200, Records: 1}
	good := node.CDR{CallID: "a", Cause: "bye-caller", Status: 200}
	for want, records := range map[string][]node.CDR{
		"":                            {good},
		"there are 0 detail records":  nil,
		"there are 2 detail records":  {good, good},
		"record says lost with 200":   {{CallID: "a", Cause: "lost", Status: 200}},
		"record says bye-caller with": {{CallID: "a", Cause: "bye-caller", Status: 408}},
	} {
		if err := matches(o, records); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v; want %q", records, err, want)
		}
	}
}

func TestFaultTable(t *testing.T) {
	rows := faultRows([]Case{
		{Name: "a/kill", Verdict: VerdictPass, Calls: 3, RejoinS: 1},
		{Name: "a/cable", Verdict: VerdictPass, Calls: 2},
		{Name: "b/kill", Verdict: VerdictFail, Calls: 3, Lost: 1, RejoinS: 2},
	})
	if len(rows) != 2 || rows[0] != (faultRow{"kill", 2, 1, 6, 1, 2}) || rows[1] != (faultRow{"cable", 1, 1, 2, 0, 0}) {
		t.Errorf("%+v", rows)
	}
}
