package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) memberAddCmd() *cobra.Command {
	var m api.Member
	c := &cobra.Command{
		Use: "add POOL NAME --address HOST[:PORT]", Short: "Add a gateway to a pool",
		Long: `Adds a gateway. Requests from its sources are trusted without a password and routed by the domain they name; without
--source that is its own address. Give a gateway with a host name its networks: it cannot be told from a stranger else, neither
when it calls nor when somebody in a call wants to reach it.

A carrier that knows us by a user name gets it with --user; the password is read from standard input, stored sealed, and never shown. With
--register the owner of the VIP group named by --vip keeps it told where to call (REGISTER).`,
		Example: `  holdline pool member add carriers gw1 --address 10.77.0.22:5080 --source 10.77.0.0/28
  echo "$password" | holdline pool member add carriers gw2 --address sip.carrier.example --user 4930123456 --password-stdin --register --vip 10.77.0.101`,
		Args: needs("POOL", "NAME"), ValidArgsFunction: a.complete(poolNames),
	}
	stdin := memberFlags(c, &m)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := required(c, "address"); err != nil {
			return err
		}
		m.Name = args[1]
		if err := a.memberPassword(*stdin || m.User != "", *stdin, &m); err != nil {
			return err
		}
		if err := m.ValidateNew(); err != nil {
			return err
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			if err := cl.AddMember(ctx, args[0], m); err != nil {
				return err
			}
			return a.say("member %s added to pool %s", m.Name, args[0])
		})
	}
	return c
}

func (a *app) memberSetCmd() *cobra.Command {
	var m api.Member
	c := &cobra.Command{
		Use: "set POOL NAME", Short: "Change a gateway; what is not given stays as it is",
		Long: `Changes a gateway. Calls that it has go on as they are. With --disabled it gets no new ones, and may still call: for maintenance, wait
until "holdline pool member list" shows no CALLS. --disabled=false puts it back. --user '' takes user, password and registration away.`,
		Example: `  holdline pool member set carriers gw1 --disabled
  holdline pool member set carriers gw1 --address 10.77.0.24:5080 --disabled=false`,
		Args: needs("POOL", "NAME"), ValidArgsFunction: a.complete(poolNames),
	}
	stdin := memberFlags(c, &m)
	c.Flags().BoolVar(&m.Disabled, "disabled", false, "no new calls for it")
	c.RunE = func(c *cobra.Command, args []string) error {
		var change api.MemberChange
		given(c, "address", &m.Address, &change.Address)
		given(c, "source", &m.Sources, &change.Sources)
		given(c, "weight", &m.Weight, &change.Weight)
		given(c, "max-calls", &m.MaxCalls, &change.MaxCalls)
		given(c, "transport", &m.Transport, &change.Transport)
		given(c, "large-over-tcp", &m.LargeOverTCP, &change.LargeOverTCP)
		given(c, "vip", &m.Group, &change.Group)
		given(c, "disabled", &m.Disabled, &change.Disabled)
		given(c, "user", &m.User, &change.User)
		given(c, "realm", &m.Realm, &change.Realm)
		given(c, "register", &m.Register, &change.Register)
		given(c, "register-expires", &m.RegisterS, &change.RegisterS)
		if err := a.memberPassword(*stdin, true, &m); err != nil {
			return err
		}
		if *stdin {
			change.Password = &m.Password
		}
		if err := change.Validate(); err != nil {
			return err
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			if err := cl.SetMember(ctx, args[0], args[1], change); err != nil {
				return err
			}
			if m.Disabled {
				return a.say("member %s of pool %s gets no new calls; those that it has go on", args[1], args[0])
			}
			return a.say("member %s of pool %s changed", args[1], args[0])
		})
	}
	return c
}

// given passes a flag's value on if it was given.
func given[T any](c *cobra.Command, flag string, value *T, to **T) {
	if c.Flags().Changed(flag) {
		*to = value
	}
}

// memberPassword reads the password of a gateway's user, if there is one to read, from standard input or at a terminal.
func (a *app) memberPassword(wanted, fromStdin bool, m *api.Member) (err error) {
	if wanted {
		m.Password, err = a.password(fromStdin)
	}
	return err
}

// memberFlags adds what a gateway has; stdin is whether its password is to be read.
func memberFlags(c *cobra.Command, m *api.Member) (stdin *bool) {
	c.Flags().StringVar(&m.Address, "address", "", "IP address or host name, with or without port (5060)")
	c.Flags().StringArrayVar(&m.Sources, "source", nil, "network its requests come from; may be repeated")
	c.Flags().Uint32Var(&m.Weight, "weight", 0, "share of calls with the weighted algorithm (default 1)")
	c.Flags().Uint32Var(&m.MaxCalls, "max-calls", 0, "limit over the whole cluster (0: none)")
	c.Flags().StringVar(&m.Transport, "transport", "udp", "udp, tcp or tls")
	c.Flags().BoolVar(&m.LargeOverTCP, "large-over-tcp", false, "send requests of more than 1300 bytes over TCP (with --transport udp)")
	c.Flags().StringVar(&m.Group, "vip", "", "VIP group it is called through, or one address of a group of several (default: the call's own group)")
	c.Flags().StringVar(&m.User, "user", "", "user name that it knows us by, with a password")
	c.Flags().StringVar(&m.Realm, "realm", "", "the only realm that the password is for, if others may ask through it (default: whichever it asks with)")
	c.Flags().BoolVar(&m.Register, "register", false, "register with it as this user; its calls come in at the VIP of --vip")
	c.Flags().Uint32Var(&m.RegisterS, "register-expires", 0, "how long a registration is to last, in seconds (default 3600)")
	return c.Flags().Bool("password-stdin", false, "read the user's password from the first line of standard input")
}

func (a *app) memberRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use: "remove POOL NAME", Short: "Remove a gateway from a pool; its calls go on",
		Args: needs("POOL", "NAME"), ValidArgsFunction: a.complete(poolNames),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, func(ctx context.Context, cl *api.Client) error {
				if err := cl.RemoveMember(ctx, args[0], args[1]); err != nil {
					return err
				}
				return a.say("member %s removed from pool %s", args[1], args[0])
			})
		},
	}
}

func (a *app) memberListCmd() *cobra.Command {
	c := &cobra.Command{
		Use: "list [POOL]", Short: "List the gateways of a pool, or of all",
		Args: atMost("POOL"), ValidArgsFunction: a.complete(poolNames),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			pools, err := cl.ListPools(ctx)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				if pools, err = onlyPool(pools, args[0]); err != nil {
					return err
				}
			}
			return a.print(*asJSON, pools, func() error { return memberTable(pools).write(a.out) })
		})
	}
	return c
}

func onlyPool(pools []api.Pool, name string) ([]api.Pool, error) {
	for _, p := range pools {
		if p.Name == name {
			return []api.Pool{p}, nil
		}
	}
	return nil, api.Errorf(api.CodeNotFound, "pool %s does not exist: see `holdline pool list`", name)
}

// memberState is how a gateway looks from this node, and how fast it answers.
func memberState(m *api.Member) string {
	if m.Disabled {
		return "disabled"
	}
	if m.State == api.MemberUp && m.AnswerMs > 0 {
		return fmt.Sprintf("%s (%.3g ms)", m.State, m.AnswerMs)
	}
	return orDash(m.State)
}

// registrationText is how our registration with a gateway stands.
func registrationText(r *api.MemberRegistration) string {
	switch {
	case r == nil:
		return "-"
	case r.Registered && r.Problem != "":
		return "until " + r.Until.Local().Format(time.TimeOnly) + ", then none: " + r.Problem
	case r.Registered:
		return "until " + r.Until.Local().Format(time.TimeOnly)
	case r.Problem != "":
		return "none: " + r.Problem
	}
	return "none yet"
}

func memberTable(pools []api.Pool) *table {
	head := []string{"POOL", "MEMBER", "ADDRESS", "TRANSPORT", "SOURCES", "WEIGHT", "CALLS", "LIMIT", "VIP", "STATE"}
	accounts := slices.ContainsFunc(pools, func(p api.Pool) bool {
		return slices.ContainsFunc(p.Members, func(m api.Member) bool { return m.User != "" })
	})
	if accounts {
		head = append(head, "USER", "REGISTRATION")
	}
	t := newTable(head...)
	for _, p := range pools {
		for _, m := range p.Members {
			limit := "-"
			if m.MaxCalls > 0 {
				limit = fmt.Sprint(m.MaxCalls)
			}
			row := []string{p.Name, m.Name, m.Address, m.Transport, orDash(strings.Join(m.Sources, " ")), fmt.Sprint(max(m.Weight, 1)), fmt.Sprint(m.Calls), limit, orDash(m.Group), memberState(&m)}
			if accounts {
				row = append(row, orDash(m.User), registrationText(m.Registration))
			}
			t.row(row...)
		}
	}
	return t
}
