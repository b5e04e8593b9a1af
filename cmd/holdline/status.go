package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) statusCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Whether the cluster survives the next fault; nodes, VIPs, raft",
		Long: `Shows the cluster as this node sees it. The first line says whether it is highly available, and if not, why; then what is
wrong and what to do about it.

Exit code: 0 when HA is "yes", 3 when it is anything else, 1 when the daemon gives no answer.`,
		Args: needs(),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			st, err := cl.Status(ctx)
			if err != nil {
				return err
			}
			if err := a.print(*asJSON, st, func() error { return a.writeStatus(st) }); err != nil {
				return err
			}
			if st.HA.Level != api.HAYes {
				return exitCode(exitDegraded)
			}
			return nil
		})
	}
	return c
}

func (a *app) writeStatus(st api.Status) error {
	var b strings.Builder
	columns := screenWidth(a.out)
	fmt.Fprintf(&b, "HA: %s\n", st.HA.Summary)
	for _, p := range st.HA.Problems {
		fmt.Fprintf(&b, "  ! %s\n", p.What)
		if p.Do != "" {
			fmt.Fprintf(&b, "    %s\n", p.Do)
		}
	}
	if len(st.Nodes) > 0 {
		b.WriteByte('\n')
		if err := nodeTable(st.Nodes, st.Time).writeWithin(&b, columns); err != nil {
			return err
		}
	}
	if len(st.VIPs) > 0 {
		b.WriteByte('\n')
		if err := groupTable(st.VIPs, st.Time).writeWithin(&b, columns); err != nil {
			return err
		}
	}
	if st.HA.Level != api.HAUnconfigured {
		b.WriteByte('\n')
		if err := raftTable(st.Raft).writeWithin(&b, columns); err != nil {
			return err
		}
		b.WriteString(worstGap(st.Nodes))
		fmt.Fprintf(&b, "\n%s, %s, %s, %s\n",
			counted(st.Counts.Domains, "domain"), counted(st.Counts.Users, "user"), counted(st.Counts.Registrations, "registration"), counted(st.Counts.Calls, "call"))
		if n := st.Counts.Unrecorded; n == 1 {
			b.WriteString("1 call is not replicated: it is as soon as there is a raft leader again\n")
		} else if n > 1 {
			fmt.Fprintf(&b, "%d calls are not replicated: they are as soon as there is a raft leader again\n", n)
		}
	}
	return a.say("%s", strings.TrimRight(b.String(), "\n"))
}

// counted shows how many there are of what has a plural in s.
func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// nodeTable marks the node that answers with a star.
func nodeTable(nodes []api.Node, now time.Time) *table {
	t := newTable("NODE", "ADDRESS", "STATE", "ROLE", "GUARD", "OWNS", "HEARD", "VERSION")
	for _, n := range nodes {
		name, heard := n.Name, ago(n.LastHeard, now)
		if n.Self {
			name, heard = name+" *", "self"
		}
		t.row(name, n.Listen, n.State, role(n), map[bool]string{true: "ok", false: "down"}[n.Guard], orDash(strings.Join(n.Groups, " ")), heard, orDash(n.Version))
	}
	return t
}

func role(n api.Node) string {
	r := "waits" // for a third
	switch {
	case n.Leader:
		r = "leader"
	case n.Voter:
		r = "voter"
	}
	if n.Draining {
		r += ", draining"
	}
	return r
}

// micros shows a measured time of us microseconds, "-" when there is none.
func micros(us int64) string {
	if us == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", float64(us)/1000)
}

// worstGap is the line about the heartbeats of the peers, "" when nothing was measured.
func worstGap(nodes []api.Node) string {
	worst := api.Node{}
	for _, n := range nodes {
		if n.WorstGapUS > worst.WorstGapUS {
			worst = n
		}
	}
	if worst.WorstGapUS == 0 {
		return ""
	}
	return fmt.Sprintf("worst gap between lease heartbeats: %s, of %s\n", micros(worst.WorstGapUS), worst.Name)
}

func groupTable(groups []api.Group, now time.Time) *table {
	t := newTable("VIP", "ADDRESS", "OWNER", "SINCE", "HOME", "EPOCH", "CALLS")
	for _, g := range groups {
		owner, epoch := g.Owner, "-"
		switch {
		case g.Unknown:
			owner = "unknown"
		case owner == "":
			owner = "nobody"
		}
		if g.Epoch != 0 {
			epoch = fmt.Sprint(g.Epoch)
		}
		t.row(g.Name, addresses(g.VIPs), owner, ago(g.Since, now), orDash(g.HomeNode), epoch, fmt.Sprint(g.Calls))
	}
	return t
}

func raftTable(r api.Raft) *table {
	t := newTable("RAFT", "LEADER", "TERM", "LAST", "COMMITTED", "APPLIED", "VOTERS", "LEVEL", "CONTACT", "FSYNC P99")
	contact := "-"
	switch {
	case r.LastContactMS >= 0 && r.State == "leader":
		contact = "self"
	case r.LastContactMS >= 0:
		contact = short(time.Duration(r.LastContactMS) * time.Millisecond)
	}
	leader := r.Leader
	if leader == "" {
		leader = "none"
	}
	t.row(r.State, leader, fmt.Sprint(r.Term), fmt.Sprint(r.LastIndex), fmt.Sprint(r.CommitIndex), fmt.Sprint(r.AppliedIndex),
		fmt.Sprint(r.Voters), fmt.Sprint(r.FeatureLevel), contact, micros(r.FsyncP99US))
	return t
}
