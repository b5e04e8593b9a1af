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
	for _, c := range r.Cases {
		if c.Verdict == VerdictPass {
			continue
		}
		fmt.Fprintf(&b, "FAILED %s at %s:\n", c.Name, c.Node)
		for _, w := range c.Why {
			fmt.Fprintf(&b, "   %s\n", w)
		}
	}
	if r.LogDir != "" {
		fmt.Fprintf(&b, "logs: %s\n", r.LogDir)
	}
	fmt.Fprintf(&b, "verdict: %s\n", r.Verdict)
	_, err := io.WriteString(w, b.String())
	return err
}
