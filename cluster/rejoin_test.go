package cluster

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"holdline/cluster/api"
	"holdline/cluster/submit"
	"holdline/fsm/pb"
)

var (
	rejoinRows  = flag.Int("rejoin-rows", 50_000, "registrations that a node is behind with when it comes back (1000000: the full test)")
	rejoinStall = flag.Duration("rejoin-stall", 2*time.Second, "longest commit that the others may see while it catches up")
)

// fill writes registrations through all the nodes given, a bounded number at a time, and waits for each.
func fill(nodes []*Node, rows int) {
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			slots := make(chan struct{}, 500)
			var waiting sync.WaitGroup
			for k := i; k < rows; k += len(nodes) {
				slots <- struct{}{}
				waiting.Add(1)
				put(n.engine.Load().submitter, fmt.Sprintf("u%07d@example.com", k), func() { <-slots; waiting.Done() })
			}
			waiting.Wait()
		})
	}
	wg.Wait()
}

// put makes a user and registers it, again when there is no leader for a moment, as a phone does that is answered 503.
func put(log *submit.Submitter, aor string, done func()) {
	log.Submit(putUserRow(aor), func(*pb.Result, error) {})
	log.Submit(registerCommand(aor, 1), func(r *pb.Result, err error) {
		if err != nil && !errors.Is(err, submit.ErrClosed) || r != nil && r.Code == pb.Code_NOT_FOUND {
			go put(log, aor, done)
			return
		}
		done()
	})
}

func putUserRow(aor string) *pb.Command {
	return &pb.Command{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: &pb.User{Aor: aor, Ha1Md5: make([]byte, 16)}}}}
}

// doctorsState is what doctor says of the replicated state.
func doctorsState(t *testing.T, n *Node) api.Check {
	t.Helper()
	for _, c := range n.engine.Load().doctorState(t.Context()) {
		return c
	}
	return api.Check{}
}

// A node that was away while tens of thousands of phones registered comes back by snapshot. The others commit as before meanwhile,
// and in the end all hold the same, record for record.
func TestRejoinUnderLoad(t *testing.T) {
	l := newLab(t, 3).formed()
	l.vip()
	l.addDomain(0, "example.com")
	if err := l.nodes[0].AddUser(t.Context(), api.UserRequest{AoR: "load@example.com", Password: "x"}); err != nil {
		t.Fatal(err)
	}
	away := (l.leader() + 1) % 3
	l.kill(away)
	began := time.Now()
	fill([]*Node{l.nodes[(away+1)%3], l.nodes[(away+2)%3]}, *rejoinRows)
	leader := l.leader()
	other := 3 - leader - away
	t.Logf("%d registrations in %v", *rejoinRows, time.Since(began))
	e := l.nodes[leader].engine.Load()
	rc := e.raft.ReloadableConfig()
	rc.TrailingLogs = 1
	if err := e.raft.ReloadConfig(rc); err != nil {
		t.Fatal(err)
	}
	if err := e.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	survivor := l.nodes[other].engine.Load()
	stop, worst := make(chan struct{}), time.Duration(0)
	var writer sync.WaitGroup
	writer.Go(func() {
		for k := 0; ; k++ {
			select {
			case <-stop:
				return
			default:
			}
			at := time.Now()
			if r, err := survivor.submitter.SubmitWait(t.Context(), registerCommand("load@example.com", uint32(k+1))); err != nil || r.Code != pb.Code_OK {
				t.Errorf("write while it catches up: %v %v", r, err)
				return
			}
			worst = max(worst, time.Since(at))
		}
	})
	began = time.Now()
	l.restart(away)
	limit := began.Add(time.Minute)
	for l.nodes[away].engine.Load().machine.Counts().Bindings <= *rejoinRows {
		if time.Now().After(limit) {
			close(stop)
			writer.Wait()
			t.Fatalf("it has not caught up within a minute: %+v", l.nodes[away].engine.Load().raftRow())
		}
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(began)
	close(stop)
	writer.Wait()
	t.Logf("caught up in %v; slowest commit of the others meanwhile %v", took, worst)
	if worst > *rejoinStall {
		t.Errorf("the others stalled for %v", worst)
	}
	l.highlyAvailable()
	c := doctorsState(t, l.nodes[away])
	t.Log(c.Detail)
	if c.Result != api.CheckOK || !strings.Contains(c.Detail, "n1, n2, n3") {
		t.Errorf("states: %+v", c)
	}
}

// Doctor must be able to say that a node differs.
func TestDifferentStatesAreTold(t *testing.T) {
	c := compareSums(map[string]stateSum{"n1": {Index: 7, Sum: "a"}, "n2": {Index: 7, Sum: "b"}, "n3": {Index: 7, Sum: "a"}})
	if c.Result != api.CheckFail || !strings.Contains(c.Detail, "n1 a, n2 b, n3 a") {
		t.Errorf("%+v", c)
	}
}
