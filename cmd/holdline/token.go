package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) tokenCmd() *cobra.Command {
	return noun("token", "Tokens that let a node join", a.tokenCreateCmd())
}

func (a *app) tokenCreateCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "create",
		Short: "Print a line that joins one node, once",
		Args:  needs(),
	}
	valid := c.Flags().Duration("valid", time.Hour, "how long the token may be used, at most 168h")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *valid < time.Second {
			return &usageError{"--valid is less than a second: give a time such as 30m"}
		}
		r := api.TokenRequest{ValidSeconds: int(valid.Seconds())}
		if err := r.Validate(); err != nil {
			return err
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			t, err := cl.CreateToken(ctx, r)
			if err != nil {
				return err
			}
			return a.print(*asJSON, t, func() error {
				return a.say("%s\nworks once, until %s", joinLine(t.Token, "NAME"), t.Expires.Local().Format("2006-01-02 15:04:05 MST"))
			})
		})
	}
	return c
}
