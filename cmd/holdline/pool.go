package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) poolCmd() *cobra.Command {
	return noun("pool", "Pools of gateways", a.poolAddCmd(), a.poolRemoveCmd(), a.poolListCmd(),
		noun("member", "Gateways of a pool", a.memberAddCmd(), a.memberSetCmd(), a.memberRemoveCmd(), a.memberListCmd()))
}

func (a *app) poolAddCmd() *cobra.Command {
	var p api.Pool
	c := &cobra.Command{
		Use: "add POOL", Short: "Add an empty pool",
		Example: "  holdline pool add carriers --algorithm least-calls",
		Args:    needs("POOL"),
	}
	c.Flags().StringVar(&p.Algorithm, "algorithm", api.RoundRobin, "how a member is chosen: round-robin, least-calls, weighted or hash")
	c.RunE = func(c *cobra.Command, args []string) error {
		p.Name = args[0]
		if err := p.Validate(); err != nil {
			return err
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			if err := cl.AddPool(ctx, p); err != nil {
				return err
			}
			return a.say("pool %s added: give it members with `holdline pool member add %s`", p.Name, p.Name)
		})
	}
	return c
}

func (a *app) poolRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use: "remove POOL", Short: "Remove a pool that no route names",
		Args: needs("POOL"), ValidArgsFunction: a.complete(poolNames),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, func(ctx context.Context, cl *api.Client) error {
				if err := cl.RemovePool(ctx, args[0]); err != nil {
					return err
				}
				return a.say("pool %s removed", args[0])
			})
		},
	}
}

func (a *app) poolListCmd() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the pools", Args: needs()}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			pools, err := cl.ListPools(ctx)
			if err != nil {
				return err
			}
			return a.print(*asJSON, pools, func() error {
				t := newTable("POOL", "ALGORITHM", "MEMBERS", "CALLS")
				for _, p := range pools {
					calls := 0
					for _, m := range p.Members {
						calls += m.Calls
					}
					t.row(p.Name, p.Algorithm, fmt.Sprint(len(p.Members)), fmt.Sprint(calls))
				}
				return t.write(a.out)
			})
		})
	}
	return c
}
