package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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
		l.join(i, l.tokenOf(survivor))
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

// behindItsTable makes a cluster of three whose third node has heard of a fourth that its log does not hold, and kills all but that one.
func (l *lab) behindItsTable() (survivor int) {
	l.t.Helper()
	l.join(1, l.init())
	l.join(2, l.token())
	l.until("HA", func() bool { return l.ha(l.nodes[0]).Level == api.HAYes })
	survivor = 2
	e := l.nodes[survivor].engine.Load()
	l.until("another one leads", func() bool {
		if l.leader() != survivor {
			return true
		}
		_ = e.transferLeadership(l.t.Context())
		return false
	})
	mend := l.breakLog(survivor, func() error { return errors.New("input/output error") })
	writer := l.leader()
	for k := range 30 {
		l.addDomain(writer, fmt.Sprintf("d%d.example", k))
	}
	token := l.tokenOf(writer)
	var joins sync.WaitGroup
	joins.Go(func() {
		_, _ = l.nodes[3].Join(l.t.Context(), api.JoinRequest{Token: token, Name: "n4", Listen: l.addr(3)}) // killed before it has an answer
	})
	l.until("n3 has heard of n4", func() bool { return e.name(4) != "" && l.nodes[3].Configured() })
	for _, i := range []int{3, 0, 1} {
		l.kill(i)
	}
	joins.Wait()
	mend()
	if log, table := e.machine.Config().Version, e.members.known(); log+20 > table {
		l.t.Fatalf("the log is at version %d, the table at %d", log, table)
	}
	return survivor
}

func (l *lab) tokenOf(i int) string {
	l.t.Helper()
	t, err := l.nodes[i].CreateToken(l.t.Context(), api.TokenRequest{})
	if err != nil {
		l.t.Fatal(err)
	}
	return t.Token
}

// A node may know of members that its log does not hold yet: it has heard of them from the others, with whom it has gone. Once the node has been recovered, be it that
// its daemon stopped amid that, only what its own log holds counts, and new boxes join it.
func TestRecoverBehindItsMemberTable(t *testing.T) {
	lost := []string{"n1", "n2"}
	recoveries := map[string]func(l *lab, i int){
		"whole": func(l *lab, i int) {
			n := l.nodes[i]
			l.until("recovered", func() bool {
				return n.Recover(t.Context(), api.RecoverRequest{Off: lost}) == nil // refused as long as the others may be there
			})
		},
		"stopped": func(l *lab, i int) {
			n, e := l.nodes[i], l.nodes[i].engine.Load()
			rows, err := e.lostNodes(lost)
			if err != nil {
				t.Fatal(err)
			}
			l.kill(i)
			if err := n.recoverLog(e.membership, rows); err != nil {
				t.Fatal(err)
			}
			l.restart(i)
			l.leader()
		},
	}
	for name, recovered := range recoveries {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 6)
			survivor := l.behindItsTable()
			recovered(l, survivor)
			for _, i := range []int{4, 5} {
				l.join(i, l.tokenOf(survivor))
			}
			for _, i := range []int{survivor, 4, 5} {
				l.until("HA again", func() bool { return l.ha(l.nodes[i]).Level == api.HAYes })
			}
		})
	}
}

// What a join to another cluster has left, which came to nothing, does not keep new boxes out of the cluster that is made instead.
func TestInitAfterAJoinThatFailed(t *testing.T) {
	l := newLab(t, 2)
	left := `{"version":1000,"members":[{"uuid":"a","number":1,"name":"n1","listen":"127.0.0.1:7700","key":"","voter":true}]}`
	if err := l.nodes[0].dir.write(fileMembers, []byte(left)); err != nil {
		t.Fatal(err)
	}
	l.join(1, l.init())
}
