package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) vipCmd() *cobra.Command {
	c := noun("vip", "Floating addresses and who owns them", a.vipAddCmd(), a.vipRemoveCmd(), a.vipMoveCmd(), a.vipListCmd())
	c.Long = `A VIP group is one floating address, or one per attached network, that moves as one; one node at a time owns it. GROUP is
its name, its number, or one of its addresses.`
	return c
}

func (a *app) vipListCmd() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the VIP groups and their owners", Args: needs()}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			groups, err := cl.ListVIPs(ctx)
			if err != nil {
				return err
			}
			return a.print(*asJSON, groups, func() error { return groupTable(groups, time.Now()).write(a.out) })
		})
	}
	return c
}

func (a *app) vipAddCmd() *cobra.Command {
	var name, home string
	var advertise []string
	c := &cobra.Command{
		Use:   "add ADDRESS/LENGTH[,ADDRESS/LENGTH]",
		Short: "Add a VIP group",
		Long:  "Adds a VIP group. It is refused when a machine on the network answers for one of the addresses already.",
		Example: `  holdline vip add 10.77.0.104/24
  holdline vip add 10.77.0.104/24,192.0.2.4/26 --name border --home n2`,
		Args: needs("ADDRESS/LENGTH"),
	}
	c.Flags().StringVar(&name, "name", "", "name of the group (default: its first address)")
	c.Flags().StringVar(&home, "home", "", "node that takes it, and is preferred later (default: whichever; preferred is the one with the fewest groups)")
	c.Flags().StringArrayVar(&advertise, "advertise", nil, "VIP=PUBLIC: address that messages name instead, behind 1:1 NAT")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		groups, err := groupsOf(args, advertise)
		if err != nil {
			return err
		}
		g := groups[0]
		g.Name, g.HomeNode = name, home
		if err := g.Validate(); err != nil {
			return err
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			made, err := cl.AddVIP(ctx, g)
			if err != nil {
				return err
			}
			return a.print(*asJSON, made, func() error {
				a.warnOf(made.Checks)
				if err := a.say("VIP group %s added: %s", made.Name, addresses(made.VIPs)); err != nil {
					return err
				}
				return a.adviseAliases(ctx, cl, made)
			})
		})
	}
	return c
}

// adviseAliases tells how calls to a new VIP by its address are made to reach somebody, where other addresses are called so.
func (a *app) adviseAliases(ctx context.Context, cl *api.Client, g api.Group) error {
	domains, err := cl.ListDomains(ctx)
	if err != nil {
		return err
	}
	domain, bare := api.Unaliased(domains, []api.Group{g})
	for _, addr := range bare {
		if err := a.say("calls to it by address get 404 until a domain has it as an alias: holdline domain alias add %s %s", domain, addr); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) vipRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use: "remove GROUP", Short: "Remove a VIP group that carries no calls",
		Long: `Removes a VIP group. It is refused while calls hang off the group (holdline vip list counts them): have phones and trunks use
another address, and remove it when its calls have ended. The last group stays, and so does one that a gateway is called through.`,
		Args: needs("GROUP"), ValidArgsFunction: a.complete(groupNames),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, func(ctx context.Context, cl *api.Client) error {
				if err := cl.RemoveVIP(ctx, args[0]); err != nil {
					return err
				}
				return a.say("VIP group %s removed", args[0])
			})
		},
	}
}

func (a *app) vipMoveCmd() *cobra.Command {
	var r api.MoveRequest
	c := &cobra.Command{
		Use: "move GROUP", Short: "Hand a VIP group to another node; calls go on",
		Example: "  holdline vip move 10.77.0.101 --to n2",
		Args:    needs("GROUP"), ValidArgsFunction: a.complete(groupNames),
	}
	c.Flags().StringVar(&r.To, "to", "", "the next owner (default: the best other node)")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			g, err := cl.MoveVIP(ctx, args[0], r)
			if err != nil {
				return err
			}
			return a.print(*asJSON, g, func() error { return a.say("VIP group %s is owned by %s", g.Name, orDash(g.Owner)) })
		})
	}
	return c
}
