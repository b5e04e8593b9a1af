package cluster

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"holdline/cluster/api"
	"holdline/fsm/pb"
)

// Every write that was acknowledged is there at the end, on every node, exactly once, whatever leaders are killed meanwhile.
func TestAcknowledgedWritesSurvive(t *testing.T) {
	l := newLab(t, 3).formed()
	var acked sync.Map
	var total atomic.Int32
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for w := range 3 {
		writers.Go(func() {
			for k := 0; ; k++ {
				select {
				case <-stop:
					return
				default:
				}
				e := l.node(w).engine.Load()
				if e == nil {
					time.Sleep(5 * time.Millisecond) // it is being restarted
					continue
				}
				name := fmt.Sprintf("w%d-%d.example", w, k)
				r, err := e.submitter.SubmitWait(t.Context(), putDomainRow(&pb.Domain{Name: name}))
				if err != nil {
					continue // unknown outcome: it may be there or not
				}
				if r.Code != pb.Code_OK || r.Existing {
					t.Errorf("%s was applied twice: %v", name, r)
				}
				acked.Store(name, true)
				total.Add(1)
			}
		})
	}
	for range 3 {
		before := total.Load()
		l.until("writes go on", func() bool { return total.Load() > before+20 })
		lost := l.leader()
		l.kill(lost)
		l.restart(lost)
		l.until("writes go on after the leader's loss", func() bool { return total.Load() > before+40 })
	}
	close(stop)
	writers.Wait()
	l.highlyAvailable()
	for i := range l.nodes {
		if err := l.nodes[i].engine.Load().ReadIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		acked.Range(func(name, _ any) bool {
			if !l.hasDomain(i, name.(string)) {
				t.Errorf("node %d lost acknowledged write %s", i+1, name)
			}
			return true
		})
	}
	t.Logf("%d acknowledged writes over 3 lost leaders", total.Load())
}

// A leader whose disk hangs must not keep the others from electing (hashicorp/raft #503).
func TestHungDiskSilencesLeader(t *testing.T) {
	l := newLab(t, 3).formed()
	lost := l.leader()
	e := l.nodes[lost].engine.Load()
	e.diskTrouble(true)
	l.until("another leader", func() bool {
		for i, n := range l.nodes {
			if i != lost && n.engine.Load().lead.Load() != nil {
				return true
			}
		}
		return false
	})
	l.addDomain((lost+1)%3, "elsewhere.example")
	e.diskTrouble(false)
	l.until("it is back", func() bool { return l.hasDomain(lost, "elsewhere.example") })
}

func TestDrainedLeaderHandsOver(t *testing.T) {
	l := newLab(t, 3).formed()
	old := l.leader()
	if err := l.nodes[(old+1)%3].SetDraining(t.Context(), fmt.Sprintf("n%d", old+1), true); err != nil {
		t.Fatal(err)
	}
	l.until("leadership is handed over", func() bool {
		e := l.nodes[(old+1)%3].engine.Load()
		return e.leader() != 0 && e.leader() != uint32(old+1)
	})
	l.until("status tells", func() bool {
		ha := l.ha(l.nodes[old])
		return ha.Level == api.HADegraded && strings.Contains(ha.Summary, "drained")
	})
}

// A node that was down while others joined learns of them from the peers that it knows: a leader among the new ones could never
// reach it otherwise.
func TestNodeThatWasAwayLearnsNewMembers(t *testing.T) {
	l := newLab(t, 4)
	l.join(1, l.init())
	l.join(2, l.token())
	l.until("HA", func() bool { return l.ha(l.nodes[0]).Level == api.HAYes })
	l.kill(2)
	l.join(3, l.token())
	l.restart(2)
	l.until("n3 knows n4", func() bool {
		alive, _ := l.nodes[2].engine.Load().alive(4)
		return alive
	})
	l.until("and n4 knows n3", func() bool {
		alive, _ := l.nodes[3].engine.Load().alive(3)
		return alive
	})
}

// The table of a higher version wins, whoever brings it; a stale one changes nothing.
func TestMemberTableVersions(t *testing.T) {
	dir, err := openDataDir(t.TempDir() + "/data")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.close()
	table, err := newMemberTable(dir, testLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	one, two := []member{{UUID: "a", Number: 1}}, []member{{UUID: "a", Number: 1}, {UUID: "b", Number: 2}}
	if !table.set(5, two) || table.set(4, one) || table.set(5, one) {
		t.Error("an older table was taken")
	}
	if table.adopt([]byte(`{"version":9,"members":[]}`), true) == nil || table.adopt([]byte("junk"), true) == nil {
		t.Error("an empty or damaged table was taken")
	}
	again, err := newMemberTable(dir, testLogger(t))
	if err != nil || again.number("b") != 2 {
		t.Errorf("after a restart: %d, %v", again.number("b"), err)
	}
}

func TestLeaseVotersText(t *testing.T) {
	want := leaseVoters{epoch: 7, voters: []uint32{1, 2, 3}, old: []uint32{1, 2}}
	got, ok := parseLeaseVoters(want.String())
	if !ok || got.String() != want.String() {
		t.Errorf("got %v", got)
	}
	for _, junk := range []string{"", "7", "7 1,2", "x 1 1", "7 1,x 1", "7 1 1 1"} {
		if _, ok := parseLeaseVoters(junk); ok {
			t.Errorf("%q was taken", junk)
		}
	}
}

func TestCandidatesSpread(t *testing.T) {
	nodes := []*pb.Node{{Uuid: "a", Number: 1}, {Uuid: "b", Number: 2}, {Uuid: "c", Number: 3}, {Uuid: "d", Number: 4, Draining: true}}
	second := map[uint32]bool{}
	for g := uint32(1); g <= 3; g++ {
		c := candidates(nodes, &pb.Group{Number: g, HomeNode: "a"}, []string{"x"})
		if len(c) != 3 || c[0] != 1 {
			t.Errorf("group %d: %v", g, c)
		}
		second[c[1]] = true
	}
	if len(second) < 2 {
		t.Error("all groups of a lost node would go to the same one")
	}
	if c := candidates(nodes, &pb.Group{Number: 1, HomeNode: "a"}, []string{"a"}); c[0] == 1 {
		t.Errorf("a leaving node is a candidate: %v", c)
	}
}

// A node that was away for longer than the log reaches back gets a snapshot, and its own writes go on after it.
func TestCatchUpBySnapshot(t *testing.T) {
	l := newLab(t, 3).formed()
	leader := l.leader()
	away := (leader + 1) % 3
	l.kill(away)
	e := l.nodes[leader].engine.Load()
	for k := range 30 {
		l.addDomain(leader, fmt.Sprintf("d%d.example", k))
	}
	again := 0
	l.until("the log is cut", func() bool {
		e.tune(func(c *raft.ReloadableConfig) { c.TrailingLogs = 1 }) // keepBounds may set it back at any moment
		l.snapshot(leader)
		first, err := e.store.FirstIndex()
		if err != nil {
			t.Fatal(err)
		}
		if first < 10 {
			l.addDomain(leader, fmt.Sprintf("again%d.example", again)) // without anything new there is no other snapshot
			again++
		}
		return first >= 10
	})
	l.restart(away)
	l.until("it has caught up", func() bool { return l.hasDomain(away, "d29.example") })
	l.addDomain(away, "own.example")
	l.kill(away)
	l.restart(away)
	l.until("its snapshot survives a restart", func() bool { return l.hasDomain(away, "own.example") && l.hasDomain(away, "d0.example") })
}

// A node that stops while read indexes are under way stops all the same: raft never answers a verification that it had queued.
func TestStopAmongReadIndexes(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	for range 20 {
		e := l.node(0).engine.Load()
		var readers sync.WaitGroup
		for range 8 {
			readers.Go(func() {
				for e.ReadIndex(e.ctx) == nil { // until the engine stops
				}
			})
		}
		l.until("read indexes are under way", func() bool { return e.verify.count.Load() > 20 })
		l.kill(0)
		readers.Wait()
		l.restart(0)
		l.leader()
	}
}
