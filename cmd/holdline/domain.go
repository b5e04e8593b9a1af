package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) domainCmd() *cobra.Command {
	return noun("domain", "SIP domains", a.domainAddCmd(), a.domainRemoveCmd(), a.domainListCmd(),
		noun("alias", "Other names and addresses of a domain",
			a.aliasCmd("add", "Add another name of a domain", "added to", (*api.Client).AddAlias),
			a.aliasCmd("remove", "Remove another name of a domain", "removed from", (*api.Client).RemoveAlias)))
}

func (a *app) domainAddCmd() *cobra.Command {
	var d api.Domain
	c := &cobra.Command{
		Use: "add DOMAIN", Short: "Add a domain",
		Example: "  holdline domain add example.com --alias 10.77.0.101 --alias 10.77.0.102",
		Args:    needs("DOMAIN"),
	}
	c.Flags().StringArrayVar(&d.Aliases, "alias", nil, "another name or address that means this domain; may be repeated")
	c.RunE = func(c *cobra.Command, args []string) error {
		d.Name = args[0]
		if err := d.Validate(); err != nil {
			return err
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			if err := cl.AddDomain(ctx, d); err != nil {
				return err
			}
			return a.say("domain %s added", d.Name)
		})
	}
	return c
}

func (a *app) domainRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use: "remove DOMAIN", Short: "Remove a domain that has no users and no routes",
		Long: `Removes a domain, its aliases and its certificate. It is refused while the domain has users or routes: remove those first
(holdline user remove, holdline route remove).`,
		Args: needs("DOMAIN"), ValidArgsFunction: a.complete(domainNames),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, func(ctx context.Context, cl *api.Client) error {
				if err := cl.RemoveDomain(ctx, args[0]); err != nil {
					return err
				}
				return a.say("domain %s removed", args[0])
			})
		},
	}
}

func (a *app) domainListCmd() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the domains", Args: needs()}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			domains, err := cl.ListDomains(ctx)
			if err != nil {
				return err
			}
			return a.print(*asJSON, domains, func() error {
				t := newTable("DOMAIN", "ALIASES")
				for _, d := range domains {
					t.row(d.Name, orDash(strings.Join(d.Aliases, " ")))
				}
				return t.write(a.out)
			})
		})
	}
	return c
}

func (a *app) aliasCmd(verb, short, told string, do func(*api.Client, context.Context, string, string) error) *cobra.Command {
	return &cobra.Command{
		Use: verb + " DOMAIN ALIAS", Short: short,
		Args: needs("DOMAIN", "ALIAS"), ValidArgsFunction: a.complete(domainNames),
		RunE: func(c *cobra.Command, args []string) error {
			d := api.Domain{Name: args[0], Aliases: args[1:]}
			if err := d.Validate(); err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, cl *api.Client) error {
				if err := do(cl, ctx, d.Name, d.Aliases[0]); err != nil {
					return err
				}
				return a.say("alias %s %s %s", d.Aliases[0], told, d.Name)
			})
		},
	}
}
