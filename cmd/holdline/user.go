package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) userCmd() *cobra.Command {
	return noun("user", "Who may register and call",
		a.passwordCmd("add", "Add a user", "user %s added", (*api.Client).AddUser),
		a.passwordCmd("passwd", "Change a user's password", "password of %s changed", (*api.Client).SetPassword),
		a.userRemoveCmd(), a.userListCmd())
}

func (a *app) passwordCmd(verb, short, told string, do func(*api.Client, context.Context, api.UserRequest) error) *cobra.Command {
	c := &cobra.Command{
		Use:   verb + " USER@DOMAIN",
		Short: short,
		Long: short + `. The password is read from standard input, or asked for at a terminal: on the command line it would show in process
lists. Only digests of it are stored.`,
		Example: "  echo \"$password\" | holdline user " + verb + " alice@example.com --password-stdin",
		Args:    needs("USER@DOMAIN"),
	}
	stdin := c.Flags().Bool("password-stdin", false, "read the password from the first line of standard input")
	c.RunE = func(c *cobra.Command, args []string) error {
		if _, _, _, err := api.ParseAoR(args[0]); err != nil {
			return err
		}
		pw, err := a.password(*stdin)
		if err != nil {
			return err
		}
		r := api.UserRequest{AoR: args[0], Password: pw}
		if err := r.Validate(); err != nil {
			return err
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			if err := do(cl, ctx, r); err != nil {
				return err
			}
			return a.say(told, r.AoR)
		})
	}
	return c
}

func (a *app) userRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use: "remove USER@DOMAIN", Short: "Remove a user",
		Args: needs("USER@DOMAIN"),
		RunE: func(c *cobra.Command, args []string) error {
			aor, _, _, err := api.ParseAoR(args[0])
			if err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, cl *api.Client) error {
				if err := cl.RemoveUser(ctx, aor); err != nil {
					return err
				}
				return a.say("user %s removed", aor)
			})
		},
	}
}

func (a *app) userListCmd() *cobra.Command {
	var f api.UserFilter
	c := &cobra.Command{Use: "list", Short: "List users; never their secrets", Args: needs()}
	c.Flags().StringVar(&f.Domain, "domain", "", "only those of this domain")
	c.Flags().IntVar(&f.Limit, "limit", 0, "at most so many (0: all)")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			users, err := cl.ListUsers(ctx, f)
			if err != nil {
				return err
			}
			return a.print(*asJSON, users, func() error {
				t := newTable("USER", "REGISTERED")
				for _, u := range users {
					t.row(u.AoR, fmt.Sprint(u.Registered))
				}
				return t.write(a.out)
			})
		})
	}
	return c
}
