package lab

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"holdline/deploy/lab/node"
)

// target is the node that the fault befalls.
type target struct {
	node   *node.Node
	leader bool
	vips   []netip.Addr // what it owned
	owners map[netip.Addr]string
}

// choose picks the node: the leader where the fault asks for it, else a VIP owner; the leader, if it is one, unless any will do.
func (c *cluster) choose(ctx context.Context, f trait, anyOwner bool, rng *rand.Rand) (target, error) {
	s, err := c.atRest(ctx)
	if err != nil {
		return target{}, err
	}
	leader, owners := s.Leader(), s.Owners()
	var names []string
	for _, owner := range owners {
		if owner != "" && !slices.Contains(names, owner) {
			names = append(names, owner)
		}
	}
	slices.Sort(names)
	name := leader
	if !f.leader && (anyOwner || !slices.Contains(names, leader)) {
		if len(names) == 0 {
			return target{}, fmt.Errorf("choose the node: no VIP has an owner")
		}
		name = names[rng.IntN(len(names))]
	}
	n := c.node(name)
	if n == nil {
		return target{}, fmt.Errorf("choose the node: status of %s names no leader that the lab knows (%q)", c.nodes[0].Name, name)
	}
	t := target{node: n, leader: name == leader, owners: owners}
	for _, v := range c.vips {
		if !f.none && (f.all || owners[v] == name) {
			t.vips = append(t.vips, v)
		}
	}
	return t, nil
}

// elsewhere counts the VIPs that are not where they were seen last.
func (c *cluster) elsewhere(ctx context.Context, seen map[string]string) (int, error) {
	s, err := c.nodes[0].Status(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, vip := range c.vips {
		if at, ok := seen[vip.String()]; ok && s.Owners()[vip] != at {
			n++
		}
	}
	return n, nil
}

// spread gives each node one VIP, by planned moves, so that every round begins alike.
func (c *cluster) spread(ctx context.Context) error {
	s, err := c.nodes[0].Status(ctx)
	if err != nil {
		return err
	}
	owners := s.Owners()
	for i, vip := range c.vips {
		if to := c.nodes[i].Name; owners[vip] != to {
			if _, err := c.nodes[0].CLI(ctx, "", "vip", "move", vip.String(), "--to", to); err != nil {
				return err
			}
		}
	}
	return c.nodes[0].Await(ctx, func(ctx context.Context) error {
		s, err := c.nodes[0].Status(ctx)
		if err != nil {
			return err
		}
		owners := s.Owners()
		for i, vip := range c.vips {
			if owners[vip] != c.nodes[i].Name {
				return fmt.Errorf("%v is with %q and not with %s", vip, owners[vip], c.nodes[i].Name)
			}
		}
		return s.Available(len(c.nodes), len(c.vips))
	})
}
