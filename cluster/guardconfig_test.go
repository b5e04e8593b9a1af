package cluster

import (
	"strings"
	"testing"
	"time"
)

// TestGuardBehind: a guard that has not taken the present lease voters for a while is no lease voter that is alive, nor one that could hold a VIP.
func TestGuardBehind(t *testing.T) {
	var v vips
	v.init()
	v.expect(4)
	v.epochAt = v.epochAt.Add(-2 * guardPatience)
	v.expect(4)
	for epoch, want := range map[uint64]bool{0: false, 3: true, 4: false, 5: false} {
		if v.behind(epoch) != want {
			t.Errorf("epoch %d is behind 4: %v", epoch, !want)
		}
	}
	if v.expect(5); v.behind(4) {
		t.Error("a guard is behind before it can have heard of the new voters")
	}

	three := []uint32{1, 2, 3}
	ha := haView{voters: three, aliveVoters: three, writers: 3, leaseVoters: three, aliveLease: three, guards: 3, needGuards: true, leader: 1}
	if n := ha.survives(); n != 1 {
		t.Fatalf("survives %d", n)
	}
	ha.aliveLease, ha.guards, ha.behind = three[:2], 2, []string{"n3"}
	if n := ha.survives(); n != 0 {
		t.Errorf("survives %d with a guard that is behind", n)
	}
	if p := ha.problems(); len(p) != 1 || !strings.Contains(p[0].What, "the guard of node n3 refuses") || !strings.Contains(ha.lostAdvice(), "the guard of n3 refuses") {
		t.Errorf("%+v; %s", p, ha.lostAdvice())
	}
}

// TestRefusalIsNoMore: what the guard refuses is an alarm until it has taken it, and not for a minute longer.
func TestRefusalIsNoMore(t *testing.T) {
	var v vips
	v.alarms = []alarm{{"disk full", time.Now()}, {"another", time.Now()}}
	if !v.refuses("disk full") || v.refuses("disk full") {
		t.Error("the first time is news, the second is not")
	}
	if got := v.recentAlarms(); len(got) != 2 || got[0] != "disk full" {
		t.Errorf("alarms %q", got)
	}
	if !v.refuses("") || v.refusal() != "" {
		t.Error("that it has been taken is news")
	}
	if got := v.recentAlarms(); len(got) != 1 || got[0] != "another" {
		t.Errorf("alarms %q", got)
	}
}
