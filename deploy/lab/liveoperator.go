package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"holdline/cluster/api"
	"holdline/deploy/lab/probe"
)

// choose picks the node whose cable is to be pulled, and checks that the drill can be carried out at all.
func (l *live) choose(local func(netip.Addr) bool) error {
	s := l.status
	if s.HA.Level != api.HAYes {
		return fmt.Errorf("HA: %s: pulling a cable now would cost calls; mend that first, see `holdline status`", s.HA.Summary)
	}
	owners := ownersOf(s)
	here := func(n api.Node) bool {
		a, err := netip.ParseAddrPort(n.Listen)
		return err == nil && local(a.Addr())
	}
	for _, n := range s.Nodes {
		owns := slices.ContainsFunc(l.vips, func(v netip.Addr) bool { return owners[v] == n.Name })
		switch {
		case n.Name == l.o.Node && here(n):
			return fmt.Errorf("node %s is this machine, and the phones would lose their network with it: choose another with --node, or run the drill elsewhere", n.Name)
		case n.Name == l.o.Node && !owns:
			return fmt.Errorf("node %s owns no VIP that can be reached from here: choose another with --node, or give it one with `holdline vip move`", n.Name)
		case n.Name == l.o.Node, l.o.Node == "" && owns && !here(n) && (l.victim == "" || n.Leader):
			l.victim = n.Name
		}
	}
	switch {
	case l.o.Node != "" && l.victim == "":
		return fmt.Errorf("there is no node %q: see `holdline node list`", l.o.Node)
	case l.victim == "":
		return fmt.Errorf("no other machine than this one owns a VIP: run the drill elsewhere, or move one with `holdline vip move`")
	}
	l.target = target{owners: owners}
	for _, n := range s.Nodes {
		l.target.leader = l.target.leader || n.Name == l.victim && n.Leader
	}
	for _, v := range l.vips {
		if owners[v] == l.victim {
			l.target.vips = append(l.target.vips, v)
		}
	}
	l.out.Node, l.out.Leader = l.victim, l.target.leader
	return nil
}

// ownersOf maps each IPv4 VIP to the name of its owner.
func ownersOf(s api.Status) map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for _, g := range s.VIPs {
		for _, v := range g.VIPs {
			if p, err := netip.ParsePrefix(v.Prefix); err == nil && p.Addr().Is4() {
				out[p.Addr()] = g.Owner
			}
		}
	}
	return out
}

func stateOf(s api.Status, node string) string {
	for _, n := range s.Nodes {
		if n.Name == node {
			return n.State
		}
	}
	return "no member"
}

// awaitPull waits until the cluster has noticed that the node is gone.
func (l *live) awaitPull(ctx context.Context) error {
	other := ""
	err := l.watch(ctx, l.o.Wait, func(s api.Status) bool {
		owners := ownersOf(s)
		for _, v := range l.target.vips {
			if to := owners[v]; to != "" && to != l.victim {
				return true
			}
		}
		for _, n := range s.Nodes {
			if n.Name != l.victim && n.State == api.NodeDead && n.Name != other {
				other = n.Name
				l.say("%s has gone, and not %s: plug it in again first", n.Name, l.victim)
			}
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("nothing happened to %s: %w", l.victim, err)
	}
	l.faultAt = l.lastAnswerBeforeGap()
	l.world.SetFault(l.faultAt)
	return nil
}

// awaitGone waits until the status says that the node has gone: only then can it be seen to come back.
func (l *live) awaitGone(ctx context.Context) error {
	var last api.Status
	err := l.watch(ctx, liveNotice, func(s api.Status) bool {
		last = s
		return s.HA.Level != api.HAYes && stateOf(s, l.victim) != api.NodeAlive
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		l.warn("status on %s said %q of a cluster without %s for %v", l.status.Node, "HA: "+last.HA.Summary, l.victim, liveNotice)
	}
	l.say("%s is gone; HA: %s", l.victim, last.HA.Summary)
	owners := ownersOf(last)
	for _, v := range l.target.vips {
		l.say("%v is with %s now", v, owners[v])
	}
	return nil
}

// lastAnswerBeforeGap is when the fault was, as far as can be seen from here: the sending of the last OPTIONS that was answered before the
// longest silence of the moved VIPs in the last seconds.
func (l *live) lastAnswerBeforeGap() time.Time {
	now := time.Now()
	best := probe.Gap{Start: now}
	for i, v := range l.vips {
		if !slices.Contains(l.target.vips, v) {
			continue
		}
		asked := l.probes.Since(i, now.Add(-liveSlack))
		if len(asked) == 0 {
			continue
		}
		if g := probe.Measure(asked, asked[0].Sent, now); g.Longest > best.Longest {
			best = g
		}
	}
	return best.Start
}

// awaitPlug waits until the node is back and every node is well, and measures how long that took from the first sign of it.
func (l *live) awaitPlug(ctx context.Context) error {
	var back time.Time
	err := l.watch(ctx, l.o.Wait, func(s api.Status) bool {
		if back.IsZero() && stateOf(s, l.victim) == api.NodeAlive {
			back = time.Now()
			l.say("%s is back", l.victim)
		}
		return !back.IsZero() && s.HA.Level == api.HAYes
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		l.out.RejoinS = -1
		l.why("not highly available again: %v", err)
		return nil
	}
	l.wholeAt = time.Now()
	l.out.RejoinS = l.wholeAt.Sub(back).Seconds()
	l.say("highly available again %.1f s after %s was heard", l.out.RejoinS, l.victim)
	return sleep(ctx, afterwards)
}

// watch looks at the status until it is as wanted, or time is up.
func (l *live) watch(ctx context.Context, most time.Duration, wanted func(api.Status) bool) error {
	limited, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("waited for %v in vain", most))
	defer cancel()
	tick := time.NewTicker(liveAsk)
	defer tick.Stop()
	for {
		s, err := l.cluster.Status(limited)
		if err == nil && wanted(s) {
			return nil
		}
		select {
		case <-tick.C:
		case <-limited.Done():
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("%w; the daemon's last word: %w", context.Cause(limited), err)
			}
			return context.Cause(limited)
		}
	}
}
