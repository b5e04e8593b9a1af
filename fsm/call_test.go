package fsm

import (
	"fmt"
	"strings"
	"testing"

	"holdline/fsm/pb"
)

// show writes a call as its state, legs (target:state), dialogs and what it still holds.
func (r *replica) show(number uint64) string {
	c := r.Call(number)
	if c == nil {
		return "none"
	}
	var b strings.Builder
	b.WriteString(strings.ToLower(strings.TrimPrefix(c.State.String(), "CALL_")))
	for _, l := range c.Legs {
		name := l.Target.Member
		if name == "" {
			name = strings.TrimPrefix(l.Target.URI, "sip:")
		}
		fmt.Fprintf(&b, " %s:%s", name, strings.ToLower(l.State.String()))
	}
	if len(c.Dialogs) > 0 {
		fmt.Fprintf(&b, " dialogs=%s", strings.Join(c.Dialogs, ","))
	}
	if c.FinalStatus != 0 {
		fmt.Fprintf(&b, " %d", c.FinalStatus)
	}
	if c.Invite != nil {
		b.WriteString(" +invite")
	}
	return b.String()
}

type callStep struct {
	say  string
	cmd  *pb.Command
	code pb.Code
	then string
}

func (r *replica) transcript(number uint64, steps []callStep) {
	r.Helper()
	for i, s := range steps {
		if got := r.do(s.cmd); got.Code != s.code {
			r.Errorf("step %d, %s: %v %s, want %v", i+1, s.say, got.Code, got.Error, s.code)
		}
		if now := r.show(number); now != s.then {
			r.Errorf("step %d, %s:\n got %s\nwant %s", i+1, s.say, now, s.then)
		}
		checkDerived(r, r.Machine)
	}
}

func leg(leg, status uint32, failed bool) *pb.Command {
	c := &pb.LegResult{Call: 1, Home: 1, Epoch: 5, Leg: leg, Status: status, ToTag: "t", CallFailed: failed}
	if failed {
		c.Final = []byte("SIP/2.0 486 Busy Here\r\n\r\n")
	}
	return cmd(c)
}

func answer(leg uint32, tag string) *pb.Command {
	return cmd(&pb.AnswerCall{Call: 1, Home: 1, Epoch: 5, Leg: leg, ToTag: tag, CalleeContact: "sip:c@192.0.2.2"})
}

func end(tag string) *pb.Command {
	return cmd(&pb.EndCall{Call: 1, Home: 1, Epoch: 5, ToTag: tag})
}

func forked(uris ...string) *pb.Command {
	c := newCall("k")
	c.GetCreateCall().Targets = nil
	for _, u := range uris {
		c.GetCreateCall().Targets = append(c.GetCreateCall().Targets, &pb.Target{Uri: u})
	}
	return c
}

func TestPlainCall(t *testing.T) {
	r := cluster(t)
	stale := end("a")
	stale.GetEndCall().Epoch = 4
	r.transcript(1, []callStep{
		{"INVITE", newCall("k"), pb.Code_OK, "calling user2@192.0.2.2:trying +invite"},
		{"its retransmission at another node", newCall("k"), pb.Code_OK, "calling user2@192.0.2.2:trying +invite"},
		{"180", leg(0, 180, false), pb.Code_OK, "early user2@192.0.2.2:ringing +invite"},
		{"200", answer(0, "a"), pb.Code_OK, "answered user2@192.0.2.2:answered dialogs=a 200"},
		{"CANCEL crosses it", cmd(&pb.CancelCall{Call: 1, Home: 1, Epoch: 5}), pb.Code_OK, "answered user2@192.0.2.2:answered dialogs=a 200"},
		{"re-INVITE renews the session", answer(0, "a"), pb.Code_OK, "answered user2@192.0.2.2:answered dialogs=a 200"},
		{"BYE through a former owner", stale, pb.Code_STALE_EPOCH, "answered user2@192.0.2.2:answered dialogs=a 200"},
		{"BYE of another dialog", end("zz"), pb.Code_OK, "answered user2@192.0.2.2:answered dialogs=a 200"},
		{"BYE", end("a"), pb.Code_OK, "ended user2@192.0.2.2:answered 200"},
		{"BYE again", end("a"), pb.Code_OK, "ended user2@192.0.2.2:answered 200"},
		{"a late INVITE makes no second call", newCall("k"), pb.Code_OK, "ended user2@192.0.2.2:answered 200"},
	})
	if n := r.Counts(); n.Calls != 0 || n.CallRows != 1 || r.DomainCalls("example.com") != 0 {
		t.Errorf("%+v", n)
	}
	r.time += lingerMs
	r.must(cmd(&pb.Expire{UpToMs: r.time}))
	if r.Call(1) != nil || r.CallByKey([]byte("k")) != nil {
		t.Error("the row goes after 32 s")
	}
	r.refused(end("a"), pb.Code_NOT_FOUND, "call 1 of VIP group 1 does not exist")
}

func TestForkedCall(t *testing.T) {
	r := cluster(t)
	r.transcript(1, []callStep{
		{"INVITE to two phones", forked("sip:a", "sip:b"), pb.Code_OK, "calling a:trying b:trying +invite"},
		{"a is busy", leg(0, 486, false), pb.Code_OK, "calling a:failed b:trying +invite"},
		{"b redirects", cmd(&pb.AddLegs{Call: 1, Home: 1, Epoch: 5, Targets: []*pb.Target{{Uri: "sip:c"}}}), pb.Code_OK, "calling a:failed b:trying c:trying +invite"},
		{"c answers", answer(2, "c"), pb.Code_OK, "answered a:failed b:cancelling c:answered dialogs=c 200 +invite"},
		{"b answered before CANCEL came", answer(1, "b"), pb.Code_OK, "answered a:failed b:answered c:answered dialogs=c,b 200"},
		{"BYE to b", end("b"), pb.Code_OK, "answered a:failed b:answered c:answered dialogs=c 200"},
		{"BYE to c ends the call", end("c"), pb.Code_OK, "ended a:failed b:answered c:answered 200"},
		{"no legs after that", cmd(&pb.AddLegs{Call: 1, Home: 1, Epoch: 5, Targets: []*pb.Target{{Uri: "sip:d"}}}), pb.Code_REJECTED, "ended a:failed b:answered c:answered 200"},
	})
}

// TestRedirect: a leg goes on where its phone sends it, once, and not when the caller has given up.
func TestRedirect(t *testing.T) {
	to := func(uri string, attempt uint32) *pb.Command {
		c := leg(0, 302, false)
		c.GetLegResult().Redirect, c.GetLegResult().Attempt = &pb.Target{Uri: uri, Q: 1000, Routes: []string{"<sip:v;lr>"}}, attempt
		return c
	}
	r := cluster(t)
	r.transcript(1, []callStep{
		{"INVITE to two phones", forked("sip:a", "sip:b"), pb.Code_OK, "calling a:trying b:trying +invite"},
		{"a rings", leg(0, 180, false), pb.Code_OK, "early a:ringing b:trying +invite"},
		{"a redirects", to("sip:c", 1), pb.Code_OK, "early c:trying b:trying +invite"},
		{"again", to("sip:c", 1), pb.Code_OK, "early c:trying b:trying +invite"},
		{"c redirects", to("sip:d", 2), pb.Code_OK, "early d:trying b:trying +invite"},
		{"a's comes again", to("sip:c", 1), pb.Code_OK, "early d:trying b:trying +invite"},
		{"nowhere", to("", 3), pb.Code_OK, "early d:failed b:trying +invite"},
	})
	if l := r.Call(1).Legs[0]; l.Attempt != 2 || l.Status != 302 || len(l.Target.Routes) != 1 {
		t.Errorf("%+v", l)
	}
	r = cluster(t)
	r.transcript(1, []callStep{
		{"INVITE to two phones", forked("sip:a", "sip:b"), pb.Code_OK, "calling a:trying b:trying +invite"},
		{"the caller gives up", cmd(&pb.CancelCall{Call: 1, Home: 1, Epoch: 5}), pb.Code_OK, "cancelling a:cancelling b:cancelling +invite"},
		{"a redirects", to("sip:c", 1), pb.Code_OK, "cancelling a:failed b:cancelling +invite"},
	})
}

// TestEndBeforeAnswer: another owner's answer is committed after the end of its dialog: it must not stand for ever.
func TestEndBeforeAnswer(t *testing.T) {
	r := cluster(t)
	bye := end("a")
	bye.GetEndCall().Cause = "callee"
	r.transcript(1, []callStep{
		{"INVITE to two phones", forked("sip:a", "sip:b"), pb.Code_OK, "calling a:trying b:trying +invite"},
		{"BYE, the answer is not recorded", bye, pb.Code_OK, "calling a:trying b:trying +invite"},
		{"BYE again", bye, pb.Code_OK, "calling a:trying b:trying +invite"},
		{"the answer", answer(0, "a"), pb.Code_OK, "ended a:answered b:cancelling 200"},
	})
	if got := r.CDRs(0, 9); len(got) != 1 || got[0].Cause != CauseByeCallee || got[0].Status != 200 {
		t.Errorf("%v", got)
	}
	r = cluster(t)
	r.transcript(1, []callStep{
		{"INVITE to two phones", forked("sip:a", "sip:b"), pb.Code_OK, "calling a:trying b:trying +invite"},
		{"both answer", answer(0, "a"), pb.Code_OK, "answered a:answered b:cancelling dialogs=a 200 +invite"},
		{"BYE to b", end("b"), pb.Code_OK, "answered a:answered b:cancelling dialogs=a 200 +invite"},
		{"then b's answer", answer(1, "b"), pb.Code_OK, "answered a:answered b:cancelling dialogs=a 200 +invite"},
		{"BYE to a", end("a"), pb.Code_OK, "ended a:answered b:cancelling 200"},
	})
	r = cluster(t)
	r.transcript(1, []callStep{
		{"INVITE", newCall("k"), pb.Code_OK, "calling user2@192.0.2.2:trying +invite"},
		{"BYE", bye, pb.Code_OK, "calling user2@192.0.2.2:trying +invite"},
		{"no answer is heard of any more", leg(0, 408, true), pb.Code_OK, "failed user2@192.0.2.2:failed 486"},
	})
	if got := r.CDRs(0, 9); len(got) != 1 || got[0].Cause != CauseByeCallee {
		t.Errorf("%v", got)
	}
}

func TestFailedAndCancelledCalls(t *testing.T) {
	r := cluster(t)
	r.transcript(1, []callStep{
		{"INVITE", forked("sip:a", "sip:b"), pb.Code_OK, "calling a:trying b:trying +invite"},
		{"603 from a fails the call", leg(0, 603, true), pb.Code_OK, "failed a:failed b:cancelling 486 +invite"},
		{"487 from b", leg(1, 487, false), pb.Code_OK, "failed a:failed b:failed 486"},
		{"487 from b again", leg(1, 487, false), pb.Code_OK, "failed a:failed b:failed 486"},
	})
	if c := r.Call(1); string(c.Final) != "SIP/2.0 486 Busy Here\r\n\r\n" || c.DeadlineMs != r.time+lingerMs {
		t.Errorf("the final is kept for retransmission: %q until %d", c.Final, c.DeadlineMs)
	}
	r = cluster(t)
	r.transcript(1, []callStep{
		{"INVITE", newCall("k"), pb.Code_OK, "calling user2@192.0.2.2:trying +invite"},
		{"CANCEL", cmd(&pb.CancelCall{Call: 1, Home: 1, Epoch: 5}), pb.Code_OK, "cancelling user2@192.0.2.2:cancelling +invite"},
		{"487", leg(0, 487, true), pb.Code_OK, "failed user2@192.0.2.2:failed 486"},
	})
}

func TestPoolCall(t *testing.T) {
	r := cluster(t)
	full := &pb.Member{Pool: "carriers", Name: "gw2", Address: "10.77.0.21:5080", MaxCalls: 1}
	r.must(cmd(&pb.PutMember{Member: full}))
	r.transcript(1, []callStep{
		{"INVITE", poolCall("k1", 2), pb.Code_OK, "calling gw1:trying gw2:pending gw3:pending +invite"},
	})
	if c := r.Call(1); c.Legs[0].Target.URI != "sip:4930@10.77.0.21:5080" || c.Legs[0].Target.Flow.Remote.String() != "10.77.0.21:5080" {
		t.Errorf("%+v", c.Legs[0].Target)
	}
	r.must(poolCall("k2", 0)) // takes the only place on gw2
	if r.show(2) != "calling gw2:trying +invite" || r.MemberCalls("carriers", "gw2") != 1 {
		t.Errorf("second call: %s", r.show(2))
	}
	r.transcript(1, []callStep{
		{"gw1 fails, gw2 is full", leg(0, 503, false), pb.Code_OK, "calling gw1:failed gw2:failed gw3:trying +invite"},
		{"gw3 answers", answer(2, "x"), pb.Code_OK, "answered gw1:failed gw2:failed gw3:answered dialogs=x 200"},
	})
	for i, want := range []string{"gw3", "gw1", "gw3", "gw1"} { // gw2 is full and passed over
		number := r.must(poolCall(fmt.Sprint("more", i), 0)).Id
		if got := r.Call(number).Legs[0].Target.Member; got != want {
			t.Errorf("turn %d: %s, want %s", i, got, want)
		}
	}
	for _, n := range []string{"gw1", "gw3"} {
		r.must(cmd(&pb.PutMember{Member: &pb.Member{Pool: "carriers", Name: n, Address: "192.0.2.1", MaxCalls: 1}}))
	}
	r.refused(poolCall("toomany", 0), pb.Code_LIMIT, "every member of pool carriers carries as many calls as it may, or is disabled")
	r.must(cmd(&pb.PutMember{Member: &pb.Member{Pool: "carriers", Name: "gw3", Address: "192.0.2.1", Disabled: true}}))
	r.must(cmd(&pb.PutMember{Member: &pb.Member{Pool: "carriers", Name: "gw1", Address: "192.0.2.1"}}))
	for i := range 3 { // one that is disabled is nobody's turn, and nobody's alternate
		c := poolCall(fmt.Sprint("without", i), 3)
		if legs := r.Call(r.must(c).Id).Legs; len(legs) != 1 || legs[0].Target.Member != "gw1" {
			t.Errorf("legs: %+v", legs)
		}
	}
	r.must(cmd(&pb.PutPool{Pool: &pb.Pool{Name: "empty"}}))
	empty := poolCall("e", 0)
	empty.GetCreateCall().Pool = "empty"
	r.refused(empty, pb.Code_LIMIT, "pool empty has no members: add one with `holdline pool member add empty`")
}

func TestPoolAlgorithms(t *testing.T) {
	count := func(algorithm string, weights map[string]uint32, calls int) map[string]int {
		r := cluster(t)
		r.must(cmd(&pb.PutPool{Pool: &pb.Pool{Name: "carriers", Algorithm: algorithm}}))
		for name, w := range weights {
			r.must(cmd(&pb.PutMember{Member: &pb.Member{Pool: "carriers", Name: name, Address: "192.0.2.1", Weight: w}}))
		}
		got := map[string]int{}
		for i := range calls {
			got[r.Call(r.must(poolCall(fmt.Sprint(i), 0)).Id).Legs[0].Target.Member]++
		}
		checkDerived(r, r.Machine)
		return got
	}
	even := map[string]uint32{"gw1": 1, "gw2": 1, "gw3": 1}
	for _, a := range []string{RoundRobin, LeastCalls} {
		if got := count(a, even, 9); got["gw1"] != 3 || got["gw2"] != 3 || got["gw3"] != 3 {
			t.Errorf("%s: %v", a, got)
		}
	}
	for _, a := range []string{Weighted, LeastCalls} {
		if got := count(a, map[string]uint32{"gw1": 5, "gw2": 1, "gw3": 2}, 80); got["gw1"] != 50 || got["gw2"] != 10 || got["gw3"] != 20 {
			t.Errorf("%s: %v", a, got)
		}
	}
	got := count(ByHash, even, 300)
	for _, n := range []string{"gw1", "gw2", "gw3"} {
		if got[n] < 60 {
			t.Errorf("hash: %v", got)
		}
	}
}

func TestCallsExpire(t *testing.T) {
	r := cluster(t)
	var expired []string
	r.Watch(func(e Event) {
		if x, is := e.(CallsExpired); is {
			for _, c := range x.Calls {
				expired = append(expired, fmt.Sprint(c.Number, c.State))
			}
		}
	})
	r.must(newCall("a"), newCall("b"))
	r.must(cmd(&pb.AnswerCall{Call: 1, Home: 1, Epoch: 5, ToTag: "a", SessionExpires: 90}))
	r.time += 90_000 + graceMs
	r.must(cmd(&pb.Expire{UpToMs: r.time}))
	r.time += lingerMs
	r.must(cmd(&pb.Expire{UpToMs: r.time}))
	if got := strings.Join(expired, " "); got != "1 CALL_ENDED 1 CALL_ENDED" {
		t.Errorf("expired: %s", got)
	}
	if at, any := r.ExpireDue(); !any || at != 1_000_000+timerCMs+graceMs {
		t.Errorf("call b is due at %d", at)
	}
	if r.show(2) == "none" || r.Counts().Calls != 1 {
		t.Error("call b rings on")
	}
	var home []uint64
	r.CallsOf(1, func(c *Call) bool { home = append(home, c.Number); return true })
	r.CallsOf(2, func(c *Call) bool { t.Errorf("call %d is at home elsewhere", c.Number); return true })
	if fmt.Sprint(home) != "[2]" {
		t.Errorf("calls of group 1: %v", home)
	}
}

// TestInviteKeptUntilFinal: a call whose gateways have all failed has yet to give its caller a final: until that is recorded the next owner needs the INVITE to do so.
func TestInviteKeptUntilFinal(t *testing.T) {
	r := cluster(t)
	for _, name := range []string{"gw2", "gw3"} {
		r.must(cmd(&pb.PutMember{Member: &pb.Member{Pool: "carriers", Name: name, Address: "192.0.2.1", MaxCalls: 1}}))
	}
	r.transcript(1, []callStep{
		{"INVITE", poolCall("k1", 2), pb.Code_OK, "calling gw1:trying gw2:pending gw3:pending +invite"},
		{"others take gw2", poolCall("k2", 0), pb.Code_OK, "calling gw1:trying gw2:pending gw3:pending +invite"},
		{"and gw3", poolCall("k3", 0), pb.Code_OK, "calling gw1:trying gw2:pending gw3:pending +invite"},
		{"gw1 fails", leg(0, 503, false), pb.Code_OK, "calling gw1:failed gw2:failed gw3:failed +invite"},
		{"the final", leg(0, 503, true), pb.Code_OK, "failed gw1:failed gw2:failed gw3:failed 486"},
	})
}
