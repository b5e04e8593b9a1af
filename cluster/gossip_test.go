package cluster

import (
	"strings"
	"testing"

	"holdline/cluster/api"
)

// TestGossip: doctor tells a peer whose cluster port is closed from one that is gone, by what memberlist hears.
func TestGossip(t *testing.T) {
	t.Parallel()
	l := newLab(t, 3).formed()
	e, third := l.nodes[0].engine.Load(), l.nodes[2].engine.Load()
	doctorSays := func(detail string) func() bool {
		return func() bool {
			for _, c := range e.doctorPeers() {
				if c.Name == "link "+third.Name && c.Result == api.CheckFail && strings.Contains(c.Detail, detail) {
					return true
				}
			}
			return false
		}
	}
	l.until("memberlist hears the third node", func() bool { return e.gossips(third.number.Load()) })
	third.port.Close()
	l.until("doctor hears a node with a closed port", doctorSays("n3 is heard on port"))
	l.kill(2)
	l.until("doctor misses a node that is gone", doctorSays("nor heard on port"))
}
