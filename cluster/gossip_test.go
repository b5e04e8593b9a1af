package cluster

import (
	"strings"
	"testing"

	"holdline/cluster/api"
)

// TestGossip: doctor tells a peer whose port is closed from one that is gone, by what memberlist hears.
func TestGossip(t *testing.T) {
	t.Parallel()
	l := newLab(t, 3).formed()
	e := l.nodes[0].engine.Load()
	gone := e.members.number(l.nodes[2].engine.Load().UUID)
	l.until("memberlist to hear the third node", func() bool { return e.gossips(gone) })
	if _, detail, advice := e.unconnected(gone); !strings.Contains(detail, "is heard on port") || !strings.Contains(advice, "/tcp both ways") {
		t.Errorf("heard, but not linked: %q, %q", detail, advice)
	}
	l.kill(2)
	l.until("doctor to miss the third node", func() bool {
		for _, c := range e.doctorPeers() {
			if c.Result == api.CheckFail && strings.Contains(c.Detail, "nor heard on port") {
				return true
			}
		}
		return false
	})
}
