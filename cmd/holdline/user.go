package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) userCmd() *cobra.Command {
	return noun("user", "Who may register and call",
		a.userAddCmd(), a.passwordCmd(new(api.UserRequest), "passwd", "Change a user's password", "password of %s changed", (*api.Client).SetPassword),
		a.userSetCmd(), a.userRemoveCmd(), a.userListCmd(),
		noun("alias", "Other names of a user in his domain: his numbers",
			a.userAliasCmd("add", "Give a user other names", `Gives a user other names: calls to him may name one of them instead of his name, such as his number as a carrier writes it. An alias is the
part before the @, in his own domain, and is matched as it is written. His phone may register and call under it, too; the user name that goes
with his password stays his name.`, "added to", func(c *api.UserChange, aliases []string) { c.AddAliases = aliases }),
			a.userAliasCmd("remove", "Take other names from a user", `Takes other names from a user. Who calls him by one of them is told that nobody has it, or is sent on by the domain's routes. A phone that
registers under one is refused when it refreshes.`, "removed from", func(c *api.UserChange, aliases []string) { c.RemoveAliases = aliases })))
}

func (a *app) userAddCmd() *cobra.Command {
	r := new(api.UserRequest)
	c := a.passwordCmd(r, "add", "Add a user", "user %s added", (*api.Client).AddUser)
	c.Example += "\n  echo \"$password\" | holdline user add 101@example.com --password-stdin --alias +4930123456 --identity +4930123456"
	c.Flags().StringArrayVar(&r.Aliases, "alias", nil, "another name that he is called by, such as his number, without the domain; may be repeated")
	c.Flags().StringVar(&r.Identity, "identity", "", "the alias that gateways are told when he calls (default: his name)")
	c.Flags().Uint32Var(&r.MaxCalls, "max-calls", 0, "calls that he may make at once, over the whole cluster (0: as the setting call.max-per-user says)")
	return c
}

// passwordCmd is a command that fills in r.
func (a *app) passwordCmd(r *api.UserRequest, verb, short, told string, do func(*api.Client, context.Context, api.UserRequest) error) *cobra.Command {
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
		var err error
		if r.AoR, _, _, err = api.ParseAoR(args[0]); err != nil {
			return err
		}
		if r.Password, err = a.password(*stdin); err != nil {
			return err
		}
		if err := r.Validate(); err != nil {
			return err
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			if err := do(cl, ctx, *r); err != nil {
				return err
			}
			return a.say(told, r.AoR)
		})
	}
	return c
}

func (a *app) userSetCmd() *cobra.Command {
	var identity string
	var most uint32
	c := &cobra.Command{
		Use: "set USER@DOMAIN", Short: "Change which of a user's names gateways are told, or how many calls he may make",
		Long: `Changes which name gateways are told of a user who calls: P-Asserted-Identity has it. It is his name, or an alias of his ("holdline user
alias add"), such as the number that a carrier knows him by. From stays as his phone writes it. An empty one is his name again.

Or changes how many calls he may make at once, over the whole cluster: those that ring and those that he talks in, from all his phones, and those
that they have sent on to somebody else. Calls to him do not count, and emergency calls are never refused. A lower one ends no call.`,
		Example: "  holdline user set 101@example.com --identity +4930123456\n  holdline user set pbx@example.com --max-calls 60",
		Args:    needs("USER@DOMAIN"),
	}
	c.Flags().StringVar(&identity, "identity", "", "his name or an alias of his, without the domain")
	c.Flags().Uint32Var(&most, "max-calls", 0, "calls that he may make at once (0: as the setting call.max-per-user says)")
	c.RunE = func(c *cobra.Command, args []string) error {
		var change api.UserChange
		given(c, "identity", &identity, &change.Identity)
		given(c, "max-calls", &most, &change.MaxCalls)
		return a.changeUser(c, args[0], change, func(aor, user, domain string) error {
			if change.Identity != nil {
				if err := a.say("gateways that %s calls are told sip:%s@%s", aor, cmp.Or(identity, user), domain); err != nil {
					return err
				}
			}
			switch {
			case change.MaxCalls == nil:
				return nil
			case most == 0:
				return a.say("%s may make as many calls at once as the setting call.max-per-user says", aor)
			}
			return a.say("calls that %s may make at once: %d", aor, most)
		})
	}
	return c
}

func (a *app) userAliasCmd(verb, short, long, told string, put func(*api.UserChange, []string)) *cobra.Command {
	return &cobra.Command{
		Use: verb + " USER@DOMAIN ALIAS...", Short: short, Long: long,
		Example: "  holdline user alias " + verb + " 101@example.com +4930123456 alice",
		Args:    oneOrMore("USER@DOMAIN", "ALIAS"),
		RunE: func(c *cobra.Command, args []string) error {
			var change api.UserChange
			put(&change, args[1:])
			return a.changeUser(c, args[0], change, func(aor, _, _ string) error {
				return a.say("%s %s %s", strings.Join(args[1:], ", "), told, aor)
			})
		},
	}
}

// changeUser has a user changed, and then tells so.
func (a *app) changeUser(c *cobra.Command, who string, change api.UserChange, tell func(aor, user, domain string) error) error {
	aor, user, domain, err := api.ParseAoR(who)
	if err != nil {
		return err
	}
	if err := change.Validate(); err != nil {
		return err
	}
	return a.with(c, func(ctx context.Context, cl *api.Client) error {
		if err := cl.ChangeUser(ctx, aor, change); err != nil {
			return err
		}
		return tell(aor, user, domain)
	})
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
				t := newTable("USER", "REGISTERED", "ALIASES", "IDENTITY", "CALLS", "LIMIT")
				for _, u := range users {
					limit := "-"
					if u.MaxCalls > 0 {
						limit = fmt.Sprint(u.MaxCalls)
					}
					t.row(u.AoR, fmt.Sprint(u.Registered), orDash(strings.Join(u.Aliases, " ")), orDash(u.Identity), fmt.Sprint(u.Calls), limit)
				}
				return t.write(a.out)
			})
		})
	}
	return c
}
