package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) recoverCmd() *cobra.Command {
	var r api.RecoverRequest
	c := &cobra.Command{
		Use:   "recover --i-confirm-the-others-are-off NODE,…",
		Short: "Go on with this node alone when the majority is lost for good",
		Long: `For the day that a majority of the boxes is burnt: this node goes on alone, with everything that its disk holds, and new boxes
join it. All other nodes are taken out of the cluster; each must be named. One of them that still works must be switched off
first, and joins again with an empty data directory.

If a box that is named still runs somewhere, out of reach of this one, there are two clusters with the same addresses. Holdline
refuses when it can hear anything of one; that it hears nothing proves nothing: go and look. Writes that only the lost nodes had are
lost. Of the survivors, recover the one with the highest LAST in holdline status.`,
		Example: "  n1# holdline recover --i-confirm-the-others-are-off n2,n3",
		Args:    needs(),
	}
	const flag = "i-confirm-the-others-are-off"
	c.Flags().StringSliceVar(&r.Off, flag, nil, "names of all other nodes, each of them switched off for good")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if len(r.Off) == 0 {
			return &usageError{fmt.Sprintf("%s needs --%s with the names of all other nodes: see `%[1]s --help`", c.CommandPath(), flag)}
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			if err := cl.Recover(ctx, r); err != nil {
				return err
			}
			return a.say("this node goes on alone: make tokens (holdline token create) and join new boxes")
		})
	}
	return c
}
