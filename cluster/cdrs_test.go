package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/fsm/pb"
)

// caller makes calls of one VIP group through whichever node owns it.
type caller struct {
	*lab
	owner int
	epoch uint64
	made  []uint64
}

func (c *caller) do(cmd *pb.Command) *pb.Result {
	c.t.Helper()
	r, err := c.nodes[c.owner].engine.Load().writeResult(c.t.Context(), cmd)
	if err != nil {
		c.t.Fatalf("%v: %v", cmd, err)
	}
	return r
}

func (c *caller) takeOver(owner int) {
	c.t.Helper()
	c.owner, c.epoch = owner, c.epoch+1
	c.do(&pb.Command{Op: &pb.Command_Takeover{Takeover: &pb.Takeover{Group: 1, Epoch: c.epoch, Node: c.nodes[owner].engine.Load().UUID}}})
}

func (c *caller) create(n int) {
	c.t.Helper()
	for range n {
		key := fmt.Sprintf("key%d", len(c.made))
		c.made = append(c.made, c.do(&pb.Command{Op: &pb.Command_CreateCall{CreateCall: &pb.CreateCall{
			Key: []byte(key), Home: 1, Epoch: c.epoch, Domain: "example.com", CallId: key, FromTag: "f", FromUri: "sip:a@example.com",
			ToUri: "sip:b@example.com", Origin: "a@example.com", Targets: []*pb.Target{{Uri: "sip:b@192.0.2.1", Aor: "b@example.com"}},
		}}}).Id)
	}
}

// end ends a call in one of five ways.
func (c *caller) end(call uint64) {
	c.t.Helper()
	failed := func(status uint32) {
		c.do(&pb.Command{Op: &pb.Command_LegResult{LegResult: &pb.LegResult{Call: call, Home: 1, Epoch: c.epoch, Status: status, CallFailed: true}}})
	}
	way := call % 5
	if c.machine().Call(call).AnsweredMs != 0 {
		way = 3
	}
	switch way {
	case 0:
		failed(486)
	case 1:
		c.do(&pb.Command{Op: &pb.Command_CancelCall{CancelCall: &pb.CancelCall{Call: call, Home: 1, Epoch: c.epoch}}})
		failed(487)
	case 2:
		failed(408)
	default:
		c.answer(call)
		cause := []string{"caller", "callee"}[call%2]
		c.do(&pb.Command{Op: &pb.Command_EndCall{EndCall: &pb.EndCall{Call: call, Home: 1, Epoch: c.epoch, ToTag: "t", Cause: cause}}})
	}
}

func (c *caller) machine() *fsm.Machine { return c.nodes[c.owner].engine.Load().machine }

func (c *caller) answer(call uint64) {
	c.do(&pb.Command{Op: &pb.Command_AnswerCall{AnswerCall: &pb.AnswerCall{Call: call, Home: 1, Epoch: c.epoch, ToTag: "t"}}})
}

func (l *lab) cdrFiles(i int) string {
	names, err := filepath.Glob(filepath.Join(l.dirs[i], dirCDRs, "*.jsonl"))
	if err != nil {
		l.t.Fatal(err)
	}
	slices.Sort(names)
	var all bytes.Buffer
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			l.t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

// TestOneCDRPerCallWhoeverOwns: calls begin, are answered and end under different owners, the leader dies in between. Each has one CDR, and the
// files of all nodes are the same, those of the one that was away too.
func TestOneCDRPerCallWhoeverOwns(t *testing.T) {
	l := newLab(t, 3).formed()
	c := &caller{lab: l}
	c.do(&pb.Command{Op: &pb.Command_PutGroup{PutGroup: &pb.PutGroup{Group: &pb.Group{Vips: []*pb.Vip{{Prefix: "10.77.0.101/24"}}}}}})
	lost := l.leader()
	c.takeOver(lost)
	c.create(40)
	for _, call := range c.made[:10] {
		c.end(call)
	}
	for _, call := range c.made[30:] {
		c.answer(call)
	}
	l.kill(lost)
	c.takeOver((lost + 1) % 3)
	c.create(10)
	for _, call := range c.made[10:35] {
		c.end(call)
	}
	l.restart(lost)
	l.highlyAvailable()
	c.takeOver(lost)
	for _, call := range c.made[35:] {
		c.end(call)
	}
	want := len(c.made)
	for i := range l.nodes {
		l.until(fmt.Sprintf("node %d has written all", i+1), func() bool { return strings.Count(l.cdrFiles(i), "\n") == want })
	}
	calls := map[uint64]int{}
	text := l.cdrFiles(0)
	for line := range strings.Lines(text) {
		var k api.CDR
		if err := json.Unmarshal([]byte(line), &k); err != nil {
			t.Fatal(err)
		}
		calls[k.Call]++
		if int(k.Number) != len(calls) || k.Cause == "" || k.Caller != "a@example.com" || k.Callee != "b@example.com" {
			t.Errorf("line %d: %s", len(calls), line)
		}
	}
	for _, call := range c.made {
		if calls[call] != 1 {
			t.Errorf("call %d has %d CDRs", call, calls[call])
		}
	}
	for i, n := range l.nodes {
		if l.cdrFiles(i) != text {
			t.Errorf("the files of node %d differ", i+1)
		}
		if got, err := n.CountCalls(t.Context()); err != nil || got.Total != 0 || len(got.Domains) != 0 || len(got.Users) != 0 {
			t.Errorf("node %d counts %+v, %v", i+1, got, err)
		}
	}
	c.consume(want)
}

// consume reads all records as a consumer does, over different nodes, and takes them.
func (c *caller) consume(want int) {
	t, ctx := c.t, c.t.Context()
	if _, err := c.nodes[0].ListCDRs(ctx, api.CDRFilter{Consumer: "billing"}); api.CodeOf(err) != api.CodeNotFound {
		t.Errorf("a consumer that is not there: %v", err)
	}
	if err := c.nodes[0].AcknowledgeCDRs(ctx, "billing", 0); err != nil {
		t.Fatal(err)
	}
	next := uint64(0)
	for i := 0; next < uint64(want); i++ {
		n := c.nodes[i%3]
		var r api.CDRs
		c.until("the cursor is seen", func() bool {
			var err error
			r, err = n.ListCDRs(ctx, api.CDRFilter{Consumer: "billing", Limit: 7})
			return err == nil && len(r.CDRs) > 0 && r.CDRs[0].Number == next+1
		})
		next = r.Next
		if err := n.AcknowledgeCDRs(ctx, "billing", next); err != nil {
			t.Fatal(err)
		}
	}
	r, err := c.nodes[1].ListCDRs(ctx, api.CDRFilter{Since: uint64(want), WaitS: 1})
	if err != nil || len(r.CDRs) != 0 || r.Next != uint64(want) || r.Last != uint64(want) || r.Missed != 0 {
		t.Errorf("nothing more: %+v, %v", r, err)
	}
	// What all have taken goes.
	c.until("taken records go", func() bool {
		first, last := c.nodes[2].engine.Load().machine.CDRRange()
		return first == last+1
	})
	if r, err := c.nodes[2].ListCDRs(ctx, api.CDRFilter{}); err != nil || r.Missed != uint64(want) || r.Next != uint64(want) {
		t.Errorf("gone: %+v, %v", r, err)
	}
}
