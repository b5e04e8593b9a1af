package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"holdline/deploy/lab/faults"
	"holdline/deploy/lab/node"
	"holdline/deploy/lab/scenario"
)

// agree compares what the nodes have with what the phones saw, and with one another.
func (s *suite) agree(ctx context.Context, a *act, out *Case) {
	for _, c := range a.calls {
		for _, id := range c.CallIDs() {
			s.known[id] = true
		}
	}
	err := s.bounded(ctx, agreeTime, func(ctx context.Context) error {
		return s.cluster.nodes[0].Await(ctx, func(ctx context.Context) error { return errors.Join(s.equal(ctx), s.recorded(ctx, a)) })
	})
	if err == nil {
		err = s.bounded(ctx, checksumTime, s.sameState)
	}
	if err != nil && ctx.Err() == nil {
		out.why("%v after the cluster was whole: %v", agreeTime, err)
	}
	// What has been complained of once is not to be again after every case to come.
	if last, e := s.cluster.nodes[0].CDRs(ctx, s.cdrs); e == nil && len(last) > 0 {
		s.cdrs = last[len(last)-1].Number
	}
}

// equal compares what the CLI lists: the phones' registrations, and each other's tables.
func (s *suite) equal(ctx context.Context) error {
	var first node.Tables
	for i, n := range s.cluster.nodes {
		t, err := n.Tables(ctx)
		if err != nil {
			return err
		}
		for _, p := range s.phones {
			if !slices.ContainsFunc(t.Registrations, func(r node.Registration) bool { return r.AoR == p.AoR() && scenario.ContactIs(r.Contact, p) }) {
				return fmt.Errorf("%s does not list %s with its contact", n.Name, p.AoR())
			}
		}
		if len(t.Calls) > 0 {
			return fmt.Errorf("%s still has %d calls, of which the first is %s; all have ended", n.Name, len(t.Calls), t.Calls[0])
		}
		if i == 0 {
			first = t
		} else if diff := first.Differs(t); diff != "" {
			return fmt.Errorf("%s and %s differ: %s", s.cluster.nodes[0].Name, n.Name, diff)
		}
	}
	return nil
}

// recorded compares the detail records that each node has with the calls that the phones saw: one record a call, two of one that was diverted, and of no other.
func (s *suite) recorded(ctx context.Context, a *act) error {
	var errs []error
	for _, n := range s.cluster.nodes {
		list, err := n.CDRs(ctx, s.cdrs)
		if err != nil {
			return err
		}
		by := map[string][]node.CDR{}
		for _, c := range list {
			by[c.CallID] = append(by[c.CallID], c)
			if !s.known[c.CallID] {
				errs = append(errs, fmt.Errorf("%s has a detail record of a call that no phone made: %+v", n.Name, c))
			}
		}
		for i, c := range a.calls {
			if o, ok := c.Outcome(); ok {
				if err := matches(o, by[o.CallID]); err != nil {
					errs = append(errs, fmt.Errorf("%s, call %d: %w", n.Name, i+1, err))
				}
			}
		}
	}
	return errors.Join(errs...)
}

func matches(o faults.Outcome, records []node.CDR) error {
	if len(records) != o.Records {
		return fmt.Errorf("the phones saw one call end (%s, %d); there are %d detail records of it", o.Cause, o.Status, len(records))
	}
	for _, r := range records {
		if r.Cause != o.Cause || r.Status != o.Status {
			return fmt.Errorf("the phones saw the call end by %s with %d; its detail record says %s with %d", o.Cause, o.Status, r.Cause, r.Status)
		}
	}
	return nil
}

// sameState has the nodes add up their whole state at one log entry.
func (s *suite) sameState(ctx context.Context) error {
	return s.cluster.nodes[0].Await(ctx, s.cluster.nodes[0].SameState)
}
