package cluster

import (
	"slices"
	"strings"
	"testing"

	"holdline/cluster/api"
	"holdline/fsm/pb"
)

// leaveRefused runs leave where it must be refused, and returns why.
func (l *lab) leaveRefused(i int, force bool) string {
	l.t.Helper()
	_, err := l.nodes[i].Leave(l.t.Context(), api.LeaveRequest{Force: force})
	if api.CodeOf(err) != api.CodeRefused || !l.nodes[i].Configured() {
		l.t.Fatalf("n%d left: %v", i+1, err)
	}
	return err.Error()
}

func (l *lab) leaves(i int) []string {
	l.t.Helper()
	a, err := l.nodes[i].Leave(l.t.Context(), api.LeaveRequest{Force: true})
	if err != nil || l.nodes[i].Configured() {
		l.t.Fatalf("n%d did not leave: %v", i+1, err)
	}
	return a.Notes
}

// A node that was removed while it was off says so when it is back, waits for nobody, and joins anew once it has left for good.
func TestRemovedWhileOff(t *testing.T) {
	l := newLab(t, 3).formed()
	l.kill(2)
	l.until("n1 notices", func() bool { alive, _ := l.nodes[0].engine.Load().alive(3); return !alive })
	if err := l.nodes[0].RemoveNode(t.Context(), "n3", api.RemoveNodeRequest{}); err != nil {
		t.Fatal(err)
	}
	l.restart(2)
	l.until("it says what is likely the case", func() bool {
		return strings.Contains(l.ha(l.nodes[2]).Summary, "it was removed from the cluster, it seems, for n1, n2 answered") &&
			!slices.ContainsFunc(l.ha(l.nodes[2]).Problems, func(p api.Problem) bool { return strings.Contains(p.What, "does not answer") })
	})
	token := l.token()
	_, err := l.nodes[2].Join(t.Context(), api.JoinRequest{Token: token, Name: "n3", Listen: l.addr(2)})
	if api.CodeOf(err) != api.CodeRefused || !strings.Contains(err.Error(), "run `holdline leave --force` here, then the same command again") {
		t.Errorf("join: %v", err)
	}
	if why := l.leaveRefused(2, false); !strings.Contains(why, "no longer by that of n1, n2") || !strings.Contains(why, "repeat with --force") {
		t.Error(why)
	}
	if notes := l.leaves(2); len(notes) != 0 {
		t.Error(notes)
	}
	if a := l.join(2, token); !a.Voter || a.Node.Number != 4 {
		t.Errorf("join: %+v", a)
	}
	l.highlyAvailable()
}

// Without a majority nobody can let a node go: not while another counts on it; by force if none answers.
func TestLeaveWithoutMajority(t *testing.T) {
	l := newLab(t, 5).formed()
	for i := range 3 {
		l.kill(i)
	}
	l.until("n4 has no majority", l.nodes[3].engine.Load().cutOff)
	if why := l.leaveRefused(3, true); !strings.Contains(why, "n5 counts on it") {
		t.Error(why)
	}
	l.kill(4)
	l.until("n5 is silent", func() bool { alive, _ := l.nodes[3].engine.Load().alive(5); return !alive })
	if why := l.leaveRefused(3, false); !strings.Contains(why, "no other node answers") || !strings.Contains(why, "holdline recover") {
		t.Error(why)
	}
	if notes := l.leaves(3); len(notes) != 1 || !strings.Contains(notes[0], "`holdline node remove n4`") {
		t.Errorf("%q", notes)
	}
}

// A node that has just started has heard nobody yet. It leaves as any other: the others take it out.
func TestLeaveJustAfterStart(t *testing.T) {
	l := newLab(t, 4).formed()
	uuid := l.nodes[3].engine.Load().UUID
	l.kill(3)
	l.restart(3)
	if notes := l.leaves(3); len(notes) != 0 {
		t.Error(notes)
	}
	l.until("the others do not count it", func() bool { // who leads by now may apply it a moment later than who took it out
		e := l.nodes[l.leader()].engine.Load()
		return !slices.ContainsFunc(e.machine.Config().Nodes(), func(n *pb.Node) bool { return n.Uuid == uuid })
	})
}
