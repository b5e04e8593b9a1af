package cluster

import (
	"fmt"
	"strings"
	"testing"

	"holdline/cluster/api"
	"holdline/fsm/pb"
)

// TestRollingUpgrade: a release that knows feature level 2 replaces one that knows 1, node by node, while both write. What only the new one
// knows stays out of the log, and the level where it is, until no node of the old one is left.
func TestRollingUpgrade(t *testing.T) {
	l := newLab(t, 3).formed()
	next := Release{FeatureLevel: 2, CommandLevel: func(c *pb.Command) uint32 {
		if c.GetPutCursor() != nil {
			return 2
		}
		return 1
	}}
	later := &pb.Command{Op: &pb.Command_PutCursor{PutCursor: &pb.PutCursor{Name: "billing"}}}
	for _, i := range []int{2, 0, 1} {
		l.kill(i)
		l.restartAs(i, "next", next)
		l.highlyAvailable()
		e := l.nodes[i].engine.Load()
		l.until("the node table tells the new release", func() bool {
			row := e.machine.Config().NodeByUUID(e.UUID)
			return row != nil && row.FeatureLevel == 2 && row.Version == "next" && row.Voter
		})
		for k := range l.nodes { // old and new, side by side
			name := fmt.Sprintf("d%d%d.example", i, k)
			l.addDomain(k, name)
			for j := range l.nodes {
				l.until("a write of either release is seen by both", func() bool { return l.hasDomain(j, name) })
			}
		}
		if _, err := e.submitter.SubmitWait(t.Context(), later); err == nil || !strings.Contains(err.Error(), "holdline upgrade finish") {
			t.Errorf("what only the new release knows entered the log: %v", err)
		}
		if i != 1 { // n2 is the last
			_, err := l.nodes[i].FinishUpgrade(t.Context())
			if api.CodeOf(err) != api.CodeRefused || !strings.Contains(err.Error(), "knows feature levels up to 1") {
				t.Errorf("with a node of the old release left: %v", err)
			}
		}
	}
	if a, err := l.nodes[0].FinishUpgrade(t.Context()); err != nil || a != (api.Upgrade{Before: 1, FeatureLevel: 2}) {
		t.Fatalf("%+v, %v", a, err)
	}
	for i, n := range l.nodes {
		l.until("the level is raised everywhere", func() bool {
			s, err := n.Status(t.Context())
			return err == nil && s.Raft.FeatureLevel == 2
		})
		if r, err := l.nodes[i].engine.Load().submitter.SubmitWait(t.Context(), later); err != nil || r.Code != pb.Code_OK {
			t.Errorf("node %d: now it may: %v, %v", i+1, r, err)
		}
	}
	if a, err := l.nodes[1].FinishUpgrade(t.Context()); err != nil || a.Before != 2 || a.FeatureLevel != 2 {
		t.Errorf("again: %+v, %v", a, err)
	}
	old := l.open(t.TempDir() + "/data")
	defer func() {
		if err := old.Kill(); err != nil {
			t.Error(err)
		}
	}()
	_, err := old.Join(t.Context(), api.JoinRequest{Token: l.token(), Name: "n4", Listen: l.addr(3)})
	if api.CodeOf(err) != api.CodeRefused || !strings.Contains(err.Error(), "runs at feature level 2") {
		t.Errorf("a node of the old release joins: %v", err)
	}
}
