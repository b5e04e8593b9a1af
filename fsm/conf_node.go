package fsm

import (
	"cmp"
	"net/netip"
	"slices"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// maxNumber bounds node and group numbers: they are one byte in branches and tokens.
const maxNumber = 255

// MaxNodes is how many nodes a cluster holds: as many as a guard takes (lease.MaxNodes).
const MaxNodes = 32

// putNode adds a node, or changes the one with this UUID. The number is given here and never used again.
func (x *exec) putNode(n *pb.Node) *pb.Result {
	c := &x.st.conf
	if n.GetUuid() == "" {
		return rejected("node %q has no UUID", n.GetName())
	}
	if e := nameError("node", n.Name); e != "" {
		return rejected("%s", e)
	}
	listen, err := netip.ParseAddrPort(n.Listen)
	if err != nil {
		return rejected("node %s: listen address %q is not IP:port", n.Name, n.Listen)
	}
	for _, o := range c.nodes {
		switch {
		case o.Uuid == n.Uuid:
		case o.Name == n.Name:
			return fail(pb.Code_EXISTS, "a node named %s exists already: choose another --name, or remove it first if it is gone for good", n.Name)
		case o.Listen == n.Listen:
			return fail(pb.Code_EXISTS, "node %s listens on %s already", o.Name, n.Listen)
		}
	}
	if g, _, ok := c.GroupByVIP(listen.Addr()); ok {
		return rejected("%s is a VIP of group %s and can't be the address of node %s", listen.Addr(), g.Name, n.Name)
	}
	n = proto.Clone(n).(*pb.Node)
	old := c.NodeByUUID(n.Uuid)
	if old != nil {
		n.Number = old.Number
	} else {
		if len(c.nodes) >= MaxNodes {
			return fail(pb.Code_LIMIT, "there are %d nodes, the most that a cluster holds: take one out first (holdline leave there, or holdline node remove)", len(c.nodes))
		}
		if x.st.meta.lastNode >= maxNumber {
			return fail(pb.Code_LIMIT, "all %d node numbers have been used", maxNumber)
		}
		x.st.meta.lastNode++
		n.Number = x.st.meta.lastNode
	}
	c.setNode(n)
	return &pb.Result{Id: uint64(n.Number), Existing: old != nil}
}

func (x *exec) removeNode(r *pb.RemoveNode) *pb.Result {
	c := &x.st.conf
	n := c.NodeByUUID(r.GetUuid())
	if n == nil {
		return notFound("no node has the UUID %s", r.GetUuid())
	}
	if len(c.nodes) == 1 {
		return rejected("%s is the only node", n.Name)
	}
	for _, g := range c.groups {
		if g.Owner == n.Uuid {
			return rejected("node %s owns VIP group %s: move it with `holdline vip move` first", n.Name, g.Name)
		}
	}
	delete(x.st.cdrs.cursors, NodeCursor(n.Uuid))
	for _, g := range slices.Clone(c.groups) { // its preferences go with it
		if g.HomeNode == n.Uuid {
			g = proto.Clone(g).(*pb.Group)
			g.HomeNode = ""
			c.setGroup(g)
		}
	}
	c.nodes = slices.DeleteFunc(slices.Clone(c.nodes), func(o *pb.Node) bool { return o == n })
	for _, s := range x.st.sessionsOf(n.Uuid) {
		x.st.dropSession(s)
	}
	c.changed()
	return okID(uint64(n.Number))
}

func (x *exec) setNodeState(s *pb.SetNodeState) *pb.Result {
	c := &x.st.conf
	n := c.NodeByUUID(s.GetUuid())
	if n == nil {
		return notFound("no node has the UUID %s", s.GetUuid())
	}
	old := n
	n = proto.Clone(n).(*pb.Node)
	if s.Voter != nil {
		n.Voter = *s.Voter
	}
	if s.Draining != nil {
		n.Draining = *s.Draining
	}
	if s.FeatureLevel != nil {
		n.FeatureLevel = *s.FeatureLevel
	}
	if s.Version != nil {
		n.Version = *s.Version
	}
	if proto.Equal(n, old) {
		return again(uint64(n.Number))
	}
	c.setNode(n)
	return okID(uint64(n.Number))
}

// setNode puts the row into the list, by number.
func (c *conf) setNode(n *pb.Node) {
	c.nodes = replaced(c.nodes, n, func(o *pb.Node) uint32 { return o.Number })
	c.changed()
}

// replaced returns a copy of a sorted list in which v took the place of the row with its key, or was put in.
func replaced[T any, K cmp.Ordered](list []T, v T, key func(T) K) []T {
	out := slices.Clone(list)
	i, found := slices.BinarySearchFunc(out, key(v), func(o T, k K) int { return cmp.Compare(key(o), k) })
	if found {
		out[i] = v
		return out
	}
	return slices.Insert(out, i, v)
}
