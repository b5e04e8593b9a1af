package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) routeCmd() *cobra.Command {
	c := noun("route", "Which calls go to which pool", a.routeAddCmd(), a.routeRemoveCmd(), a.routeListCmd())
	c.Long = "A call to somebody who is not a user of the domain goes to the pool of the longest prefix of the dialled user part."
	return c
}

func (a *app) routeAddCmd() *cobra.Command {
	var r api.Route
	c := &cobra.Command{
		Use: "add DOMAIN --prefix PREFIX --pool POOL", Short: "Send calls of a domain to a pool",
		Long: "Sends calls of a domain to a pool. A route with the same prefix is replaced.",
		Example: `  holdline route add example.com --prefix '' --pool carriers
  holdline route add example.com --prefix 0 --pool carriers --strip 1 --prepend +49
  holdline route add example.com --prefix 00 --pool abroad --strip 2 --prepend +`,
		Args: needs("DOMAIN"), ValidArgsFunction: a.complete(domainNames),
	}
	c.Flags().StringVar(&r.Prefix, "prefix", "", "beginning of the dialled user part; empty: all")
	c.Flags().StringVar(&r.Pool, "pool", "", "pool that gets the calls")
	c.Flags().Uint32Var(&r.Strip, "strip", 0, "characters to remove from the front of the user part")
	c.Flags().StringVar(&r.Prepend, "prepend", "", "what to put before it then, such as +49")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := required(c, "pool"); err != nil {
			return err
		}
		r.Domain = args[0]
		if err := r.Validate(); err != nil {
			return err
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			if err := cl.AddRoute(ctx, r); err != nil {
				return err
			}
			if err := a.say("calls of %s to '%s…' go to pool %s%s", r.Domain, r.Prefix, r.Pool, rewritten(&r)); err != nil {
				return err
			}
			pools, err := cl.ListPools(ctx)
			if err != nil {
				return err
			}
			for _, p := range pools {
				if p.Name == r.Pool && !p.InService() {
					return a.say("pool %s has no gateway in service yet: such calls get 503", p.Name)
				}
			}
			return nil
		})
	}
	return c
}

// rewritten says what becomes of a dialled number.
func rewritten(r *api.Route) string {
	if r.Strip == 0 && r.Prepend == "" {
		return ""
	}
	number := r.Prefix + "123456"
	return fmt.Sprintf(", %s as %s", number, r.Prepend+number[min(int(r.Strip), len(number)):])
}

func (a *app) routeRemoveCmd() *cobra.Command {
	c := &cobra.Command{
		Use: "remove DOMAIN --prefix PREFIX", Short: "Remove a route",
		Args: needs("DOMAIN"), ValidArgsFunction: a.complete(domainNames),
	}
	prefix := c.Flags().String("prefix", "", "the route's prefix; '' is the one for all")
	c.RunE = func(c *cobra.Command, args []string) error {
		if !c.Flags().Changed("prefix") {
			return &usageError{"holdline route remove needs --prefix: '' is the route for all numbers"}
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			if err := cl.RemoveRoute(ctx, args[0], *prefix); err != nil {
				return err
			}
			return a.say("route of %s for '%s…' removed", args[0], *prefix)
		})
	}
	return c
}

func (a *app) routeListCmd() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the routes", Args: needs()}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			routes, err := cl.ListRoutes(ctx)
			if err != nil {
				return err
			}
			return a.print(*asJSON, routes, func() error {
				t := newTable("DOMAIN", "PREFIX", "POOL", "STRIP", "PREPEND")
				for _, r := range routes {
					t.row(r.Domain, "'"+r.Prefix+"'", r.Pool, fmt.Sprint(r.Strip), orDash(r.Prepend))
				}
				return t.write(a.out)
			})
		})
	}
	return c
}
