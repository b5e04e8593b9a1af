package lab

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"holdline/deploy/lab/netlab"
	"holdline/deploy/lab/node"
)

const (
	clusterPort     = 7700
	leaderlessCalls = 360
	leaderlessRate  = 40
	leaderlessFor   = 5 * time.Second
)

// TestLeaderless: for five seconds nodes cannot reach each other over TCP, so there is no raft leader, while the leases go on. Calls
// are set up, stand and end before, meanwhile and after. None fails; afterwards the table, the counters and the CDRs of
// every node are what the phones know.
func TestLeaderless(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	sipp, err := exec.LookPath("sipp")
	if err != nil {
		t.Skip("sipp is not installed: apt-get install sip-tester")
	}
	c, dir := startCluster(t)
	people := users(20)
	c.forSipp(t, people)
	s := &sippLab{t: t, c: c, binary: sipp, dir: dir}
	s.gateway()
	behind := 0
	s.calls(c.vips[0], people, "sipp-talker.xml", leaderlessCalls, leaderlessRate, func() {
		c.until(t, "calls stand", func(st node.Status) bool { return st.Counts.Calls >= 40 })
		behind = c.withoutLeader(t)
	})
	t.Logf("%d calls were not replicated at most", behind)
	if behind == 0 {
		t.Error("no call was affected: there was a leader, or status does not tell")
	}
	c.until(t, "no call is left, and all are entered", func(st node.Status) bool {
		return st.Counts.Calls == 0 && st.Counts.Unrecorded == 0
	})
	for _, n := range c.nodes {
		checkCDRs(t, n)
	}
}

// withoutLeader cuts the nodes' TCP from each other for a while, and returns how many calls were not replicated at most.
func (c *cluster) withoutLeader(t *testing.T) (most int) {
	t.Helper()
	if err := c.net.Lose(netlab.Loss{Percent: 100, TCPPort: clusterPort}); err != nil {
		t.Fatal(err)
	}
	lost := false
	for end := time.Now().Add(leaderlessFor); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, n := range c.nodes {
			st, err := n.Status(within(t, 5*time.Second))
			if err != nil {
				t.Error(err)
				continue
			}
			lost = lost || st.Leader() == ""
			most = max(most, st.Counts.Unrecorded)
		}
	}
	if err := c.net.Lose(); err != nil {
		t.Fatal(err)
	}
	if !lost {
		t.Error("there was a leader all the time")
	}
	return most
}

// until waits until every node's status is as wanted.
func (c *cluster) until(t *testing.T, what string, want func(node.Status) bool) {
	t.Helper()
	ctx := within(t, 60*time.Second)
	for _, n := range c.nodes {
		var last node.Status
		for {
			st, err := n.Status(ctx)
			if err == nil && want(st) {
				break
			}
			if err == nil {
				last = st
			}
			select {
			case <-ctx.Done():
				calls, _ := n.CLI(t.Context(), "", "calls")
				t.Fatalf("never on %s: %s: %+v, %v\n%s", n.Name, what, last, err, calls)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

// checkCDRs wants a record of each call on this node, of a caller who hung up after one to four seconds of talk.
func checkCDRs(t *testing.T, n *node.Node) {
	t.Helper()
	out, err := n.CLI(t.Context(), "", "cdr", "--since", "0", "--limit", "5000", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		CDRs []struct {
			CallID   string `json:"call_id"`
			Cause    string `json:"cause"`
			Status   int    `json:"status"`
			Callee   string `json:"callee"`
			Duration int64  `json:"duration_ms"`
		} `json:"cdrs"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v: %.300s", err, out)
	}
	odd, ids := map[string]int{}, []string{}
	var short int
	for _, r := range list.CDRs {
		ids = append(ids, r.CallID)
		if r.Cause != "bye-caller" || r.Status != 200 || r.Callee != "carriers/gw1" {
			odd[fmt.Sprintf("%s %d %s", r.Cause, r.Status, r.Callee)]++
		}
		if r.Duration > 6000 {
			odd[fmt.Sprintf("lasted %d s", r.Duration/1000)]++
		}
		if r.Duration < 900 {
			short++
		}
	}
	slices.Sort(ids)
	if distinct := len(slices.Compact(slices.Clone(ids))); len(ids) != leaderlessCalls || distinct != leaderlessCalls || len(odd) > 0 {
		t.Errorf("%s: %d CDRs of %d calls, want %d; %v", n.Name, len(ids), distinct, leaderlessCalls, odd)
	}
	t.Logf("%s: %d CDRs; %d say less than was talked: FSM time stood still in them", n.Name, len(ids), short)
	counts, err := n.CLI(t.Context(), "", "calls", "--count", "--json")
	if err != nil || strings.Contains(counts, "gw1") {
		t.Errorf("%s counts calls: %s, %v", n.Name, counts, err)
	}
}
