package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"holdline/deploy/lab"
)

func (a *app) drillCmd() *cobra.Command {
	var o lab.Options
	var live liveFlags
	var file string
	c := &cobra.Command{
		Use:   "drill",
		Short: "Rehearse a failure on this machine: cluster, phones and a pulled cable",
		Long: `Makes a switch, the nodes of a cluster and some hundreds of phones in network namespaces on this machine, lets calls flow, does the
fault to the node that owns an address and leads the cluster, and reports what was lost, how long the address was
silent, and whether two nodes ever answered for it. Nothing outside the namespaces is touched. Without root it runs in a user
namespace.

With --live it does the same on the real boxes, guided by you: it makes a domain with some users in the cluster, or takes --accounts, lets
test phones on this machine register and call through the VIPs, asks you to pull a node's cable, measures, asks you to plug it in
again, and removes what it has made, also when you break it off. It needs a node's socket (run it on a node, or with
the socket of one forwarded by ssh -L) and, to count owners, CAP_NET_RAW on the network of the VIPs.

Exit code 0 when the verdict is pass, 1 otherwise. A drill that is broken off (Ctrl-C) removes what it has made and reports on the rounds that
were over.`,
		Example: `  holdline drill
  holdline drill --fault freeze --repeat 20 --json drill.json
  holdline drill --fault mixed --transport mixed --repeat 10
  holdline drill --suite short
  holdline drill --live --node n2`,
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
	fs.StringVar(&o.Suite, "suite", "", `run the fault suite instead: "all", "short", or patterns of transcript/fault such as '7*/kill,*/mute'`)
	fs.BoolVar(&o.AllowClockStep, "allow-clock-step", false, "let the suite step this machine's wall clock by an hour and back (root)")
	fs.DurationVar(&o.Soak, "soak", 0, "no fault: calls for that long with every CPU busy, such as 60m; a VIP that moves fails it, unless this machine itself had stood still")
	fs.BoolVar(&o.Keep, "keep", false, "keep logs and data directories also when the drill passed")
	live.add(fs)
	fs.StringVar(&file, "json", "", "also write the report to this file")
	c.RunE = func(c *cobra.Command, _ []string) error {
		o.Fault = lab.Fault(*fault)
		if o.CPS == 0 {
			o.CPS = -1 // lab: 0 means the default
		}
		if err := live.check(fs); err != nil {
			return err
		}
		var report lab.Report
		var err error
		if live.live {
			report, err = a.drillLive(c, live, o)
		} else {
			report, err = lab.Drill(c.Context(), o, a.out)
		}
		if err != nil && !report.Partial {
			return err
		}
		told := report.WriteText(a.out)
		if file != "" && told == nil {
			told = report.WriteJSON(file)
		}
		if err := errors.Join(err, told); err != nil {
			return err
		}
		if !report.Passed() {
			return exitCode(exitFailed)
		}
		return nil
	}
	return c
}
