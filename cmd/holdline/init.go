package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

// initAnswer is what init --json prints.
type initAnswer struct {
	api.InitAnswer
	Tokens []api.Token `json:"tokens"` // one per join line, the first is Token
}

func (a *app) initCmd() *cobra.Command {
	var r api.InitRequest
	var vips, advertise []string
	c := &cobra.Command{
		Use:   "init --name NAME --listen ADDRESS --vip ADDRESS/LENGTH",
		Short: "Make this node the first of a new cluster",
		Long: `Makes this node the first of a new cluster, with its certificate authority and VIP groups, and prints the lines that
join the others. Each line works once, for one hour.

Every --vip is a group of its own, best one per node; two addresses in one --vip, with a comma between, are one group
on two networks, which moves as one.`,
		Example: `  holdline init --name n1 --listen 10.77.0.11 --vip 10.77.0.101/24 --vip 10.77.0.102/24 --vip 10.77.0.103/24
  holdline init --name n1 --listen 10.77.0.11 --vip 10.77.0.101/24 --advertise 10.77.0.101=203.0.113.9`,
		Args: needs(),
	}
	c.Flags().StringArrayVar(&vips, "vip", nil, "floating address with its network's prefix length; repeat for more groups")
	c.Flags().StringArrayVar(&advertise, "advertise", nil, "VIP=PUBLIC: address that messages name instead, behind 1:1 NAT")
	a.nameAndListen(c, &r.Name, &r.Listen)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) (err error) {
		if err := a.placeFromConfig(c, &r.Name, &r.Listen); err != nil {
			return err
		}
		if r.Groups, err = groupsOf(vips, advertise); err != nil {
			return err
		}
		if err := r.Validate(); err != nil {
			return err
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			ans, err := cl.Init(ctx, r)
			if err != nil {
				return err
			}
			full := initAnswer{ans, a.moreTokens(ctx, cl, ans.Token, max(2, len(r.Groups)-1))}
			return a.print(*asJSON, full, func() error { return a.sayInit(r, full) })
		})
	}
	return c
}

// moreTokens makes tokens until there are n. The cluster exists by now: when one cannot be made, say so and go on.
func (a *app) moreTokens(ctx context.Context, cl *api.Client, first api.Token, n int) []api.Token {
	tokens := []api.Token{first}
	for len(tokens) < n {
		t, err := cl.CreateToken(ctx, api.TokenRequest{})
		if err != nil {
			fmt.Fprintf(a.err, "holdline: the cluster is made, a further join token is not: %v\n", err)
			break
		}
		tokens = append(tokens, t)
	}
	return tokens
}

func (a *app) sayInit(r api.InitRequest, ans initAnswer) error {
	a.warnOf(ans.Checks)
	var b strings.Builder
	fmt.Fprintf(&b, "%s is the first node of a new cluster", ans.Node.Name)
	for i, g := range r.Groups {
		b.WriteString([]string{", with ", ", "}[min(i, 1)] + addresses(g.VIPs))
	}
	b.WriteString("\njoin the others, each on its own box (each line works once, until " + ans.Token.Expires.Local().Format("15:04") + "):\n")
	for i, t := range ans.Tokens {
		fmt.Fprintf(&b, "  %s\n", joinLine(t.Token, fmt.Sprintf("n%d", i+2)))
	}
	b.WriteString("more lines: holdline token create")
	return a.say("%s", b.String())
}

// joinLine is what an operator types on the next box.
func joinLine(token, name string) string {
	return fmt.Sprintf("holdline join %s --name %s --listen ADDRESS", token, name)
}

// nameAndListen adds the two flags that init and join share.
func (a *app) nameAndListen(c *cobra.Command, name, listen *string) {
	c.Flags().StringVar(name, "name", "", "name of this node, unique in the cluster (default: name in the config file)")
	c.Flags().StringVar(listen, "listen", "", "IP address of this node for cluster traffic, with or without port (default: listen in the config file)")
}

// placeFromConfig fills in what the command line left out from the local file.
func (a *app) placeFromConfig(c *cobra.Command, name, listen *string) error {
	if *name == "" || *listen == "" {
		cfg, err := loadConfig(a.config)
		if err != nil {
			return err
		}
		if *name == "" {
			*name = cfg.Name
		}
		if *listen == "" {
			*listen = cfg.Listen
		}
	}
	return required(c, "name", "listen")
}
