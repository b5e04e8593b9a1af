package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/fsm/pb"
)

// findGroup finds a group by name, number or one of its addresses.
func findGroup(cfg *fsm.Config, name string) (*pb.Group, error) {
	for _, g := range cfg.Groups() {
		if g.Name == name || strconv.FormatUint(uint64(g.Number), 10) == name {
			return g, nil
		}
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		if g, _, ok := cfg.GroupByVIP(addr); ok {
			return g, nil
		}
	} else if p, err := netip.ParsePrefix(name); err == nil {
		if g, _, ok := cfg.GroupByVIP(p.Addr()); ok {
			return g, nil
		}
	}
	return nil, api.Errorf(api.CodeNotFound, "no VIP group has the name, number or address %s: see `holdline vip list`", name)
}

// findNode finds a node by name or UUID; "" is this one.
func (e *engine) findNode(name string) (*pb.Node, error) {
	cfg := e.machine.Config()
	for _, n := range cfg.Nodes() {
		if n.Name == name || n.Uuid == name || name == "" && n.Uuid == e.UUID {
			return n, nil
		}
	}
	return nil, api.Errorf(api.CodeNotFound, "no node has the name or UUID %s: see `holdline status`", name)
}

// ListVIPs implements api.Backend.
func (n *Node) ListVIPs(context.Context) ([]api.Group, error) {
	e, err := n.member()
	if err != nil {
		return nil, err
	}
	return e.groupRows(), nil
}

// AddVIP implements api.Backend.
func (n *Node) AddVIP(ctx context.Context, r api.GroupSpec) (api.Group, error) {
	e, err := n.member()
	if err != nil {
		return api.Group{}, err
	}
	if err := taken(e.machine.Config(), r); err != nil {
		return api.Group{}, err
	}
	groups, err := n.checkGroups(ctx, []api.GroupSpec{r})
	if err != nil {
		return api.Group{}, err
	}
	var checks []api.Check
	if !n.opt.WithoutGuard {
		if checks, err = lengthChecks(vipsOf(groups)); err != nil {
			return api.Group{}, fmt.Errorf("add VIP group: %w", err)
		}
	}
	g := groups[0]
	if r.HomeNode != "" {
		home, err := e.findNode(r.HomeNode)
		if err != nil {
			return api.Group{}, err
		}
		g.HomeNode = home.Uuid
	} else {
		g.HomeNode = leastLoaded(e.machine.Config())
	}
	result, err := e.writeResult(ctx, &pb.Command{Op: &pb.Command_PutGroup{PutGroup: &pb.PutGroup{Group: g}}})
	if err != nil {
		return api.Group{}, err
	}
	e.waitOwned(ctx, uint32(result.Id))
	made, err := e.groupNow(uint32(result.Id))
	if r.HomeNode != "" {
		made, err = e.bringHome(ctx, uint32(result.Id))
	}
	made.Checks = checks
	return made, err
}

// bringHome moves a new group to its home: whoever has heard of it first has taken it. It is added in any case: that its home is away or drained, or does not take
// it, is no failure of that.
func (e *engine) bringHome(ctx context.Context, group uint32) (api.Group, error) {
	cfg := e.machine.Config()
	g := cfg.Group(group)
	home := cfg.NodeByUUID(g.GetHomeNode())
	if home == nil {
		return e.groupNow(group)
	}
	owner, _, _ := e.ownerOf(g)
	if owner == 0 || owner == home.Number {
		return e.groupNow(group)
	}
	_, err := e.moveTarget(cfg, g, owner, home.Name)
	if err == nil {
		_, err = e.awaitMove(ctx, g, home)
	}
	if err != nil {
		e.logger.Warn("a new VIP group is not with its home", "group", g.Name, "home", home.Name, "owner", e.name(owner), "err", err)
	}
	return e.groupNow(group)
}

// groupNow is a group as it is by now: another operator may have removed it.
func (e *engine) groupNow(group uint32) (api.Group, error) {
	g := e.machine.Config().Group(group)
	if g == nil {
		return api.Group{}, api.Errorf(api.CodeNotFound, "the VIP group has been removed meanwhile: see `holdline vip list`")
	}
	return e.groupRow(g), nil
}

// taken tells what an address is used for here already: the network would only say by whom.
func taken(cfg *fsm.Config, r api.GroupSpec) error {
	for _, v := range r.VIPs {
		p, err := netip.ParsePrefix(v.Prefix)
		if err != nil {
			continue // checkGroups says so
		}
		if g, _, ok := cfg.GroupByVIP(p.Addr()); ok {
			return api.Errorf(api.CodeExists, "VIP %s belongs to VIP group %s already: see `holdline vip list`", p.Addr(), g.Name)
		}
		for _, m := range membersOf(cfg.Nodes()) {
			if m.Listen.Addr() == p.Addr() {
				return api.Errorf(api.CodeInvalid, "%s is the address of node %s itself: a VIP must be one that nobody has", p.Addr(), m.Name)
			}
		}
	}
	return nil
}

// ownerless says that nobody has taken a group that there is.
func (e *engine) ownerless(group uint32) bool {
	g := e.machine.Config().Group(group)
	if g == nil {
		return false
	}
	owner, _, _ := e.ownerOf(g)
	return owner == 0
}

// waitOwned waits a moment until nodes have taken new groups. They are recorded in any case; status tells when nobody can.
func (e *engine) waitOwned(ctx context.Context, groups ...uint32) {
	if e.node.opt.WithoutGuard {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, commitPatience)
	defer cancel()
	for {
		if !slices.ContainsFunc(groups, e.ownerless) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// leastLoaded is the UUID of the node that is home of the fewest groups.
func leastLoaded(cfg *fsm.Config) string {
	homes := map[string]int{}
	for _, g := range cfg.Groups() {
		homes[g.HomeNode]++
	}
	best := ""
	for _, n := range cfg.Nodes() {
		if !n.Draining && (best == "" || homes[n.Uuid] < homes[best]) {
			best = n.Uuid
		}
	}
	return best
}

// RemoveVIP implements api.Backend.
func (n *Node) RemoveVIP(ctx context.Context, group string) error {
	e, err := n.member()
	if err != nil {
		return err
	}
	g, err := findGroup(e.machine.Config(), group)
	if err != nil {
		return err
	}
	return e.write(ctx, &pb.Command{Op: &pb.Command_RemoveGroup{RemoveGroup: &pb.RemoveGroup{Number: g.Number}}})
}
