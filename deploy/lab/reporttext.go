package lab

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// shownLosses is how many lost calls the text names; the JSON has all of them.
const shownLosses = 12

// WriteText writes the report for a person. Its last line is the verdict.
func (r Report) WriteText(w io.Writer) error {
	if r.Cases != nil {
		return r.writeSuite(w)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nDrill: %s, %d nodes, phones over %s, %d round(s), seed %d, %.1f s\n", r.Fault, r.Nodes, r.Transport, len(r.Rounds), r.Seed, r.Seconds)
	r.Machine.text(&b)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nround\tfault\tnode\tVIP gap\towners\testablished\tringing\tcancelled\tset-up\tregistrations\trejoin\tverdict\n")
	for _, round := range r.Rounds {
		round.row(t, fmt.Sprint(round.Number))
	}
	if len(r.Rounds) > 1 {
		Round{Outcome: r.Outcome}.row(t, "all")
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	b.WriteString("(lost/total; VIP gap: longest time between two OPTIONS, sent every 2 ms to the moved VIP, that were answered within 0.5 s;\n" +
		" owners: most MAC addresses that used one VIP at one time, counted from every frame on the switch with a VIP as source;\n")
	fmt.Fprintf(&b, " lost: a message that the phones' scenario awaits did not come within %.0f s, on either side)\n", r.PatienceS)
	if len(r.Rounds) > 1 {
		fmt.Fprintf(&b, "VIP gap over all VIPs that a fault befell: p50 %.1f ms, p99 %.1f ms\n", r.GapP50MS, r.GapP99MS)
	}
	if err := r.faultTable(&b); err != nil {
		return err
	}
	if n := r.Calls.SetupOnBroken; n.Total > 0 {
		fmt.Fprintf(&b, "counted apart: %v of the calls that were being set up when a connection of theirs broke were lost: what is in flight on one is gone with it\n", n)
	}
	for _, u := range r.Uncounted {
		fmt.Fprintf(&b, "not counted: %d %s calls lost: %s\n", u.Lost, u.Kind, u.Why)
	}
	if r.Soak != nil {
		if err := r.Soak.text(&b); err != nil {
			return err
		}
	}
	for _, round := range r.Rounds {
		round.details(&b)
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

// faultTable is one line for each of several faults.
func (r Report) faultTable(b *strings.Builder) error {
	if len(r.ByFault) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nfault\trounds\tfailed\tmoved\tgap p50\tgap max\tcalls\n")
	for _, s := range r.ByFault {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%.1f ms\t%.1f ms\t%v\n", s.Fault, s.Rounds, s.Failed, s.Moved, s.GapP50MS, s.GapMaxMS, s.Calls)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func (l Loss) excuse() string {
	if l.Uncounted == "" {
		return ""
	}
	return "; not counted: " + l.Uncounted
}

func (m Machine) text(b *strings.Builder) {
	guard := m.GuardPolicy
	switch {
	case guard == "":
		guard = "not seen"
	case m.UserNS:
		guard += " (user namespace: no real-time priority)"
	}
	if m.FsyncMaxMS == 0 { // of a live drill: the nodes are elsewhere
		fmt.Fprintf(b, "Machine of the phones: %d cores, Linux %s, load average before %.1f\n", m.Cores, m.Kernel, m.Load)
		return
	}
	fmt.Fprintf(b, "Machine: %d cores, Linux %s, guard scheduling %s, fsync p50 %.2f ms, max %.2f ms, load average before %.1f\n",
		m.Cores, m.Kernel, guard, m.FsyncP50MS, m.FsyncMaxMS, m.Load)
	if m.Load > float64(m.Cores) {
		fmt.Fprintf(b, "         (the machine was busy with other work: gaps and answer times are worse than Holdline's own)\n")
	}
}

func (o Round) row(w io.Writer, name string) {
	rejoin := fmt.Sprintf("%.1f s", o.RejoinS)
	if o.RejoinS < 0 {
		rejoin = "never"
	}
	owners := fmt.Sprint(o.MaxSimultaneousOwners)
	if o.MaxSimultaneousOwners == 0 {
		owners = "not counted"
	}
	c := o.Calls
	fmt.Fprintf(w, "%s\t%s\t%s\t%.1f ms\t%s\t%v\t%v\t%v\t%v\t%d/%d\t%s\t%s\n", name, o.Fault, o.Node, o.VIPGapMS, owners,
		c.Established, c.Ringing, c.Cancelled, c.Setup, o.Registrations.Lost, o.Registrations.Acknowledged, rejoin, o.Verdict)
}

func (c Count) String() string { return fmt.Sprintf("%d/%d", c.Lost, c.Total) }

// details says what lies behind the row: where VIPs went, what was lost and why.
func (o Round) details(b *strings.Builder) {
	for _, v := range o.VIPs {
		if !v.Hit {
			continue
		}
		if !v.Moved {
			fmt.Fprintf(b, "round %d: %s did not go from %s to another node; gap %.1f ms from %+.1f ms on; probes paused %.1f ms at most\n",
				o.Number, v.VIP, v.From, v.GapMS, v.GapStartMS, v.ProbePauseMS)
			continue
		}
		to := v.To
		fmt.Fprintf(b, "round %d: %s went from %s to %s; gap %.1f ms from %+.1f ms on; last frame of the old owner at %+.1f ms, first of the new at %+.1f ms; probes paused %.1f ms at most\n",
			o.Number, v.VIP, v.From, to, v.GapMS, v.GapStartMS, v.LastOldMS, v.FirstNewMS, v.ProbePauseMS)
	}
	if a := o.Setups; a != nil {
		fmt.Fprintf(b, "round %d: short calls: INVITE to 200 less ringing p50 %.1f ms, p99 %.1f ms, max %.1f ms\n",
			o.Number, float64(a["p50"])/1000, float64(a["p99"])/1000, float64(a["max"])/1000)
	}
	if n := o.Breaks; n != nil {
		fmt.Fprintf(b, "round %d: %d connections of phones broke; the phones noticed after %.1f ms (p50), %.1f ms (the last)\n", o.Number, n.Connections, n.P50MS, n.MaxMS)
	}
	if n := o.Registrations.Unanswered; n > 0 {
		fmt.Fprintf(b, "round %d: %d REGISTERs had no answer\n", o.Number, n)
	}
	for i, l := range o.Losses {
		if i == shownLosses {
			fmt.Fprintf(b, "round %d: … and %d more lost, all in the JSON report\n", o.Number, len(o.Losses)-i)
			break
		}
		fmt.Fprintf(b, "round %d: lost %s %s: %s awaited %s since %+.1f ms (%s)%s\n", o.Number, l.Kind, l.ID, l.By, l.Awaited, l.SinceMS, l.Detail, l.excuse())
	}
	for _, w := range o.Warnings {
		fmt.Fprintf(b, "round %d: warning: %s\n", o.Number, w)
	}
}
