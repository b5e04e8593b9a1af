package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) joinCmd() *cobra.Command {
	var r api.JoinRequest
	c := &cobra.Command{
		Use:   "join TOKEN --name NAME --listen ADDRESS",
		Short: "Make this node a member of a cluster",
		Long: `Makes this node a member of the cluster that the token comes from, and returns when it has caught up: as voter, or as the
second of two, which waits for a third. Before it joins it checks the clock, that it and the members reach each other,
that they share a network segment, and how fast this box writes to disk. When a check fails nothing
has changed, here or there. Should the cluster let this box in and it then fail to start, the message says so, and the same command goes on.

The same line again, after an interruption, is harmless.`,
		Example: "  holdline join TOKEN --name n2 --listen 10.77.0.12",
		Args:    needs("TOKEN"),
	}
	a.nameAndListen(c, &r.Name, &r.Listen)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		r.Token = args[0]
		if err := a.placeFromConfig(c, &r.Name, &r.Listen); err != nil {
			return err
		}
		if err := r.Validate(); err != nil {
			return err
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			ans, err := cl.Join(ctx, r)
			if err != nil {
				return err
			}
			return a.print(*asJSON, ans, func() error {
				a.warnOf(ans.Checks)
				return a.say("%s joined: %s", ans.Node.Name, ans.Message)
			})
		})
	}
	return c
}

// warnOf tells on stderr what a check has found, one line each: the command has done what it should.
func (a *app) warnOf(checks []api.Check) {
	for _, k := range checks {
		if k.Result != api.CheckOK {
			fmt.Fprintf(a.err, "holdline: %s: %s: %s\n", k.Name, k.Detail, k.Advice)
		}
	}
}
