package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

// cdrOptions are the flags of `holdline cdr`.
type cdrOptions struct {
	since            uint64
	limit            int
	consumer         string
	follow, forget   bool
	asJSON, sinceSet bool
}

func (a *app) cdrCmd() *cobra.Command {
	var o cdrOptions
	c := &cobra.Command{
		Use: "cdr", Short: "Call detail records, cluster-wide",
		Long: `Call detail records of calls that are over: exactly one per call that was let in ("holdline refused" shows the others), numbered 1, 2, 3… the same on every node. Without --since and
--consumer the latest are shown. A cursor is the number of the last record taken: what the answer calls "next".

With --consumer the cluster remembers how far that consumer is: it begins there and moves its cursor when the records have been
written to stdout. Records are kept for consumers within the settings cdr.max-rows and cdr.retention. The first time, give --since
0 (or any number) with it: that makes the consumer.

With --follow it goes on over a restart of the daemon and while there is no raft leader: it says so once and tries again each second. No record is
lost or shown twice by that.`,
		Example: `  holdline cdr
  holdline cdr --since 1200 --limit 100 --json
  holdline cdr --consumer billing --since 0 --follow --json`,
		Args: needs(),
	}
	c.Flags().Uint64Var(&o.since, "since", 0, "those after this number")
	c.Flags().IntVar(&o.limit, "limit", screenful, "at most so many; 0: all, which is the default with --json, --follow or --consumer")
	c.Flags().BoolVar(&o.follow, "follow", false, "go on with those that come; with --json one per line")
	c.Flags().StringVar(&o.consumer, "consumer", "", "begin at this consumer's cursor and move it")
	c.Flags().BoolVar(&o.forget, "forget", false, "forget the consumer: none are kept for it any more")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		o.asJSON, o.sinceSet = *asJSON, c.Flags().Changed("since")
		if o.limit < 0 {
			return &usageError{"--limit is 0 or more"}
		}
		if (o.asJSON || o.follow || o.consumer != "") && !c.Flags().Changed("limit") {
			o.limit = 0
		}
		if o.forget {
			if err := required(c, "consumer"); err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, cl *api.Client) error { return cl.RemoveCDRConsumer(ctx, o.consumer) })
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			err := a.cdrs(ctx, cl, &o)
			if o.follow && ctx.Err() != nil {
				return nil // interrupted, as a follower ends: what was written and not acknowledged comes again
			}
			return err
		})
	}
	return c
}

// cdrs shows records: one answer, or for as long as there are more and, following, until it is interrupted.
func (a *app) cdrs(ctx context.Context, cl *api.Client, o *cdrOptions) error {
	f := api.CDRFilter{Since: o.since, Consumer: o.consumer, Latest: !o.sinceSet && o.consumer == ""}
	acknowledge := func(upTo uint64) error {
		return a.whilePassing(ctx, o.follow, func() error { return cl.AcknowledgeCDRs(ctx, o.consumer, upTo) })
	}
	if o.consumer != "" && o.sinceSet {
		if err := acknowledge(o.since); err != nil {
			return err
		}
	}
	all := api.CDRs{CDRs: []api.CDR{}}
	shown := 0
	for {
		f.Limit = api.MaxCDRs
		if o.limit > 0 {
			f.Limit = min(o.limit-shown, api.MaxCDRs)
		}
		var r api.CDRs
		err := a.whilePassing(ctx, o.follow, func() (err error) {
			r, err = cl.ListCDRs(ctx, f)
			return err
		})
		if err != nil {
			return err
		}
		if r.Missed > 0 && !f.Latest {
			fmt.Fprintf(a.err, "holdline: %d records before the next have gone: the files of the nodes may have them\n", r.Missed)
		}
		if err := a.writeCDRs(o, &r, shown == 0); err != nil {
			return err
		}
		if o.consumer != "" && len(r.CDRs) > 0 && (o.follow || !o.asJSON) {
			if err := acknowledge(r.Next); err != nil {
				return err
			}
		}
		shown += len(r.CDRs)
		all.Last, all.Next, all.Missed = r.Last, r.Next, all.Missed+r.Missed
		if o.asJSON && !o.follow {
			all.CDRs = append(all.CDRs, r.CDRs...)
		}
		if o.limit > 0 && shown >= o.limit || !o.follow && len(r.CDRs) < f.Limit {
			break
		}
		f.Latest, f.Consumer, f.Since = false, "", r.Next
		if o.follow {
			f.WaitS = api.MaxCDRWait
		}
	}
	if f.Latest && shown == 0 && all.Last > 0 && !o.asJSON {
		fmt.Fprintf(a.err, "holdline: the records up to %d have been taken by every consumer, or are too old: the nodes' files have them (directory cdr among their data)\n", all.Last)
	}
	if !o.asJSON || o.follow {
		return nil
	}
	if err := a.print(true, all, nil); err != nil || o.consumer == "" || len(all.CDRs) == 0 {
		return err
	}
	return acknowledge(all.Next)
}

// followRetry is how long a follower waits before it asks again what could not be answered.
const followRetry = time.Second

// whilePassing asks the daemon. Following, what fails for a while only (the daemon is restarted, there is no raft leader) is asked again until it
// succeeds or ctx ends, and said once. Whatever is asked so may be asked twice: where the cursor stands is known here, and acknowledging is setting it.
func (a *app) whilePassing(ctx context.Context, follow bool, ask func() error) error {
	for told := false; ; told = true {
		err := ask()
		if code := api.CodeOf(err); !follow || ctx.Err() != nil || code != api.CodeUnavailable && code != api.CodeInternal {
			return err
		}
		if !told {
			fmt.Fprintf(a.err, "holdline: %v (trying again each second)\n", err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(followRetry):
		}
	}
}

// writeCDRs writes what can be written at once: lines of JSON when following, else a table.
func (a *app) writeCDRs(o *cdrOptions, r *api.CDRs, first bool) error {
	if o.asJSON {
		if !o.follow {
			return nil
		}
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		for i := range r.CDRs {
			if err := e.Encode(&r.CDRs[i]); err != nil {
				return fmt.Errorf("writing to stdout: %w", err)
			}
		}
		return nil
	}
	if len(r.CDRs) == 0 && (o.follow || !first) {
		return nil
	}
	t := newTable("CDR", "ENDED", "FROM", "TO", "TALKED", "STATUS", "CAUSE")
	for i := range r.CDRs {
		k := &r.CDRs[i]
		talked := "-"
		if !k.Answered.IsZero() {
			talked = short(time.Duration(k.DurationMs) * time.Millisecond)
		}
		t.row(fmt.Sprint(k.Number), k.Ended.Format(time.DateTime), strings.TrimPrefix(k.From, "sip:"), strings.TrimPrefix(k.To, "sip:"), talked, fmt.Sprint(k.Status), k.Cause)
	}
	return t.write(a.out)
}
