package fsm

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// catchUp makes a CatchUpCall of commands, each so many ms before the next and the last as long before now.
func catchUp(create *pb.Command, call uint64, steps ...cdrStep) *pb.Command {
	up := &pb.CatchUpCall{Call: call, Home: 1, Epoch: 5}
	ago := int64(0)
	for i := len(steps) - 1; i >= 0; i-- {
		ago += steps[i].after
		s := &pb.CallStep{AgoMs: ago}
		switch op := steps[i].cmd.Op.(type) {
		case *pb.Command_LegResult:
			s.Step = &pb.CallStep_LegResult{LegResult: op.LegResult}
		case *pb.Command_AnswerCall:
			s.Step = &pb.CallStep_AnswerCall{AnswerCall: op.AnswerCall}
		case *pb.Command_CancelCall:
			s.Step = &pb.CallStep_CancelCall{CancelCall: op.CancelCall}
		case *pb.Command_EndCall:
			s.Step = &pb.CallStep_EndCall{EndCall: op.EndCall}
		}
		up.Steps = append([]*pb.CallStep{s}, up.Steps...)
	}
	if create != nil {
		up.Create, up.CreatedAgoMs = create.GetCreateCall(), ago+1000
		up.Call = OwnNumber(up.Create.Key, 1)
	}
	return cmd(up)
}

// triedPool is a call whose owner chose the gateways itself.
func triedPool() *pb.Command {
	c := poolCall("k", 2)
	for i := range 3 {
		c.GetCreateCall().Targets = append(c.GetCreateCall().Targets, &pb.Target{Uri: "sip:x", Pool: "carriers", Member: fmt.Sprintf("gw%d", 3-i)})
	}
	return c
}

// TestCatchUp: a call enters the table as it stands, its CDR as it was, and the same again changes nothing.
func TestCatchUp(t *testing.T) {
	for _, c := range []struct {
		name   string
		before []*pb.Command // committed meanwhile, too late for the owner
		up     *pb.Command
		row    string
		cdr    string
		member string
	}{
		{"set up and answered", nil, catchUp(newCall("k"), 0, cdrStep{3000, answer(0, "a")}), "answered user2@192.0.2.2:answered dialogs=a 200", "", ""},
		{"set up, the record was made after all", []*pb.Command{newCall("k")}, catchUp(newCall("k"), 0, cdrStep{3000, answer(0, "a")}), "answered user2@192.0.2.2:answered dialogs=a 200", "", ""},
		{"the record was made with another gateway", []*pb.Command{poolCall("k", 2)}, catchUp(triedPool(), 0, cdrStep{10, leg(0, 503, false)}, cdrStep{10, answer(1, "a")}), "answered gw3:failed gw2:answered gw1:failed dialogs=a 200", "", "gw2"},
		{"rings", nil, catchUp(newCall("k"), 0, cdrStep{10, leg(0, 180, false)}), "early user2@192.0.2.2:ringing +invite", "", ""},
		{"over", nil, catchUp(newCall("k"), 0, cdrStep{500, answer(0, "a")}, cdrStep{7000, end("a")}), "ended user2@192.0.2.2:answered 200", "ended 200 setup=1000 talk=500", ""},
		{"busy", nil, catchUp(newCall("k"), 0, cdrStep{400, leg(0, 486, true)}), "failed user2@192.0.2.2:failed 486", "rejected 486 setup=1000 talk=0", ""},
		{"cancelled", nil, catchUp(newCall("k"), 0, cdrStep{400, cancelled()}, cdrStep{50, leg(0, 487, true)}), "failed user2@192.0.2.2:failed 486", "cancelled 486 setup=1400 talk=0", ""},
		{"known, answered and over", []*pb.Command{newCall("k")}, catchUp(nil, 1, cdrStep{2000, answer(0, "a")}, cdrStep{600, end("a")}), "ended user2@192.0.2.2:answered 200", "ended 200 setup=0 talk=0", ""},
		{"ended after all", []*pb.Command{newCall("k"), answer(0, "a"), end("a")}, catchUp(nil, 1, cdrStep{100, end("a")}), "ended user2@192.0.2.2:answered 200", "ended 200 setup=0 talk=0", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := cluster(t)
			r.must(c.before...)
			for range 2 {
				number := r.must(c.up).Id
				if got := r.show(number); number != 1 || got != c.row {
					t.Errorf("call %d\n got %s\nwant %s", number, got, c.row)
				}
				if by := r.Call(c.up.GetCatchUpCall().Call); by == nil || by.Number != 1 || by.TokenNumber() != c.up.GetCatchUpCall().Call {
					t.Errorf("by the number of its messages: %v", by)
				}
				checkDerived(t, r.Machine)
			}
			text := ""
			for _, k := range r.CDRs(0, 9) {
				text += fmt.Sprintf("%s %d setup=%d talk=%d", k.Cause, k.Status, k.SetupMs, k.DurationMs)
			}
			if text != c.cdr {
				t.Errorf("CDR %q, want %q", text, c.cdr)
			}
			if c.member != "" && r.MemberCalls("carriers", c.member) != 1 {
				t.Errorf("%s carries %d calls", c.member, r.MemberCalls("carriers", c.member))
			}
		})
	}
}

// TestCatchUpLater: what the call's messages bring after it was entered finds it; its times are its owner's.
func TestCatchUpLater(t *testing.T) {
	r := cluster(t)
	up := catchUp(newCall("k"), 0, cdrStep{30_000, answer(0, "a")})
	r.must(up)
	if c := r.Call(1); c.AnsweredMs != r.time-30_000 || c.AnsweredWallMs != 1_700_000_000_000+r.time-30_000 || c.DeadlineMs != c.AnsweredMs+maxDurationMs {
		t.Errorf("%+v", c)
	}
	r.time += 5000
	bye := end("a")
	bye.GetEndCall().Call = up.GetCatchUpCall().Call
	r.must(bye)
	if got := r.CDRs(0, 9); len(got) != 1 || got[0].DurationMs != 35_000 || got[0].Call != 1 {
		t.Errorf("%v", got)
	}
	lasted := catchUp(nil, 2, cdrStep{100, end("a")})
	lasted.GetCatchUpCall().Steps[0].LastedMs = 77_000
	second := answer(0, "a")
	second.GetAnswerCall().Call = 2
	r.must(newCall("l"), second, lasted)
	if got := r.CDRs(1, 9); len(got) != 1 || got[0].DurationMs != 77_000 {
		t.Errorf("by the owner's clock: %v", got)
	}
	r.time += lingerMs
	r.must(expireAll())
	if r.Call(up.GetCatchUpCall().Call) != nil {
		t.Error("its own number outlives it")
	}
	checkDerived(t, r.Machine)
}

// TestHandOver: what a former owner of the group did alone is taken, unless the present one has written the row.
func TestHandOver(t *testing.T) {
	r := cluster(t)
	var events []CallHandedOver
	r.Watch(func(e Event) {
		if h, ok := e.(CallHandedOver); ok {
			events = append(events, h)
		}
	})
	r.must(newCall("k"), cmd(&pb.Takeover{Group: 1, Epoch: 6, Node: "u2"}))
	r.must(catchUp(newCall("l"), 0), catchUp(newCall("m"), 0, cdrStep{0, answer(0, "a")}))
	if len(events) != 1 || events[0] != (CallHandedOver{1, 2}) {
		t.Errorf("handed over: %v", events)
	}
	r.must(catchUp(nil, 1, cdrStep{0, answer(0, "a")}))
	newer := end("a")
	newer.GetEndCall().Epoch, newer.GetEndCall().ToTag = 6, "b"
	r.must(newer)
	r.refused(catchUp(nil, 1, cdrStep{0, end("a")}), pb.Code_STALE_EPOCH, "call 1 was changed under epoch 6, after 5")
	r.refused(catchUp(nil, OwnNumber([]byte("never"), 1), cdrStep{0, end("a")}), pb.Code_NOT_FOUND, "call "+fmt.Sprint(OwnNumber([]byte("never"), 1))+" of VIP group 1 does not exist")
}

// TestByeBeforeHandOver: a call that was answered and hung up while its owner could commit nothing is over, also when the next owner has
// taken it up ringing and heard the callee's 200 again.
func TestByeBeforeHandOver(t *testing.T) {
	bye := end("a")
	bye.GetEndCall().Cause = "callee"
	answered := answer(0, "a")
	answered.GetAnswerCall().Epoch = 6
	for name, first := range map[string][]*pb.Command{
		"answer first": {answered, catchUp(nil, 1, cdrStep{100, answer(0, "a")}, cdrStep{50, bye})},
		"bye first":    {leg6(), catchUp(nil, 1, cdrStep{50, bye}), answered}, // it does not know of the answer
	} {
		r := cluster(t)
		r.must(newCall("k"), cmd(&pb.Takeover{Group: 1, Epoch: 6, Node: "u2"}))
		r.must(first...)
		if c := r.Call(1); c.Active() && len(c.Dialogs) > 0 {
			t.Errorf("%s: the call stands: %+v", name, c)
		}
		checkDerived(t, r.Machine)
	}
	silent := cluster(t) // the callee has had its BYE, and repeats nothing
	told := catchUp(nil, 1, cdrStep{100, answer(0, "a")}, cdrStep{50, bye})
	told.GetCatchUpCall().Steps[1].LastedMs = 7000
	silent.must(newCall("k"), cmd(&pb.Takeover{Group: 1, Epoch: 6, Node: "u2"}), leg6(), told)
	if rows := silent.CDRs(0, 10); silent.Call(1).Active() || len(rows) != 1 || rows[0].Cause != CauseByeCallee || rows[0].DurationMs != 7000 || rows[0].AnsweredWallMs == 0 || rows[0].Status != 200 {
		t.Errorf("nobody repeats the answer: %s, %v", silent.show(1), rows)
	}
	silent.refused(answered, pb.Code_REJECTED, "call 1 has ended") // somebody does
	checkDerived(t, silent.Machine)
	lasted := cluster(t)
	up := catchUp(nil, 1, cdrStep{100, answer(0, "a")}, cdrStep{50, bye})
	up.GetCatchUpCall().Steps[1].LastedMs = 5000
	lasted.must(newCall("k"), cmd(&pb.Takeover{Group: 1, Epoch: 6, Node: "u2"}), answered, up)
	if rows := lasted.CDRs(0, 10); len(rows) != 1 || rows[0].DurationMs != 5000 {
		t.Errorf("the record does not say how long it lasted: %v", rows)
	}
	r := cluster(t)
	r.must(newCall("k"), cmd(&pb.Takeover{Group: 1, Epoch: 6, Node: "u2"}), answered)
	r.refused(catchUp(nil, 1, cdrStep{0, end("a")}), pb.Code_STALE_EPOCH, "call 1 was changed under epoch 6, after 5") // no BYE
}

// leg6 is the next owner's first word of the call.
func leg6() *pb.Command {
	c := leg(0, 180, false)
	c.GetLegResult().Epoch = 6
	return c
}

// TestLateNumber: CreateCall was committed after its sender had gone on without, and another owner took the call up and answered it: the BYE
// names it by the number that its sender made.
func TestLateNumber(t *testing.T) {
	r := cluster(t)
	r.must(newCall("k"), cmd(&pb.Takeover{Group: 1, Epoch: 6, Node: "u2"}))
	taken := answer(0, "a")
	taken.GetAnswerCall().Epoch = 6
	up := catchUp(newCall("k"), 0, cdrStep{0, answer(0, "a")})
	r.must(taken, up)
	if c := r.Call(up.GetCatchUpCall().Call); c == nil || c.Number != 1 || c.Epoch != 6 {
		t.Fatalf("%+v", c)
	}
	r.refused(up, pb.Code_STALE_EPOCH, "call 1 was changed under epoch 6, after 5")
	bye := end("a")
	bye.GetEndCall().Call, bye.GetEndCall().Epoch = up.GetCatchUpCall().Call, 6
	r.must(bye)
	if got := r.show(1); got != "ended user2@192.0.2.2:answered 200" {
		t.Error(got)
	}
	checkDerived(t, r.Machine)
}

// TestCatchUpOfALaterRelease: a step that this release does not know must not enter the log.
func TestCatchUpOfALaterRelease(t *testing.T) {
	up := catchUp(nil, 1, cdrStep{0, end("a")})
	if err := CheckCommand(up); err != nil {
		t.Error(err)
	}
	raw, err := proto.Marshal(&pb.CallStep{AgoMs: 1})
	if err != nil {
		t.Fatal(err)
	}
	var s pb.CallStep
	if err := proto.Unmarshal(append(raw, 0xca, 0x06, 0x00), &s); err != nil { // field 105
		t.Fatal(err)
	}
	up.GetCatchUpCall().Steps[0] = &s
	if CheckCommand(up) == nil {
		t.Error("taken")
	}
}
