package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"holdline/cluster/api"
	"holdline/cluster/store"
	"holdline/vip"
)

// Limits of the checks of join and doctor.
const (
	clockWarn   = time.Second
	clockRefuse = 5 * time.Minute
	fsyncWarn   = 10 * time.Millisecond
	fsyncRefuse = 300 * time.Millisecond
	fsyncWrites = 48
)

// preflight measures this machine against what the cluster needs. It refuses what could not work, and reports the rest.
func (n *Node) preflight(ctx context.Context, listen netip.AddrPort, offer joinOffer, _ time.Time, way *wayBack) ([]api.Check, error) {
	var checks []api.Check
	clock, err := checkClock(time.Since(time.UnixMilli(offer.WallMs)))
	checks = append(checks, clock)
	if err != nil {
		return checks, err
	}
	if err := way.heard(); err != nil {
		return checks, err
	}
	checks = append(checks, api.Check{Name: "ports", Result: api.CheckOK, Detail: fmt.Sprintf("the cluster reaches %s over TCP and UDP", listen.Addr())})
	segment, err := n.checkSegment(ctx, offer.VIPs)
	checks = append(checks, segment...)
	if err != nil {
		return checks, err
	}
	var vips []netip.Prefix
	for _, v := range offer.VIPs {
		if p, err := netip.ParsePrefix(v.Prefix); err == nil { // checkSegment says so
			vips = append(vips, p)
		}
	}
	networks, err := n.networkChecks(listen.Addr(), vips)
	checks = append(checks, networks...)
	if err != nil {
		return checks, err
	}
	disk, err := n.checkDisk()
	return append(checks, disk), err
}

// mayGuard refuses to begin what cannot end well: without a guard a node does not start, and one that was let in already would be counted by the others. A guard
// that is a unit of its own, or runs by itself, has rights of its own.
func (n *Node) mayGuard() error {
	if n.opt.WithoutGuard || n.opt.GuardUnit != "" || vip.Runs(n.opt.RunDir) {
		return nil
	}
	if err := vip.MayHoldAddresses(); err != nil {
		return api.Errorf(api.CodeRefused, "no guard can be started here: %w", err)
	}
	return nil
}

func checkClock(off time.Duration) (api.Check, error) {
	c := api.Check{Name: "clock", Result: api.CheckOK, Detail: fmt.Sprintf("differs by %v from the cluster's", off.Round(time.Millisecond))}
	switch {
	case off.Abs() > clockRefuse:
		c.Result = api.CheckFail
		return c, api.Errorf(api.CodeRefused, "this machine's clock is %v off the cluster's: set it (chrony or ntpd), then run the same command again", off.Round(time.Second))
	case off.Abs() > clockWarn:
		c.Result, c.Advice = api.CheckWarn, "run chrony or ntpd: call records carry wall time"
	}
	return c, nil
}

// checkSegment makes sure that this machine is on the VIPs' networks: it has an address there, and whoever holds a VIP answers.
func (n *Node) checkSegment(ctx context.Context, vips []joinVIP) ([]api.Check, error) {
	if n.opt.WithoutGuard {
		return nil, nil
	}
	var checks []api.Check
	for _, v := range vips {
		p, err := netip.ParsePrefix(v.Prefix)
		if err != nil {
			return checks, fmt.Errorf("check VIP %s: %w", v.Prefix, err)
		}
		link, err := vip.InterfaceFor(p)
		if err != nil {
			return checks, api.Errorf(api.CodeRefused, "this machine has no interface in the network of VIP %s, so it could never take it over: give it an address there", p)
		}
		c := api.Check{Name: "segment " + p.Addr().String(), Result: api.CheckOK, Detail: "on " + link.Name}
		probe, cancel := context.WithTimeout(ctx, probeLimit)
		mac, answered, err := vip.InUse(probe, p)
		cancel()
		switch {
		case err != nil:
			c.Result, c.Detail = api.CheckWarn, "not asked: "+err.Error()
		case answered:
			c.Detail += ", its owner answers as " + mac.String()
		case v.Owned:
			c.Result = api.CheckWarn
			c.Detail += ", but its owner did not answer there"
			c.Advice = "see that this machine is on the same switch segment (VLAN) as the others"
		}
		checks = append(checks, c)
	}
	return checks, nil
}

func (n *Node) checkDisk() (api.Check, error) {
	p99, err := store.Probe(n.dir.path, fsyncWrites)
	// One hiccup of a disk that others use too says nothing: a disk is refused when it is slow every time.
	for again := 0; err == nil && p99 > fsyncRefuse && again < 2; again++ {
		var once time.Duration
		once, err = store.Probe(n.dir.path, fsyncWrites)
		p99 = min(p99, once)
	}
	if err != nil {
		return api.Check{Name: "fsync", Result: api.CheckFail, Detail: err.Error()}, err
	}
	c := api.Check{Name: "fsync", Result: api.CheckOK, Detail: fmt.Sprintf("p99 %v over %d writes to %s", p99.Round(10*time.Microsecond), fsyncWrites, n.dir.path)}
	switch {
	case p99 > fsyncRefuse:
		c.Result = api.CheckFail
		return c, api.Errorf(api.CodeRefused, "the disk under %s takes %v for a synced write, and every commit waits for it: use a local SSD", n.dir.path, p99.Round(time.Millisecond))
	case p99 > fsyncWarn:
		c.Result, c.Advice = api.CheckWarn, "every call setup waits for a synced write on two nodes: use an SSD with power-loss protection"
	}
	return c, nil
}
