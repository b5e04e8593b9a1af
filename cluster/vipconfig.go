package cluster

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/vip"
)

// Settings that the cluster keeps for itself, and those an operator may set.
const (
	settingLeaseVoters  = "lease.voters"  // see leaseVoters
	settingLeaving      = "node.leaving." // with the UUID of a node that is being removed: "yes"
	settingLeaseProfile = "lease.profile"
)

// leaseVoters is who votes in leases since a config epoch, and who did before: replicated as one value, changed one voter
// at a time.
type leaseVoters struct {
	epoch       uint64
	voters, old []uint32
}

func (l leaseVoters) String() string {
	return fmt.Sprintf("%d %s %s", l.epoch, joinNumbers(l.voters), joinNumbers(l.old))
}

func parseLeaseVoters(text string) (leaseVoters, bool) {
	var l leaseVoters
	f := strings.Fields(text)
	if len(f) != 3 {
		return l, false
	}
	var err error
	if l.epoch, err = strconv.ParseUint(f[0], 10, 64); err != nil {
		return l, false
	}
	var ok1, ok2 bool
	l.voters, ok1 = splitNumbers(f[1])
	l.old, ok2 = splitNumbers(f[2])
	return l, ok1 && ok2
}

func joinNumbers(numbers []uint32) string {
	var b strings.Builder
	for i, n := range numbers {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(uint64(n), 10))
	}
	return b.String()
}

func splitNumbers(text string) ([]uint32, bool) {
	var out []uint32
	for s := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return nil, false
		}
		out = append(out, uint32(n))
	}
	return out, true
}

// guardConfig derives what the guard must know from the replicated configuration; false: it is not complete yet.
func (e *engine) guardConfig(cfg *fsm.Config) (vip.Config, bool) {
	lease, ok := parseLeaseVoters(cfg.Setting(settingLeaseVoters, ""))
	if !ok {
		return vip.Config{}, false
	}
	c := vip.Config{
		Cluster: e.Cluster, Epoch: lease.epoch, Self: e.number.Load(), Port: e.Listen.Port() + guardPortOffset,
		Profile: vip.Profile(cfg.Setting(settingLeaseProfile, string(vip.Fast))),
		Forced:  cfg.Setting(settingLeaseForced, "") == strconv.FormatUint(lease.epoch, 10),
	}
	for _, n := range cfg.Nodes() {
		addr, err := netip.ParseAddrPort(n.Listen)
		if err != nil {
			return c, false
		}
		c.Nodes = append(c.Nodes, vip.Node{Number: n.Number, Name: n.Name, Addr: addr.Addr(), Voter: slices.Contains(lease.voters, n.Number)})
	}
	if cfg.Node(c.Self) == nil {
		return c, false
	}
	for _, k := range cfg.Keys(purposeGuard) {
		c.Keys = append(c.Keys, vip.Key{ID: k.Id, Secret: k.Secret})
	}
	leaving := leavingNodes(cfg)
	for _, g := range cfg.Groups() {
		group := vip.Group{Number: g.Number, Name: g.Name, Floor: g.Epoch, Candidates: candidates(cfg.Nodes(), g, leaving)}
		for _, v := range g.Vips {
			if p, err := netip.ParsePrefix(v.Prefix); err == nil {
				group.VIPs = append(group.VIPs, p)
			}
		}
		c.Groups = append(c.Groups, group)
	}
	return c, true
}

// candidates orders the nodes that may own a group: its home, then the others in an order that differs from group to group, so
// that a lost node's groups spread. Nodes that drain or leave own nothing.
func candidates(nodes []*pb.Node, g *pb.Group, leaving []string) []uint32 {
	var out []uint32
	for i := range nodes {
		n := nodes[(i+int(g.Number))%len(nodes)]
		switch {
		case n.Draining || slices.Contains(leaving, n.Uuid):
		case n.Uuid == g.HomeNode:
			out = slices.Insert(out, 0, n.Number)
		default:
			out = append(out, n.Number)
		}
	}
	return out
}

// leavingNodes returns the UUIDs of nodes that are being removed.
func leavingNodes(cfg *fsm.Config) []string {
	var out []string
	for name := range cfg.Settings() {
		if uuid, ok := strings.CutPrefix(name, settingLeaving); ok {
			out = append(out, uuid)
		}
	}
	slices.Sort(out)
	return out
}

func sameConfig(a, b *vip.Config) bool { return reflect.DeepEqual(a, b) }
