package cluster

import (
	"maps"
	"strings"
	"testing"

	"holdline/cluster/api"
	"holdline/vip"
)

// whole is what a cluster of three looks like that works in all respects.
func whole(groups ...string) haView {
	three := []uint32{1, 2, 3}
	v := haView{voters: three, aliveVoters: three, writers: 3, leaseVoters: three, aliveLease: three, guards: 3, needGuards: true, leader: 1}
	for i, name := range groups {
		v.groups = append(v.groups, groupHolders{number: uint32(i + 1), name: name})
	}
	return v
}

// TestUnfitNodes: a loss that leaves a VIP group with nobody counts, whatever else is left.
func TestUnfitNodes(t *testing.T) {
	const noNet, noCable = "no interface has an address in 192.0.2.0/26", vip.NoCarrier + "eth1"
	for _, c := range []struct {
		name     string
		told     []map[uint32]string // by n1, n2, n3
		survives int
		advice   string   // of a cluster that survives none
		problems []string // what and what to do
	}{
		{name: "all fit, or are of a release that does not tell", told: []map[uint32]string{nil, nil, nil}, survives: 1},
		{
			name: "a cable is out", told: []map[uint32]string{nil, {2: noCable}, nil}, survives: 1,
			problems: []string{"node n2 cannot hold VIP border: no carrier on eth1 / check the cable of eth1 on n2, and its port at the switch"},
		},
		{
			name: "two are out, for different reasons", told: []map[uint32]string{nil, {2: noCable}, {2: noNet}},
			advice: "only n1 can hold VIP border, for n2 cannot: no carrier on eth1; n3 cannot: no interface has an address in 192.0.2.0/26",
			problems: []string{
				"node n2 cannot hold VIP border: no carrier on eth1 / check the cable of eth1 on n2, and its port at the switch",
				"node n3 cannot hold VIP border: no interface has an address in 192.0.2.0/26 / give an interface of n3 an address in that network",
			},
		},
		{
			name: "one cable, two groups", told: []map[uint32]string{nil, nil, {1: noCable, 2: noCable}}, survives: 1,
			problems: []string{"node n3 cannot hold VIP inside, border: no carrier on eth1 / check the cable of eth1 on n3, and its port at the switch"},
		},
		{
			name: "each fits one group only", told: []map[uint32]string{{1: noCable}, {2: noCable}, {2: noCable}},
			advice: "only n1 can hold VIP border, for n2 cannot: no carrier on eth1; n3 cannot: no carrier on eth1",
			problems: []string{
				"node n1 cannot hold VIP inside: no carrier on eth1 / check the cable of eth1 on n1, and its port at the switch",
				"node n2 cannot hold VIP border: no carrier on eth1 / check the cable of eth1 on n2, and its port at the switch",
				"node n3 cannot hold VIP border: no carrier on eth1 / check the cable of eth1 on n3, and its port at the switch",
			},
		},
		{name: "of a group that is gone", told: []map[uint32]string{nil, {9: noNet}, {9: noNet}}, survives: 1},
	} {
		v := whole("inside", "border")
		for i, unfit := range c.told {
			name := []string{"n1", "n2", "n3"}[i]
			v.couldHold(name, unfit)
			v.unfit = append(v.unfit, v.unfitOf(name, unfit)...)
		}
		if n := v.survives(); n != c.survives {
			t.Errorf("%s: survives %d", c.name, n)
		}
		if got := v.lostAdvice(); c.advice != "" && got != c.advice {
			t.Errorf("%s: advice %q", c.name, got)
		}
		var got []string
		for _, p := range v.problems() {
			got = append(got, p.What+" / "+p.Do)
		}
		if strings.Join(got, "\n") != strings.Join(c.problems, "\n") {
			t.Errorf("%s: problems\n%s", c.name, strings.Join(got, "\n"))
		}
	}

	v := whole("inside", "border")
	for _, name := range []string{"n1", "n2", "n3"} {
		v.couldHold(name, map[uint32]string{2: noCable})
		v.unfit = append(v.unfit, v.unfitOf(name, map[uint32]string{2: noCable})...)
	}
	if got := v.scarce(0); got != "nobody can hold VIP border, for n1 cannot: no carrier on eth1; n2 cannot: no carrier on eth1; n3 cannot: no carrier on eth1" {
		t.Errorf("with no node that fits: %s", got)
	}

	v = whole("border")
	v.couldHold("n1", nil)
	v.unfit = append(v.unfitOf("n2", map[uint32]string{1: noNet}), v.unfitOf("n3", map[uint32]string{1: noNet})...)
	v.aliveVoters, v.aliveLease, v.writers, v.dead = v.voters[:2], v.leaseVoters[:2], 2, []string{"n3"}
	if got := v.lostAdvice(); !strings.HasPrefix(got, "n3 does not answer") {
		t.Errorf("with no majority to spare: %s", got)
	}
}

// TestYesBut: three nodes survive one loss at most, whatever is mended; five survive two.
func TestYesBut(t *testing.T) {
	five := []uint32{1, 2, 3, 4, 5}
	for _, c := range []struct {
		voters   []uint32
		guards   int
		survives int
		want     string
	}{
		{five[:3], 2, 1, "yes, survives the loss of any 1 node, but node n3 is drained and takes no VIP"},
		{five[:3], 1, 0, ""},
		{five, 4, 2, "yes, survives the loss of any 2 nodes, but node n3 is drained and takes no VIP"},
		{five, 2, 1, "yes, survives the loss of any 1 node, but less than it could: node n3 is drained and takes no VIP"},
	} {
		v := haView{voters: c.voters, writers: len(c.voters), leaseVoters: c.voters, aliveLease: c.voters, guards: c.guards, needGuards: true, leader: 1, draining: []string{"n3"}}
		if n := v.survives(); n != c.survives {
			t.Errorf("%d nodes, %d of them not drained: survives %d, want %d", len(c.voters), c.guards, n, c.survives)
		}
		if got := v.yesBut(c.survives, v.problems()[0].What); c.survives > 0 && got != c.want {
			t.Errorf("%d nodes, %d of them not drained: %s", len(c.voters), c.guards, got)
		}
	}
	v := haView{draining: []string{"n2", "n3"}, voters: five[:3], leaseVoters: five[:3]}
	if got := v.lostAdvice(); got != "n2, n3 are drained: holdline undrain there when its work is done" {
		t.Error(got)
	}
}

// TestUnfitIsTold: what a guard tells of its groups goes to every node, and is forgotten with the guard.
func TestUnfitIsTold(t *testing.T) {
	l := newLab(t, 2)
	l.join(1, l.init())
	g, err := l.nodes[0].AddVIP(t.Context(), api.GroupSpec{Name: "border", VIPs: []api.VIP{{Prefix: "192.0.2.5/26"}}})
	if err != nil {
		t.Fatal(err)
	}
	e := l.nodes[0].engine.Load()
	number := e.number.Load()
	seen := func(what string, want map[string]string) {
		t.Helper()
		for i, n := range l.nodes {
			l.until(what, func() bool {
				s, err := n.Status(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, row := range s.Nodes {
					if row.Number == number {
						return maps.Equal(row.Unfit, want)
					}
				}
				t.Fatalf("n%d does not know n1", i+1)
				return false
			})
		}
	}
	seen("no guard has told anything", nil)
	e.guardEvent(vip.Unfit{Groups: map[uint32]string{g.Number: "no carrier on eth1", 99: "of a group that is gone"}})
	seen("n1 cannot hold it", map[string]string{"border": "no carrier on eth1"})
	other := l.nodes[1].engine.Load()
	cfg := other.machine.Config()
	if _, err := other.moveTarget(cfg, cfg.Group(g.Number), other.number.Load(), ""); err == nil {
		t.Error("it could be moved to somebody")
	}
	if _, err := other.moveTarget(cfg, cfg.Group(g.Number), 0, e.Name); err == nil || !strings.Contains(err.Error(), "could not serve VIP group border: no carrier on eth1") {
		t.Errorf("to n1: %v", err)
	}
	e.guardEvent(vip.Unfit{})
	seen("n1 can hold it", nil)
	if to, err := other.moveTarget(cfg, cfg.Group(g.Number), other.number.Load(), ""); err != nil || to.Name != e.Name {
		t.Errorf("to whom it may be moved: %v %v", to.GetName(), err)
	}
	e.guardEvent(vip.Unfit{Groups: map[uint32]string{g.Number: "no carrier on eth1"}})
	e.guardEvent(vip.Disconnected{})
	seen("the guard is gone", nil)
}
