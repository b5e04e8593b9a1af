package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

// screenful is how many rows calls and registrations show when nothing is said.
const screenful = 50

func (a *app) callsCmd() *cobra.Command {
	var f api.CallFilter
	c := &cobra.Command{
		Use: "calls", Short: "Calls being set up or established, cluster-wide",
		Long: `Shows the calls that go on. STATE "calling" is a call that has no answer yet, whether it rings or not; one that has rung
for long is "ringing"; "ending" is one that "holdline calls end" was given. AGE counts from the answer, before it from the beginning. VIA is the pool, and the gateway that answered.`,
		Args: needs(),
	}
	c.Flags().StringVar(&f.Domain, "domain", "", "only those of this domain")
	c.Flags().IntVar(&f.Limit, "limit", screenful, "at most so many; 0: all, which is the default with --json")
	count := c.Flags().Bool("count", false, "numbers only: in all, and by domain, pool member and user")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *count {
			return a.with(c, func(ctx context.Context, cl *api.Client) error { return a.countCalls(ctx, cl, *asJSON, f.Limit) })
		}
		if *asJSON && !c.Flags().Changed("limit") {
			f.Limit = 0 // a program wants the truth, not a screenful
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			calls, err := cl.ListCalls(ctx, f)
			if err != nil {
				return err
			}
			return a.print(*asJSON, calls, func() error { return a.writeCalls(calls, time.Now()) })
		})
	}
	c.AddCommand(a.callsEndCmd())
	return c
}

func (a *app) callsEndCmd() *cobra.Command {
	c := &cobra.Command{
		Use: "end NUMBER…", Short: "End calls: hang up on both sides",
		Long: `Ends calls, on whichever box they are; NUMBER is what "holdline calls" shows as CALL. An established call gets a BYE to both sides; of one
that is being set up the phones that ring get a CANCEL, and who calls gets 487. That begins within a second or so, also if the box that owns the
call fails meanwhile, and the call is over when both sides have answered: after half a minute if one is gone. Until then its STATE is "ending".
Its record says "operator".`,
		Example: `  holdline calls end 4711
  holdline calls --json | jq '.calls[] | select(.from == "sip:101@example.com") | .number' | xargs -r holdline calls end`,
		Args: oneOrMore("NUMBER"),
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		numbers := make([]uint64, len(args))
		for i, text := range args {
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				return &usageError{fmt.Sprintf("%s is no number of a call: see `holdline calls`", text)}
			}
			numbers[i] = n
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error { return a.endCalls(ctx, cl, numbers) })
	}
	return c
}

// endCalls ends all of the calls that are still there. Those that are not are an error in the end, one for all.
func (a *app) endCalls(ctx context.Context, cl *api.Client, numbers []uint64) error {
	var gone []string
	for _, n := range numbers {
		switch err := cl.EndCall(ctx, n); {
		case api.CodeOf(err) == api.CodeNotFound:
			gone = append(gone, err.Error())
		case err != nil:
			return err
		default:
			if err := a.say("call %d is being ended", n); err != nil {
				return err
			}
		}
	}
	if len(gone) > 0 {
		return api.Errorf(api.CodeNotFound, "%s", strings.Join(gone, "; "))
	}
	return nil
}

func (a *app) writeCalls(calls api.Calls, now time.Time) error {
	t := newTable("CALL", "STATE", "FROM", "TO", "VIA", "HOME", "AGE")
	for _, k := range calls.Calls {
		age := ago(k.Created, now)
		if !k.Answered.IsZero() {
			age = ago(k.Answered, now)
		}
		t.row(fmt.Sprint(k.Number), k.State, k.From, k.To, orDash(via(k)), k.Home, age)
	}
	if err := t.write(a.out); err != nil {
		return err
	}
	return a.rest(len(calls.Calls), calls.Total, "calls")
}

// via is the pool of a call, with the gateway that has answered, or that is called if only one has been.
func via(c api.Call) string {
	for _, l := range c.Legs {
		if l.Member != "" && (len(c.Legs) == 1 || l.State == "answered" || l.State == "confirmed") {
			return c.Pool + "/" + l.Member
		}
	}
	return c.Pool
}

// rest says how many rows there are beyond those shown.
func (a *app) rest(shown, total int, what string) error {
	if shown < total {
		return a.say("%d of %d %s shown: --limit 0 shows all", shown, total, what)
	}
	return a.say("%d %s", total, what)
}

// countCalls shows how many calls there are of what.
func (a *app) countCalls(ctx context.Context, cl *api.Client, asJSON bool, limit int) error {
	n, err := cl.CountCalls(ctx)
	if err != nil {
		return err
	}
	return a.print(asJSON, n, func() error {
		t := newTable("WHAT", "NAME", "CALLS")
		for _, part := range []struct {
			what string
			rows []api.CallCount
		}{{"domain", n.Domains}, {"member", n.Members}, {"user", n.Users}} {
			for i, r := range part.rows {
				if limit > 0 && i >= limit {
					break
				}
				t.row(part.what, r.Name, fmt.Sprint(r.Calls))
			}
		}
		if err := t.write(a.out); err != nil {
			return err
		}
		return a.say("%s", counted(n.Total, "call"))
	})
}
