package lab

import (
	"fmt"
	"io"
	"strings"
)

// writeSuite writes the fault suite's report for a person. Its last line is the verdict.
func (r Report) writeSuite(w io.Writer) error {
	var b strings.Builder
	passed, calls, lost := 0, 0, 0
	for _, c := range r.Cases {
		calls, lost = calls+c.Calls, lost+c.Lost
		if c.Verdict == VerdictPass {
			passed++
		}
	}
	fmt.Fprintf(&b, "\nFault suite: %d cases, seed %d, %.0f s; %d passed; %d calls and registrations of %d lost\n", len(r.Cases), r.Seed, r.Seconds, passed, lost, calls)
	r.Machine.text(&b)
	faultTable(&b, r.Cases)
	for _, c := range r.Cases {
		if c.Verdict == VerdictPass {
			continue
		}
		fmt.Fprintf(&b, "FAILED %s at %s:\n", c.Name, c.Node)
		for _, w := range c.Why {
			fmt.Fprintf(&b, "   %s\n", w)
		}
	}
	for _, why := range r.Why {
		fmt.Fprintf(&b, "FAILED: %s\n", why)
	}
	if r.LogDir != "" {
		fmt.Fprintf(&b, "logs: %s\n", r.LogDir)
	}
	fmt.Fprintf(&b, "verdict: %s\n", r.Verdict)
	_, err := io.WriteString(w, b.String())
	return err
}

// faultRow is what came of all cases of one fault.
type faultRow struct {
	name                       string
	cases, passed, calls, lost int
	slowest                    float64 // until every node said HA: yes, s
}

// faultRows adds the cases up by fault, in the order of their first.
func faultRows(cases []Case) []faultRow {
	var rows []faultRow
	at := map[string]int{}
	for _, c := range cases {
		_, fault, _ := strings.Cut(c.Name, "/")
		i, known := at[fault]
		if !known {
			i, at[fault] = len(rows), len(rows)
			rows = append(rows, faultRow{name: fault})
		}
		row := &rows[i]
		row.cases++
		row.calls += c.Calls
		row.lost += c.Lost
		row.slowest = max(row.slowest, c.RejoinS)
		if c.Verdict == VerdictPass {
			row.passed++
		}
	}
	return rows
}

// faultTable writes them.
func faultTable(b *strings.Builder, cases []Case) {
	fmt.Fprintf(b, "%-26s %6s %7s %6s %5s %11s\n", "Fault", "cases", "passed", "calls", "lost", "whole after")
	for _, r := range faultRows(cases) {
		fmt.Fprintf(b, "%-26s %6d %7d %6d %5d %9.1f s\n", r.name, r.cases, r.passed, r.calls, r.lost, r.slowest)
	}
}
