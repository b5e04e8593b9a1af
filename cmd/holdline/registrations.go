package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) registrationsCmd() *cobra.Command {
	var f api.RegistrationFilter
	c := &cobra.Command{
		Use: "registrations", Short: "Registered contacts, cluster-wide",
		Example: "  holdline registrations --aor alice@example.com",
		Args:    needs(),
	}
	c.Flags().StringVar(&f.AoR, "aor", "", "only those of this user@domain")
	c.Flags().StringVar(&f.Domain, "domain", "", "only those of this domain")
	c.Flags().IntVar(&f.Limit, "limit", screenful, "at most so many; 0: all, which is the default with --json")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *asJSON && !c.Flags().Changed("limit") {
			f.Limit = 0 // a program wants the truth, not a screenful
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			regs, err := cl.ListRegistrations(ctx, f)
			if err != nil {
				return err
			}
			return a.print(*asJSON, regs, func() error {
				t := newTable("USER", "CONTACT", "REACHED AT", "OVER", "VIP", "EXPIRES", "PHONE")
				for _, r := range regs.Registrations {
					t.row(r.AoR, r.Contact, r.Remote, r.Transport, r.Group, short(time.Duration(r.ExpiresS)*time.Second), orDash(r.UserAgent))
				}
				if err := t.write(a.out); err != nil {
					return err
				}
				return a.rest(len(regs.Registrations), regs.Total, "registrations")
			})
		})
	}
	return c
}
