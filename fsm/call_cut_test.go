package fsm

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

func cutCall(call uint64) *pb.Command { return cmd(&pb.CutCall{Call: call}) }

// TestCutCall: an operator's wish makes a call due at once, in any state, once; it is no change of its owner's. It is in snapshots.
func TestCutCall(t *testing.T) {
	r := cluster(t)
	r.must(newCall("1"), answer(0, "a"), newCall("2"), newCall("3"), cmd(&pb.CancelCall{Call: 3, Home: 1, Epoch: 5}), newCall("4"))
	r.time += 5000
	if due := r.Overdue(r.time, 9); len(due) != 0 {
		t.Fatalf("%d are due already", len(due))
	}
	for call := uint64(1); call <= 3; call++ {
		before := r.Call(call)
		if got := r.must(cutCall(call)); got.Id != call || got.Existing {
			t.Error(got)
		}
		c := r.Call(call)
		if c.CutMs() != r.Now() || c.DeadlineMs != r.Now() || c.State != before.State || c.Version != before.Version || c.Epoch != before.Epoch {
			t.Errorf("call %d: %+v", call, c)
		}
		if c.TimeOver(r.Now()) || !c.TimeOver(r.Now()+graceMs) {
			t.Errorf("call %d: whoever takes it up now must cancel it in order, not after its minute", call)
		}
		r.time += 1000
		if got := r.must(cutCall(call)); !got.Existing || r.Call(call) != c {
			t.Error("it is wanted anew")
		}
	}
	if due := r.Overdue(r.Now(), 9); len(due) != 3 {
		t.Errorf("%d are due", len(due))
	}
	checkDerived(t, r.Machine)
	late := New()
	if err := late.Restore(bytes.NewReader(r.bytes())); err != nil || len(late.Overdue(r.Now(), 9)) != 3 || late.Call(1).CutMs() != r.Call(1).CutMs() || !bytes.Equal(snapshotBytes(t, late), r.bytes()) {
		t.Errorf("restored: %v", err)
	}
}

// TestCutUnknown: a call that is not there is told from one that has ended, also when nothing is left of that.
func TestCutUnknown(t *testing.T) {
	r := cluster(t)
	r.refused(cutCall(0), pb.Code_NOT_FOUND, "call 0 does not exist")
	r.refused(cutCall(1), pb.Code_NOT_FOUND, "call 1 does not exist")
	r.refused(cutCall(ownNumber|1), pb.Code_NOT_FOUND, "call 9223372036854775809 does not exist")
	r.must(newCall("1"), end(""))
	r.refused(cutCall(1), pb.Code_NOT_FOUND, "call 1 has ended already")
	r.time += lingerMs + 1
	r.must(expireAll())
	if r.Call(1) != nil {
		t.Fatal("it is still there")
	}
	r.refused(cutCall(1), pb.Code_NOT_FOUND, "call 1 has ended already")
	r.refused(cutCall(2), pb.Code_NOT_FOUND, "call 2 does not exist")
}

// TestCutStays: nothing that the owner had under way puts off what the operator wants, and all of it counts, that of a former owner too.
func TestCutStays(t *testing.T) {
	refresh := answer(0, "a")
	refresh.GetAnswerCall().SessionExpires = 1800
	ring := leg(0, 180, false)
	for name, c := range map[string]struct{ before, after []*pb.Command }{
		"refreshed":           {[]*pb.Command{answer(0, "a")}, []*pb.Command{refresh}},
		"answered meanwhile":  {nil, []*pb.Command{answer(0, "a")}},
		"rings on":            {[]*pb.Command{ring}, []*pb.Command{ring}},
		"taken over":          {[]*pb.Command{answer(0, "a")}, []*pb.Command{cmd(&pb.Takeover{Group: 1, Epoch: 6, Node: "u2"})}},
		"entered after a gap": {nil, []*pb.Command{catchUp(newCall("1"), 0, cdrStep{0, answer(0, "a")})}},
		"nothing comes":       {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := cluster(t)
			r.must(newCall("1"))
			r.time += 150_000
			r.must(c.before...)
			r.time += 150_000 // so that another 180 would put Timer C off
			r.must(cutCall(1))
			at := r.Now()
			r.time += 10_000
			r.must(c.after...)
			if row := r.Call(1); row.DeadlineMs > at || row.CutMs() != at || len(r.Overdue(r.Now(), 9)) != 1 {
				t.Errorf("wanted ended at %d, its deadline is %d", row.CutMs(), row.DeadlineMs)
			}
			r.time = at + graceMs
			r.must(expireAll())
			if d := r.CDRs(0, 9); len(d) != 1 || d[0].Cause != CauseOperator {
				t.Errorf("records %v", d)
			}
		})
	}
}

// TestCutCause: the record says who ended the call: the operator, unless a side hung up first.
func TestCutCause(t *testing.T) {
	by := func(cause, tag string) *pb.Command {
		c := end(tag)
		c.GetEndCall().Cause = cause
		return c
	}
	lost := by(CauseLost, "")
	lost.GetEndCall().Status = 487
	for _, c := range []struct {
		before, after *pb.Command
		want          string
	}{
		{answer(0, "a"), by(CauseOperator, ""), "operator 200"},
		{answer(0, "a"), by("callee", "a"), "bye-callee 200"},
		{leg(0, 180, false), leg(0, 486, true), "operator 486"},
		{cancelled(), leg(0, 487, true), "operator 486"}, // the status is that of the final
		{leg(0, 180, false), lost, "operator 487"},
	} {
		r := cluster(t)
		r.must(newCall("1"), c.before, cutCall(1), proto.CloneOf(c.after))
		if d := r.CDRs(0, 9); len(d) != 1 || fmtCDR(d[0]) != c.want {
			t.Errorf("%v: %v, want %s", c.after, d, c.want)
		}
	}
}
