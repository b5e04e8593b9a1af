package lab

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"holdline/deploy/lab/node"
)

// TestRecordedLater: with call.commit at after, calls stand, begin and end while the VIP's owner is drained and takes its addresses
// back. A planned move loses nothing, and every node has a record of each call.
func TestRecordedLater(t *testing.T) {
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
	if err := c.set(t.Context(), "call.commit", "after"); err != nil {
		t.Fatal(err)
	}
	s := &sippLab{t: t, c: c, binary: sipp, dir: dir}
	s.gateway()
	s.calls(c.vips[0], people, "sipp-talker.xml", leaderlessCalls, leaderlessRate, func() {
		c.recorded(t, c.nodes[0], 40)
		for _, verb := range []string{"drain", "undrain"} {
			if _, err := c.nodes[0].CLI(t.Context(), "", verb); err != nil {
				t.Errorf("%s: %v", verb, err)
			}
		}
	})
	for _, n := range c.nodes {
		c.recorded(t, n, leaderlessCalls)
	}
	c.until(t, "no call is left", func(st node.Status) bool { return st.Counts.Calls == 0 && st.Counts.Unrecorded == 0 })
	for _, n := range c.nodes {
		checkCDRs(t, n)
	}
}

// recorded waits until a node has as many call detail records.
func (c *cluster) recorded(t *testing.T, n *node.Node, want int) {
	t.Helper()
	ctx := within(t, 30*time.Second)
	for {
		out, err := n.CLI(ctx, "", "cdr", "--since", "0", "--limit", "5000", "--json")
		have := strings.Count(out, `"call_id"`)
		if err == nil && have >= want {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s has %d call detail records, want %d: %v", n.Name, have, want, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
