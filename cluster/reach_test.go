package cluster

import (
	"testing"
	"time"

	"holdline/cluster/api"
)

// TestBackFromLongAbsence: a follower that was away for so long that raft waits for seconds between two tries gets what it has missed as soon as it is heard again,
// and nobody says before that the cluster survives another loss.
func TestBackFromLongAbsence(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 7 s")
	}
	l := newLab(t, 3).formed()
	leader := l.leader()
	away := (leader + 1) % 3
	l.kill(away)
	l.addDomain(leader, "missed.example.com")
	led := l.nodes[leader].engine.Load()
	missed := led.raft.LastIndex()
	time.Sleep(6 * time.Second) // raft's tenth and eleventh failures: it waits for 5 s by then

	l.restart(away)
	e := l.nodes[away].engine.Load()
	heard := time.Time{}
	l.until("the follower has what it missed", func() bool {
		if alive, _ := led.alive(e.number.Load()); alive && heard.IsZero() {
			heard = time.Now()
		}
		level := l.ha(l.nodes[leader]).Level
		has := e.raft.LastIndex() >= missed
		if level == api.HAYes && !has {
			t.Errorf("the leader says HA: yes, with the follower's log at %d of %d", e.raft.LastIndex(), missed)
			return true
		}
		return has
	})
	if d := time.Since(heard); !heard.IsZero() && d > 2*time.Second {
		t.Errorf("it was heard, and had its log %v later", d)
	}
	l.highlyAvailable()
}
