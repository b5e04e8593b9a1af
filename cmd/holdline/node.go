package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) nodeCmd() *cobra.Command {
	return noun("node", "Members of the cluster", a.nodeListCmd(), a.nodeRemoveCmd())
}

func (a *app) nodeListCmd() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the members as this node sees them", Args: needs()}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			nodes, err := cl.ListNodes(ctx)
			if err != nil {
				return err
			}
			return a.print(*asJSON, nodes, func() error { return nodeTable(nodes, time.Now()).write(a.out) })
		})
	}
	return c
}

func (a *app) nodeRemoveCmd() *cobra.Command {
	var r api.RemoveNodeRequest
	c := &cobra.Command{
		Use:   "remove NODE",
		Short: "Remove a dead member for good",
		Long: `Removes a member that will not come back: it no longer counts for majorities, and its certificate is refused from then on.
To replace the box, join the new one with a token of its own. A removed box that is switched on again after all serves nothing,
and its "holdline status" says why: run "holdline leave --force" on it, and it may join anew.

A node that is alive should leave by itself: run "holdline leave" on it.`,
		Args:              needs("NODE"),
		ValidArgsFunction: a.complete(nodeNames),
	}
	c.Flags().BoolVar(&r.Force, "force", false, "also a node that is alive")
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			if err := cl.RemoveNode(ctx, args[0], r); err != nil {
				return err
			}
			return a.say("node %s removed", args[0])
		})
	}
	return c
}
