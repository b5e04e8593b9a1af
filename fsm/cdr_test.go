package fsm

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdline/fsm/pb"
)

// after lets time pass and makes a command.
type cdrStep struct {
	after int64 // ms
	cmd   *pb.Command
}

func expireAll() *pb.Command { return cmd(&pb.Expire{UpToMs: 1 << 60}) }

func endBy(cause string) *pb.Command {
	return cmd(&pb.EndCall{Call: 1, Home: 1, Epoch: 5, Cause: cause})
}

func noAnswer(status uint32) *pb.Command {
	return cmd(&pb.LegResult{Call: 1, Home: 1, Epoch: 5, Leg: 0, Status: status, CallFailed: true, Final: fmt.Appendf(nil, "SIP/2.0 408 T\r\n\r\n")})
}

func cancelled() *pb.Command { return cmd(&pb.CancelCall{Call: 1, Home: 1, Epoch: 5}) }

// TestEveryEndHasItsCDR goes through the ways in which a call can end.
func TestEveryEndHasItsCDR(t *testing.T) {
	one := newCall("k")
	one.GetCreateCall().Origin = "user1@example.com"
	for _, c := range []struct {
		name  string
		first *pb.Command
		steps []cdrStep
		want  string // cause status legs setup duration callee
	}{
		{"the caller hangs up", one, []cdrStep{{4000, answer(0, "a")}, {60_000, endBy("caller")}}, "bye-caller 200 legs=1 setup=4000 talk=60000 user2@example.com"},
		{"the callee hangs up", one, []cdrStep{{4000, answer(0, "a")}, {1000, endBy("callee")}}, "bye-callee 200 legs=1 setup=4000 talk=1000 user2@example.com"},
		{"an owner's timer ends it", one, []cdrStep{{0, answer(0, "a")}, {1000, endBy("session-timer")}}, "session-timer 200 legs=1 setup=0 talk=1000 user2@example.com"},
		{"busy", one, []cdrStep{{900, leg(0, 486, true)}}, "rejected 486 legs=1 setup=900 talk=0 user2@example.com"},
		{"cancelled", one, []cdrStep{{900, cancelled()}, {100, leg(0, 487, true)}}, "cancelled 486 legs=1 setup=1000 talk=0 user2@example.com"},
		{"answered although cancelled", one, []cdrStep{{900, cancelled()}, {100, answer(0, "a")}, {500, endBy("caller")}}, "bye-caller 200 legs=1 setup=1000 talk=500 user2@example.com"},
		{"nobody took it", one, []cdrStep{{180_000, leg(0, 487, false)}, {0, noAnswer(487)}}, "no-answer 408 legs=1 setup=180000 talk=0 user2@example.com"},
		{"nothing was heard", one, []cdrStep{{32_000, noAnswer(408)}}, "timed-out 408 legs=1 setup=32000 talk=0 user2@example.com"},
		{"nobody saw to its end", one, []cdrStep{{300_000, expireAll()}}, "lost 0 legs=1 setup=300000 talk=0 user2@example.com"},
		{"nobody saw to its end once cancelled", one, []cdrStep{{10, cancelled()}, {92_000, expireAll()}}, "cancelled 0 legs=1 setup=92010 talk=0 user2@example.com"},
		{"swept", one, []cdrStep{{10, answer(0, "a")}, {maxDurationMs + graceMs, expireAll()}}, "timed-out 200 legs=1 setup=10 talk=43260000 user2@example.com"},
		{"gateways, the second takes it", poolCall("k", 2), []cdrStep{{0, leg(0, 503, false)}, {0, answer(1, "b")}, {5, endBy("caller")}}, "bye-caller 200 legs=2 setup=0 talk=5 carriers/gw2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := cluster(t)
			r.must(c.first)
			for _, s := range c.steps {
				if len(r.CDRs(0, 9)) != 0 {
					t.Fatal("a CDR before the end")
				}
				r.time += s.after
				r.must(s.cmd)
			}
			got := r.CDRs(0, 9)
			if len(got) != 1 {
				t.Fatalf("%d CDRs", len(got))
			}
			k := got[0]
			if text := fmt.Sprintf("%s %d legs=%d setup=%d talk=%d %s", k.Cause, k.Status, k.Legs, k.SetupMs, k.DurationMs, k.Callee); text != c.want {
				t.Errorf("\n got %s\nwant %s", text, c.want)
			}
			if k.Number != 1 || k.Call != 1 || k.Domain != "example.com" || k.Home != 1 || k.HomeName == "" || k.CreatedWallMs == 0 || k.EndedWallMs != 1_700_000_000_000+r.time {
				t.Errorf("%v", k)
			}
			// Whatever comes late makes no second one.
			for _, late := range []*pb.Command{endBy("caller"), leg(0, 487, true), answer(0, "late"), cancelled(), expireAll()} {
				r.do(late)
			}
			r.time += 100_000
			r.must(expireAll())
			if _, last := r.CDRRange(); last != 1 || r.Counts().Calls != 0 || r.Call(1) != nil {
				t.Errorf("%d CDRs, %+v", last, r.Counts())
			}
			checkDerived(t, r.Machine)
		})
	}
}

func TestRingingIsPutOff(t *testing.T) {
	r := cluster(t)
	r.must(newCall("k"))
	for range 10 { // ten minutes, a 180 each minute (RFC 3261 §13.3.1.1)
		r.time += 60_000
		r.must(leg(0, 180, false), expireAll())
	}
	if c := r.Call(1); c == nil || !c.Active() {
		t.Fatal("it was ended although its owner sees to it")
	}
	r.time += timerCMs + graceMs
	r.must(expireAll())
	if got := r.CDRs(0, 9); len(got) != 1 || got[0].Cause != CauseLost {
		t.Fatalf("then nobody did: %v", got)
	}
	asked := newCall("l")
	asked.GetCreateCall().RingS = 20
	number := r.must(asked).Id
	before := r.Call(number).DeadlineMs
	r.time += 10_000
	r.must(cmd(&pb.LegResult{Call: number, Home: 1, Epoch: 5, Status: 180}))
	if r.Call(number).DeadlineMs != before {
		t.Error("a no-answer time that was asked for was put off")
	}
}

// over makes calls that end at once.
func (r *replica) over(n int) {
	for range n {
		id := r.must(newCall(fmt.Sprint("over", r.index))).Id
		r.must(cmd(&pb.EndCall{Call: id, Home: 1, Epoch: 5, Cause: "caller"}))
	}
}

func (r *replica) kept(want string) {
	r.Helper()
	first, last := r.CDRRange()
	if got := fmt.Sprintf("%d-%d", first, last); got != want {
		r.Errorf("kept: %s, want %s", got, want)
	}
	checkCDRs(r, r.Machine)
}

func TestCDRsGoWhenTaken(t *testing.T) {
	take := func(name string, upTo uint64) *pb.Command { return cmd(&pb.PutCursor{Name: name, UpTo: upTo}) }
	r := cluster(t)
	r.over(10)
	r.must(take("node/u1", 10), take("node/u2", 9), expireAll())
	r.kept("1-10") // without a consumer nobody wanted them yet: they stay for the retention
	r.must(take("billing", 4))
	r.kept("5-10")
	r.must(take("archive", 0))
	r.must(take("billing", 10))
	r.kept("5-10")
	r.must(take("archive", 10))
	r.kept("10-10") // u2 has not written the last
	r.must(take("node/u2", 10))
	r.kept("11-10")
	r.over(1)
	r.kept("11-11")
	r.must(cmd(&pb.PutCursor{Name: "archive", Remove: true}), take("billing", 11), take("node/u1", 11))
	r.kept("11-11")
	r.must(take("node/u2", 11))
	r.kept("12-11")
	r.refused(take("billing", 12), pb.Code_REJECTED, "CDR consumer billing can't have taken CDR 12: the last one is 11")
	r.refused(take("node/u9", 1), pb.Code_NOT_FOUND, "node u9 does not exist")
	r.refused(take("bill ing", 1), pb.Code_REJECTED, `"bill ing" is not a name for a CDR consumer: letters, digits and -_.:+ are`)
	r.refused(cmd(&pb.PutCursor{Name: "archive", Remove: true}), pb.Code_NOT_FOUND, "CDR consumer archive does not exist")
	if got := r.must(take("billing", 3)); !got.Existing || got.Id != 11 {
		t.Errorf("a cursor never goes back: %v", got)
	}
	for i := len(r.Cursors()); i < maxCursors; i++ {
		r.must(take(fmt.Sprint("c", i), 0))
	}
	r.refused(take("more", 0), pb.Code_LIMIT, "there are 64 CDR consumers already: remove one")
}

func TestCDRsAreBounded(t *testing.T) {
	r := cluster(t)
	r.must(cmd(&pb.PutSetting{Name: SettingCDRMaxRows, Value: "50"}), cmd(&pb.PutCursor{Name: "asleep"}))
	r.over(200)
	r.kept("151-200")
	r.must(cmd(&pb.PutSetting{Name: SettingCDRMaxRows, Value: "10"}))
	r.must(expireAll())
	r.kept("191-200")
	r.time += CDRRetentionDays*dayMs - 1
	r.must(expireAll())
	r.kept("191-200")
	r.time++
	if at, any := r.ExpireDue(); !any || at > r.time {
		t.Errorf("due at %d %v", at, any)
	}
	r.must(expireAll())
	r.kept("201-200")
	r.over(1)
	r.kept("201-201")
}

func TestCallsAreCountedByUser(t *testing.T) {
	r := cluster(t)
	c := newCall("k")
	c.GetCreateCall().Origin = "user1@example.com"
	c.GetCreateCall().Targets = []*pb.Target{{Uri: "sip:a", Aor: "user2@example.com"}, {Uri: "sip:b", Aor: "user2@example.com"}, {Uri: "sip:c", Aor: "user3@example.com"}}
	r.must(c)
	count := func(want string) {
		t.Helper()
		n := r.CallCounts(true)
		var b strings.Builder
		fmt.Fprint(&b, n.Total, n.Domains, n.Users)
		if b.String() != want {
			t.Errorf("got %s, want %s", &b, want)
		}
	}
	count("1 map[example.com:1] map[user1@example.com:1 user2@example.com:1 user3@example.com:1]")
	r.must(answer(1, "x"))
	count("1 map[example.com:1] map[user1@example.com:1 user2@example.com:1]")
	if r.UserCalls("user2@example.com") != 1 || r.UserCalls("user3@example.com") != 0 {
		t.Error("by user")
	}
	r.must(end("x"))
	count("0 map[] map[]")
}

// TestOneCDRPerCall: whatever happens, as many CDRs are made as calls have ended, numbered without a hole.
func TestOneCDRPerCall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := New()
		ended := map[uint64]bool{}
		for i, e := range drawLog(t) {
			m.Apply(uint64(i+1), e)
			m.Calls(func(c *Call) bool {
				if !c.Active() { // its row stays for 32 s, so none is missed
					ended[c.Number] = true
				}
				return true
			})
			if _, last := m.CDRRange(); last != uint64(len(ended)) {
				t.Fatalf("entry %d: %d calls have ended, %d CDRs were made", i, len(ended), last)
			}
			checkCDRs(t, m)
		}
	})
}
