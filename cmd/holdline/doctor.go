package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) doctorCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Measure what the cluster depends on, and advise",
		Long: `Measures what this node and the cluster depend on, such as disk, clocks, network and scheduling, and says what to do about
what is not good. Exit code 1 when a check failed.`,
		Args: needs(),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			checks, err := cl.Doctor(ctx)
			if err != nil {
				return err
			}
			if err := a.print(*asJSON, checks, func() error { return a.writeChecks(checks) }); err != nil {
				return err
			}
			for _, k := range checks {
				if k.Result == api.CheckFail {
					return exitCode(exitFailed)
				}
			}
			return nil
		})
	}
	return c
}

// writeChecks prints advice under its finding: the two together are too long for a table.
func (a *app) writeChecks(checks []api.Check) error {
	for _, k := range checks {
		if err := a.say("%-4s  %s: %s", k.Result, k.Name, k.Detail); err != nil {
			return err
		}
		if k.Advice != "" && k.Result != api.CheckOK {
			if _, err := fmt.Fprintf(a.out, "      %s\n", k.Advice); err != nil {
				return fmt.Errorf("writing to stdout: %w", err)
			}
		}
	}
	return nil
}
