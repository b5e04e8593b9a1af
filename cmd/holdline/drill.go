package main

import (
	"strings"

	"github.com/spf13/cobra"

	"holdline/deploy/lab"
)

func (a *app) drillCmd() *cobra.Command {
	var o lab.Options
	var file string
	c := &cobra.Command{
		Use:   "drill",
		Short: "Rehearse a failure on this machine: cluster, phones and a pulled cable",
		Long: `Makes a switch, the nodes of a cluster and some hundreds of phones in network namespaces on this machine, lets calls flow, does the
fault to the node that owns an address and leads the cluster, and reports what was lost, how long the address was
silent, and whether two nodes ever answered for it. Nothing outside the namespaces is touched. Without root it runs in a user
namespace.

Exit code 0 when the verdict is pass, 1 otherwise.`,
		Example: `  holdline drill
  holdline drill --fault freeze --repeat 20 --json drill.json
  holdline drill --suite short`,
		Args: needs(),
	}
	fs := c.Flags()
	fs.IntVar(&o.Nodes, "nodes", 3, "boxes in the cluster, 3 to 7")
	fs.IntVar(&o.Calls, "calls", 200, "established calls held through the fault; half as many ring")
	fs.IntVar(&o.CPS, "cps", 50, "calls set up and ended each second throughout")
	fs.IntVar(&o.Phones, "phones", 200, "registered phones")
	fault := fs.String("fault", string(lab.FaultCable), "what happens: "+lab.FaultNames())
	fs.StringVar(&o.Transport, "transport", lab.TransportUDP, "of the phones: "+strings.Join(lab.Transports(), ", "))
	fs.Uint64Var(&o.Seed, "seed", 1, "fixes which node and which phones")
	fs.IntVar(&o.Repeat, "repeat", 1, "fault rounds on the same cluster")
	fs.StringVar(&o.Suite, "suite", "", `run the fault suite instead: "all", "short", or a pattern of transcript/fault such as '7*/kill'`)
	fs.BoolVar(&o.Keep, "keep", false, "keep logs and data directories also when the drill passed")
	fs.StringVar(&file, "json", "", "also write the report to this file")
	c.RunE = func(c *cobra.Command, _ []string) error {
		o.Fault = lab.Fault(*fault)
		if o.CPS == 0 {
			o.CPS = -1 // lab: 0 means the default
		}
		report, err := lab.Drill(c.Context(), o, a.out)
		if err != nil {
			return err
		}
		if err := report.WriteText(a.out); err != nil {
			return err
		}
		if file != "" {
			if err := report.WriteJSON(file); err != nil {
				return err
			}
		}
		if !report.Passed() {
			return exitCode(exitFailed)
		}
		return nil
	}
	return c
}
