package fsm

import (
	"bytes"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// outage is an entry of a leader before which there was none for ms.
func (r *replica) outage(ms int64) {
	r.Helper()
	e := &pb.Entry{TimeMs: r.time, WallMs: 1_700_000_000_000 + r.time + ms, OutageMs: ms}
	b, err := proto.Marshal(e)
	if err != nil {
		r.Fatal(err)
	}
	r.index++
	r.Apply(r.index, b)
}

// TestOutage: time without a leader is counted in calls that are being set up, and in no other; it expires nothing.
func TestOutage(t *testing.T) {
	r := cluster(t)
	r.must(newCall("1"), answer(0, "a"), newCall("2"), newCall("3"), cmd(&pb.CancelCall{Call: 3, Home: 1, Epoch: 5}))
	before := []int64{r.Call(1).DeadlineMs, r.Call(2).DeadlineMs, r.Call(3).DeadlineMs}
	is := func(call uint64, outage int64, over bool) {
		t.Helper()
		if c := r.Call(call); c.Outage() != outage || c.TimeOver(r.Now()) != over {
			t.Errorf("call %d: %d ms, its time is over: %v", call, c.Outage(), c.TimeOver(r.Now()))
		}
	}
	r.outage(20_000)
	is(1, 0, false)
	is(2, 20_000, false)
	is(3, 20_000, false)
	r.outage(20_000)
	is(2, 40_000, false)
	is(3, 40_000, true)
	r.outage(timerCMs - 40_000)
	is(2, timerCMs, false) // its owner may have heard a 180 since, and not have said so
	r.outage(graceMs)
	is(2, timerCMs+graceMs, true)
	r.must(expireAll())
	for i, at := range before {
		if c := r.Call(uint64(i + 1)); !c.Active() || c.DeadlineMs != at {
			t.Errorf("an outage has moved call %d: %v, until %d", i+1, c.State, c.DeadlineMs)
		}
	}
	late := New()
	if err := late.Restore(bytes.NewReader(r.bytes())); err != nil || late.Call(2).Outage() != timerCMs+graceMs || late.Wall() != r.Wall() || r.Wall() == 0 {
		t.Errorf("restored: %v, %d ms, wall clock %d", err, late.Call(2).Outage(), late.Wall())
	}
	checkDerived(t, r.Machine)
	ring := leg(0, 180, false)
	ring.GetLegResult().Call = 2
	r.must(ring) // whoever rings was there to hear of it
	is(2, 0, false)
}

// TestLost: a call whose end nobody saw says so, unless it is known better.
func TestLost(t *testing.T) {
	lost := cmd(&pb.EndCall{Call: 1, Home: 1, Epoch: 5, Cause: CauseLost, Status: 408})
	bye := end("a")
	bye.GetEndCall().Cause = "callee"
	for _, c := range []struct {
		name   string
		before []*pb.Command
		want   string
	}{
		{"it rang", []*pb.Command{leg(0, 180, false)}, "lost 408"},
		{"it was being cancelled", []*pb.Command{cancelled()}, "cancelled 408"},
		{"its answer was never recorded, its BYE was", []*pb.Command{bye}, "bye-callee 408"},
		{"it was answered", []*pb.Command{answer(0, "a")}, ""},
		{"it had failed", []*pb.Command{leg(0, 486, true)}, "rejected 486"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := cluster(t)
			r.must(newCall("k"))
			r.must(c.before...)
			r.must(lost, lost)
			got := ""
			if d := r.CDRs(0, 9); len(d) > 0 {
				got = fmtCDR(d[0])
				if len(d) > 1 {
					t.Errorf("%d CDRs", len(d))
				}
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func fmtCDR(c *pb.Cdr) string { return fmt.Sprint(c.Cause, " ", c.Status) }
