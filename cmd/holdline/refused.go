package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) refusedCmd() *cobra.Command {
	var f api.RefusalFilter
	c := &cobra.Command{
		Use: "refused", Short: "Requests that this box has refused lately, and why",
		Long: `Requests that this box itself has refused, the newest last: the last 1000 since its daemon was started, at most 100 of a second. They are kept
in its memory alone: each box has its own, and a restart empties it. Ask the box that owns the VIP which the phone or gateway talks to.

Not among them: challenges to requests without credentials, or with an old nonce, as is ordinary; and calls that have a record: see "holdline cdr".
Behind the status stands why: what its sender was not told, such as wrong password or unknown user, else what he was told. --json has both, times
are UTC.`,
		Example: `  holdline refused --aor alice@example.com
  holdline refused --from 10.77.0.31`,
		Args: needs(),
	}
	c.Flags().StringVar(&f.AoR, "aor", "", "only those that name this user@domain: in From, To or the Request-URI")
	c.Flags().StringVar(&f.From, "from", "", "only those from this address, or from a network such as 10.77.0.0/24")
	c.Flags().StringVar(&f.CallID, "call-id", "", "only those with this Call-ID")
	c.Flags().IntVar(&f.Limit, "limit", screenful, "at most so many, the newest; 0: all, which is the default with --json")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *asJSON && !c.Flags().Changed("limit") {
			f.Limit = 0 // a program wants the truth, not a screenful
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			r, err := cl.ListRefused(ctx, f)
			if err != nil {
				return err
			}
			return a.print(*asJSON, r, func() error { return a.writeRefused(r) })
		})
	}
	return c
}

func (a *app) writeRefused(r api.Refused) error {
	t := newTable("TIME", "SOURCE", "REQUEST", "FROM", "TO", "ANSWER")
	for i := range r.Refused {
		x := &r.Refused[i]
		to := x.URI
		if x.Method == "REGISTER" {
			to = x.To
		}
		t.row(x.Time.Format("01-02 15:04:05"), address(x.Source)+" "+x.Transport, orDash(x.Method), orDash(strings.TrimPrefix(x.From, "sip:")), orDash(strings.TrimPrefix(to, "sip:")), fmt.Sprint(x.Status, " ", cmp.Or(x.Why, x.Reason)))
	}
	if err := t.write(a.out); err != nil {
		return err
	}
	if err := a.rest(len(r.Refused), r.Total, "refused requests"); err != nil || r.LeftOut == 0 {
		return err
	}
	return a.say("%d more were refused and not written down: too many in a second", r.LeftOut)
}

// address is what is left of address and port without the port.
func address(s string) string {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().String()
	}
	return s
}
