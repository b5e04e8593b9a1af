// Command gaps draws how long addresses were silent in drills, from the reports that `holdline drill --json` writes:
//
//	go run ./deploy/chart/gaps -out docs/failover-gaps.svg build/mixed-*.json
//
// On standard output it writes a table for docs/failover.md.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"holdline/deploy/chart"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gaps:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	fs := flag.NewFlagSet("gaps", flag.ContinueOnError)
	svg := fs.String("out", "", "file for the picture (SVG)")
	title := fs.String("title", "", "what is said above it (default: how many gaps of how many rounds)")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *svg == "" || fs.NArg() == 0 {
		return errors.New("usage: gaps -out FILE.svg [-title TEXT] REPORT.json …")
	}
	byFault, rounds, err := read(fs.Args())
	if err != nil {
		return err
	}
	c := picture(byFault, rounds)
	if *title != "" {
		c.Title = *title
	}
	image, err := c.SVG()
	if err != nil {
		return err
	}
	if err := os.WriteFile(*svg, image, 0o644); err != nil {
		return err
	}
	return table(out, byFault)
}

// report is what is read of a drill's JSON.
type report struct {
	Rounds []struct {
		Fault string `json:"fault"`
		VIPs  []struct {
			Hit bool    `json:"hit"`
			Gap float64 `json:"gap_ms"`
		} `json:"vips"`
	} `json:"rounds"`
}

// read gathers the gaps of the addresses that a fault befell, sorted, by fault.
func read(files []string) (byFault map[string][]float64, rounds int, err error) {
	byFault = map[string][]float64{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, 0, err
		}
		var r report
		if err := json.Unmarshal(data, &r); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", file, err)
		}
		for _, round := range r.Rounds {
			rounds++
			for _, v := range round.VIPs {
				if v.Hit {
					byFault[round.Fault] = append(byFault[round.Fault], v.Gap)
				}
			}
		}
	}
	for _, gaps := range byFault {
		slices.Sort(gaps)
	}
	return byFault, rounds, nil
}

// families are the lines of the picture: faults whose gaps have the same cause. The first with a prefix that fits decides.
var families = []struct {
	name     string
	prefixes []string
}{
	{"frames lost at random, cable flapping", []string{"loss-", "cable-flapping"}},
	{"cut off: cable, isolation, deaf, mute, partition", []string{"cable", "leader-cable", "isolation", "deaf", "mute", "partition"}},
	{"core alone: kill-serve, freeze-serve", []string{"kill-serve", "freeze-serve"}},
	{"guard alone: kill-guard, freeze-guard", []string{"kill-guard", "freeze-guard"}},
	{"both: kill, freeze, replace", []string{"kill", "freeze", "replace"}},
	{"all nodes: rolling restart, power-loss, cold start", []string{"rolling", "power-loss", "cold-start"}},
}

func familyOf(fault string) string {
	for _, f := range families {
		if slices.ContainsFunc(f.prefixes, func(p string) bool { return strings.HasPrefix(fault, p) }) {
			return f.name
		}
	}
	return fault
}

// picture is the distribution of the gaps, a line for each family of faults.
func picture(byFault map[string][]float64, rounds int) chart.Chart {
	gaps := map[string][]float64{}
	var names []string
	all := 0
	for fault, g := range byFault {
		name := familyOf(fault)
		if gaps[name] == nil {
			names = append(names, name)
		}
		gaps[name] = append(gaps[name], g...)
		all += len(g)
	}
	slices.Sort(names)
	c := chart.Chart{
		Title: fmt.Sprintf("How long an address was silent: %d gaps in %d rounds", all, rounds),
		X:     chart.Axis{Label: "ms without an answer to OPTIONS sent every 2 ms", Log: true},
		Y:     chart.Axis{Label: "% of gaps no longer than that", Max: 100},
	}
	for _, name := range names {
		g := gaps[name]
		slices.Sort(g)
		s := chart.Series{Name: fmt.Sprintf("%s (%d)", name, len(g)), Steps: true, Points: []chart.Point{{X: g[0], Y: 0}}}
		for i, ms := range g {
			s.Points = append(s.Points, chart.Point{X: ms, Y: 100 * float64(i+1) / float64(len(g))})
		}
		c.Series = append(c.Series, s)
	}
	return c
}

// table writes percentiles by fault, in Markdown.
func table(out io.Writer, byFault map[string][]float64) error {
	var faults []string
	for f := range byFault {
		faults = append(faults, f)
	}
	slices.Sort(faults)
	t := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprintln(t, "| Fault\t| gaps\t| p50\t| p99\t| longest\t|")
	fmt.Fprintln(t, "|---\t|---\t|---\t|---\t|---\t|")
	for _, f := range faults {
		g := byFault[f]
		fmt.Fprintf(t, "| `%s`\t| %d\t| %.0f ms\t| %.0f ms\t| %.0f ms\t|\n", f, len(g), percentile(g, 50), percentile(g, 99), g[len(g)-1])
	}
	return t.Flush()
}

// percentile of sorted values, by nearest rank.
func percentile(sorted []float64, p int) float64 {
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}
