package main

import (
	"github.com/spf13/cobra"

	"holdline/deploy/lab"
)

// stallsCmd is what a soak runs beside itself to see when this machine stands still.
func (a *app) stallsCmd() *cobra.Command {
	return &cobra.Command{
		Use: "stalls DIR", Short: "Tell, until the input ends, when this machine's processors or its disk stand still", Hidden: true,
		Args: needs("DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			return lab.WatchStalls(c.InOrStdin(), c.OutOrStdout(), args[0])
		},
	}
}
