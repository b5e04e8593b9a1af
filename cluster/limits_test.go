package cluster

import (
	"fmt"
	"strings"
	"testing"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/vip"
	"holdline/vip/lease"
)

// TestLimits: what the guards would not take is refused when it is asked for: the 65th VIP group, and the 33rd node.
func TestLimits(t *testing.T) {
	if fsm.MaxGroups != vip.MaxGroups || fsm.MaxNodes != lease.MaxNodes {
		t.Fatalf("the state machine holds %d groups and %d nodes, a guard %d and %d", fsm.MaxGroups, fsm.MaxNodes, vip.MaxGroups, lease.MaxNodes)
	}
	var groups []api.GroupSpec
	for i := range fsm.MaxGroups + 1 {
		groups = append(groups, api.GroupSpec{VIPs: []api.VIP{{Prefix: fmt.Sprintf("192.0.2.%d/24", i+1)}}})
	}
	l := newLab(t, 3)
	refused := func(err error, code api.Code, text string) {
		t.Helper()
		if api.CodeOf(err) != code || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %q", err, text)
		}
	}
	r := api.InitRequest{Name: "n1", Listen: l.addr(0), Groups: groups}
	_, err := l.nodes[0].Init(t.Context(), r)
	refused(err, api.CodeInvalid, "65 VIP groups are more than the 64 that a cluster holds")
	r.Groups = groups[:fsm.MaxGroups]
	a, err := l.nodes[0].Init(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.nodes[0].AddVIP(t.Context(), groups[fsm.MaxGroups])
	refused(err, api.CodeRefused, "remove one first")
	if err := l.nodes[0].RemoveVIP(t.Context(), "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.nodes[0].AddVIP(t.Context(), groups[fsm.MaxGroups]); err != nil {
		t.Error(err)
	}

	for i := 2; i <= fsm.MaxNodes; i++ { // they are in the table, and nowhere else
		n := &pb.Node{Uuid: fmt.Sprint("u", i), Name: fmt.Sprint("x", i), Listen: l.addr(100+i) + ":7700", PublicKey: make([]byte, 32)}
		if err := l.nodes[0].do(t.Context(), &pb.Command{Op: &pb.Command_PutNode{PutNode: &pb.PutNode{Node: n}}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := 1; i < 3; i++ { // before anything is changed: the token is not used up
		_, err = l.nodes[i].Join(t.Context(), api.JoinRequest{Token: a.Token.Token, Name: fmt.Sprint("n", i+1), Listen: l.addr(i)})
		refused(err, api.CodeRefused, "there are 32 nodes, the most that a cluster holds")
	}
}
