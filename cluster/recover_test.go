package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdline/cluster/api"
	"holdline/vip"
)

// Two of three boxes are burnt: the third goes on alone with all it had, and two new ones join it.
func TestRecoverTheLastOfThree(t *testing.T) {
	l := newLab(t, 5)
	l.join(1, l.init())
	l.vip()
	l.join(2, l.token())
	l.until("HA", func() bool { return l.ha(l.nodes[0]).Level == api.HAYes })
	for i := range 3 {
		l.addDomain(i, fmt.Sprintf("d%d.example", i))
		if err := l.nodes[i].engine.Load().ReadIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	survivor := 2
	l.until("n3 has everything", func() bool { return l.hasDomain(survivor, "d2.example") })
	n := l.nodes[survivor]
	try := func(text string, off ...string) {
		t.Helper()
		err := n.Recover(t.Context(), api.RecoverRequest{Off: off})
		if err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("recover without %v: %v", off, err)
		}
	}
	try("has a leader", "n1", "n2")
	l.kill(0)
	l.until("another leader or none", func() bool { e := n.engine.Load(); return e.leader() != 1 })
	try("the other nodes are n1,n2", "n1")
	try("the other nodes are n1,n2", "n1", "n2", "n4")
	// While n2 is there, with or without a leader, it is refused.
	if err := n.Recover(t.Context(), api.RecoverRequest{Off: []string{"n1", "n2"}}); api.CodeOf(err) != api.CodeRefused {
		t.Errorf("recovered beside a living node: %v", err)
	}
	l.kill(1)
	l.until("no leader", func() bool { return n.engine.Load().leader() == 0 })
	l.until("n2 is silent", func() bool { alive, _ := n.engine.Load().alive(2); return !alive })
	before, _ := parseLeaseVoters(n.engine.Load().machine.Config().Setting(settingLeaseVoters, ""))
	if err := n.Recover(t.Context(), api.RecoverRequest{Off: []string{"n2", "n1"}}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if !l.hasDomain(survivor, fmt.Sprintf("d%d.example", i)) {
			t.Errorf("write of n%d is lost", i+1)
		}
	}
	l.addDomain(survivor, "alone.example")
	e := n.engine.Load()
	cfg := e.machine.Config()
	guard, ok := e.guardConfig(cfg)
	if !ok || !guard.Forced || guard.Epoch < before.epoch+recoveryEpochs || len(guard.Nodes) != 1 || !guard.Nodes[0].Voter || len(guard.Groups) != 1 {
		t.Errorf("guard: %+v", guard)
	}
	l.until("status tells", func() bool { return strings.Contains(l.ha(n).Summary, "only one node") })
	try("only node", "n1", "n2")

	for _, i := range []int{3, 4} {
		token, err := n.CreateToken(t.Context(), api.TokenRequest{})
		if err != nil {
			t.Fatal(err)
		}
		l.join(i, token.Token)
	}
	for _, i := range []int{2, 3, 4} {
		l.until("HA again", func() bool { return l.ha(l.nodes[i]).Level == api.HAYes })
		l.until("state is there", func() bool { return l.hasDomain(i, "alone.example") && l.hasDomain(i, "d0.example") })
	}
	if guard, _ := e.guardConfig(e.machine.Config()); guard.Forced || slices.ContainsFunc(guard.Nodes, func(n vip.Node) bool { return !n.Voter }) {
		t.Errorf("guard after the joins: %+v", guard)
	}
	// A burnt box that was not burnt after all is not let in, nor does it disturb.
	l.restart(0)
	l.until("n1 is alone", func() bool { return strings.Contains(l.ha(l.nodes[0]).Summary, "reaches only 1 of 3 voters") })
	l.addDomain(4, "undisturbed.example")
	l.kill(survivor)
	l.restart(survivor)
	l.until("it survives a restart", func() bool { return l.hasDomain(survivor, "undisturbed.example") })
}
