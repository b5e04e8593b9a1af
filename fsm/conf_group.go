package fsm

import (
	"net/netip"
	"slices"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// maxVIPs bounds the addresses of a group: their index is one byte on the wire, and one per network is what they are for.
const maxVIPs = 16

// MaxGroups is how many VIP groups a cluster holds: as many as a guard takes (vip.MaxGroups). One more, and every guard would refuse each configuration
// from then on.
const MaxGroups = 64

// putGroup adds a VIP group (number 0), or changes the one with this number. Owner and epoch belong to Takeover.
func (x *exec) putGroup(g *pb.Group) *pb.Result {
	c := &x.st.conf
	if len(g.GetVips()) == 0 {
		return rejected("a VIP group needs at least one address")
	}
	if len(g.Vips) > maxVIPs {
		return fail(pb.Code_LIMIT, "a VIP group holds at most %d addresses", maxVIPs)
	}
	var old *pb.Group
	if g.Number != 0 {
		if old = c.Group(g.Number); old == nil {
			return notFound("VIP group %d does not exist", g.Number)
		}
	}
	if r := c.checkVIPs(g); r != nil {
		return r
	}
	g = proto.Clone(g).(*pb.Group)
	if g.Name == "" {
		g.Name = netip.MustParsePrefix(g.Vips[0].Prefix).Addr().String()
	}
	if e := nameError("VIP group", g.Name); e != "" {
		return rejected("%s", e)
	}
	for _, o := range c.groups {
		if o.Name == g.Name && o.Number != g.Number {
			return fail(pb.Code_EXISTS, "a VIP group named %s exists already", g.Name)
		}
	}
	if g.HomeNode != "" && c.NodeByUUID(g.HomeNode) == nil {
		return notFound("VIP group %s: no node has the UUID %s", g.Name, g.HomeNode)
	}
	g.Owner, g.Epoch, g.SinceWallMs = old.GetOwner(), old.GetEpoch(), old.GetSinceWallMs()
	if old == nil {
		if len(c.groups) >= MaxGroups {
			return fail(pb.Code_LIMIT, "there are %d VIP groups, the most that a cluster holds: remove one first (holdline vip remove)", len(c.groups))
		}
		if x.st.meta.lastGroup >= maxNumber {
			return fail(pb.Code_LIMIT, "all %d group numbers have been used", maxNumber)
		}
		x.st.meta.lastGroup++
		g.Number = x.st.meta.lastGroup
	}
	c.setGroup(g)
	c.changed()
	return &pb.Result{Id: uint64(g.Number), Existing: old != nil}
}

// checkVIPs refuses addresses that don't parse or serve something else already.
func (c *conf) checkVIPs(g *pb.Group) *pb.Result {
	seen := map[netip.Addr]bool{}
	claim := func(a netip.Addr) *pb.Result {
		if seen[a] {
			return rejected("%s is given twice", a)
		}
		seen[a] = true
		if o, _, ok := c.GroupByVIP(a); ok && o.Number != g.Number {
			return fail(pb.Code_EXISTS, "%s belongs to VIP group %s already", a, o.Name)
		}
		for _, n := range c.nodes {
			if l, err := netip.ParseAddrPort(n.Listen); err == nil && l.Addr() == a {
				return rejected("%s is the address node %s listens on and can't float", a, n.Name)
			}
		}
		return nil
	}
	for _, v := range g.Vips {
		p, err := netip.ParsePrefix(v.GetPrefix())
		if err != nil || p.Addr().IsUnspecified() || p.Addr().IsMulticast() || p.Addr().Is4In6() {
			return rejected("%q is not an address with its network, as in 192.0.2.10/24", v.GetPrefix())
		}
		if r := claim(p.Addr()); r != nil {
			return r
		}
		if v.Advertise == "" {
			continue
		}
		a, err := netip.ParseAddr(v.Advertise)
		if err != nil || a.Is4In6() {
			return rejected("%q is not an address to advertise for %s", v.Advertise, p.Addr())
		}
		if a != p.Addr() {
			if r := claim(a); r != nil {
				return r
			}
		}
	}
	return nil
}

func (x *exec) removeGroup(r *pb.RemoveGroup) *pb.Result {
	c := &x.st.conf
	g := c.Group(r.GetNumber())
	if g == nil {
		return notFound("VIP group %d does not exist", r.GetNumber())
	}
	if len(c.groups) == 1 {
		return rejected("%s is the only VIP group: add another first", g.Name)
	}
	for _, name := range sortedKeys(c.pools) {
		for _, m := range c.pools[name].Members {
			if m.Group == g.Number {
				return rejected("member %s of pool %s is called through VIP group %s: change it first", m.Name, m.Pool, g.Name)
			}
		}
	}
	if n := x.st.calls.activeOf(g.Number); n > 0 {
		return rejected("VIP group %s carries %d calls: remove it when they have ended", g.Name, n)
	}
	c.groups = slices.DeleteFunc(slices.Clone(c.groups), func(o *pb.Group) bool { return o == g })
	c.vips = vipTable(c.groups)
	c.changed()
	return okID(uint64(g.Number))
}

// takeover records a group's new owner and epoch; from here on commands of older epochs are refused.
func (x *exec) takeover(t *pb.Takeover) *pb.Result {
	c := &x.st.conf
	g := c.Group(t.GetGroup())
	switch {
	case g == nil:
		return notFound("VIP group %d does not exist", t.GetGroup())
	case t.Epoch == g.Epoch && t.Node == g.Owner && t.Epoch != 0:
		x.events = append(x.events, TakenOver{g.Number, g.Epoch, g.Owner})
		return again(uint64(g.Number))
	case t.Epoch <= g.Epoch:
		return fail(pb.Code_STALE_EPOCH, "VIP group %s was taken over with epoch %d, not before %d", g.Name, g.Epoch, t.Epoch)
	case c.NodeByUUID(t.Node) == nil:
		return notFound("take over VIP group %s: no node has the UUID %s", g.Name, t.Node)
	}
	g = proto.Clone(g).(*pb.Group)
	g.Owner, g.Epoch, g.SinceWallMs = t.Node, t.Epoch, x.wall
	c.setGroup(g)
	c.dirty = true // a new view, announced by TakenOver alone
	x.events = append(x.events, TakenOver{g.Number, g.Epoch, g.Owner})
	return okID(uint64(g.Number))
}

func (c *conf) setGroup(g *pb.Group) {
	c.groups = replaced(c.groups, g, func(o *pb.Group) uint32 { return o.Number })
	c.vips = vipTable(c.groups)
}

// vipTable indexes addresses, real and advertised.
func vipTable(groups []*pb.Group) map[netip.Addr]vipRef {
	t := map[netip.Addr]vipRef{}
	for _, g := range groups {
		for i, v := range g.Vips {
			if p, err := netip.ParsePrefix(v.Prefix); err == nil {
				t[p.Addr()] = vipRef{g, i}
			}
			if a, err := netip.ParseAddr(v.Advertise); err == nil {
				t[a] = vipRef{g, i}
			}
		}
	}
	return t
}
