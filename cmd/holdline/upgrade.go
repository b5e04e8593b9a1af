package main

import (
	"context"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) upgradeCmd() *cobra.Command {
	return noun("upgrade", "What comes after every node runs a new release", a.upgradeFinishCmd())
}

func (a *app) upgradeFinishCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "finish",
		Short: "Let the cluster use what the new release brings",
		Long: `Raises the cluster's feature level to the highest that the nodes' releases know. Until then the new release does only what the old
one understands, and the old one may be put back. It is refused while a node runs a release that does not know the level.`,
		Args: needs(),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			u, err := cl.FinishUpgrade(ctx)
			if err != nil {
				return err
			}
			return a.print(*asJSON, u, func() error {
				if u.Before == u.FeatureLevel {
					return a.say("nothing to do: the cluster runs at feature level %d, the highest that its nodes know", u.FeatureLevel)
				}
				return a.say("the cluster runs at feature level %d now (was %d)", u.FeatureLevel, u.Before)
			})
		})
	}
	return c
}
