package fsm

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"holdline/fsm/pb"
)

// made says when a CatchUpCall was made, by Machine.Lived.
func made(c *pb.Command, lived int64) *pb.Command {
	c.GetCatchUpCall().MadeMs = lived
	return c
}

// restored is a replica that begins with r's snapshot.
func (r *replica) restored() *replica {
	r.Helper()
	n := &replica{tester: r.tester, Machine: New(), time: r.time, index: r.index}
	if err := n.Restore(bytes.NewReader(r.bytes())); err != nil {
		r.Fatal(err)
	}
	return n
}

// TestToldTooLate: what waited for long is to be told anew, wherever it waited. Time without a leader counts, which FSM time leaves out, and on
// every replica.
func TestToldTooLate(t *testing.T) {
	late := func(r *replica, c *pb.Command, s int) {
		t.Helper()
		text := fmt.Sprintf("what was done about call %d was told %d s ago: tell it anew", OwnNumber([]byte("k"), 1), s)
		r.refused(c, pb.Code_TOO_LATE, text)
		if r.CallByKey([]byte("k")) != nil {
			t.Error("it was entered")
		}
	}
	up := func() *pb.Command { return catchUp(newCall("k"), 0) }
	t.Run("the sender was cut off", func(t *testing.T) {
		r := cluster(t)
		c := made(up(), r.time)
		r.time += maxWaitMs + 1
		late(r, c, 10)
		r.must(made(up(), r.time-maxWaitMs)) // what a busy log makes it wait
	})
	t.Run("there was no leader", func(t *testing.T) {
		r := cluster(t)
		r.outage(60_000) // one that both know of
		c := made(up(), r.Lived()+3000)
		r.outage(90_000)
		if r.Lived() != r.time+150_000 || r.Now() != r.time {
			t.Fatalf("lived %d, FSM time %d", r.Lived(), r.Now())
		}
		late(r, c, 87)
		n := r.restored()
		late(n, c, 87)
		n.must(made(up(), n.Lived()))
	})
	t.Run("it reckons too late", func(t *testing.T) {
		r := cluster(t)
		r.must(made(up(), r.Lived()+5000))
	})
	t.Run("a sender that does not say", func(t *testing.T) {
		r := cluster(t)
		r.must(up())
	})
}

// TestSetUpLongAgo: the deadline of what is entered counts from then on, for its owner may see to it still; but whoever takes it up knows how old it is.
func TestSetUpLongAgo(t *testing.T) {
	const minute = 60_000
	for _, c := range []struct {
		name   string
		before *pb.Command
		up     *pb.Command
		lasts  int64 // its deadline, from the entry
		over   int64 // how much later its time is over
	}{
		{"set up just now", nil, catchUp(newCall("k"), 0), timerCMs + graceMs, timerCMs + graceMs - 1000},
		{"set up minutes ago", nil, catchUp(newCall("k"), 0, cdrStep{3 * minute, leg(0, 180, false)}), timerCMs + graceMs, timerCMs + graceMs - 3*minute - 1000},
		{"set up an hour ago", nil, catchUp(newCall("k"), 0, cdrStep{60 * minute, leg(0, 180, false)}), timerCMs + graceMs, 0},
		{"it rang long after", nil, catchUp(newCall("k"), 0, cdrStep{9 * minute, leg(0, 100, false)}, cdrStep{minute, leg(0, 180, false)}), timerCMs + graceMs, timerCMs + graceMs - minute},
		{"given up long ago", nil, catchUp(newCall("k"), 0, cdrStep{minute, cancelled()}), lingerMs + graceMs, 0},
		{"failed long ago", nil, catchUp(newCall("k"), 0, cdrStep{minute, leg(0, 486, true)}), lingerMs, 0},
		{"recorded after all", newCall("k"), catchUp(newCall("k"), 0, cdrStep{9 * minute, leg(0, 100, false)}), timerCMs + graceMs, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := cluster(t)
			if c.before != nil {
				r.must(c.before)
			}
			row := r.Call(r.must(c.up).Id)
			if got := row.dueAt() - r.time; got != c.lasts {
				t.Errorf("it is swept in %d ms, want %d", got, c.lasts)
			}
			row = r.restored().Call(row.Number)
			if over := row.TimeOver(r.time + c.over); !over || c.over > 0 && row.TimeOver(r.time+c.over-1) {
				t.Errorf("its time is not over in %d ms: %d ms are left out of its deadline", c.over, row.Outage())
			}
			checkDerived(t, r.Machine)
		})
	}
	t.Run("answered", func(t *testing.T) { // a call that stands is nobody's to end
		r := cluster(t)
		row := r.Call(r.must(catchUp(newCall("k"), 0, cdrStep{60 * minute, answer(0, "a")})).Id)
		if row.DeadlineMs != row.AnsweredMs+maxDurationMs || row.Outage() != 0 {
			t.Errorf("%+v", row)
		}
	})
}

// TestOutageIsNoChange: legs that were tried take the place of those chosen in Apply also where the record lived through an outage before its owner could say so.
func TestOutageIsNoChange(t *testing.T) {
	r := cluster(t)
	r.must(poolCall("k", 2))
	r.outage(20_000)
	r.must(catchUp(triedPool(), 0, cdrStep{10, answer(0, "a")}))
	if r.MemberCalls("carriers", "gw3") != 1 {
		t.Error(r.show(1))
	}
}

// TestEntersOnce: a record that its sender may have made before is not made again, once it has gone.
func TestEntersOnce(t *testing.T) {
	over := catchUp(newCall("k"), 0, cdrStep{500, answer(0, "a")}, cdrStep{100, end("a")})
	again := catchUp(newCall("k"), 0, cdrStep{500, answer(0, "a")}, cdrStep{100, end("a")})
	again.GetCatchUpCall().Entered = true
	gone := fmt.Sprintf("call %d of VIP group 1 does not exist", OwnNumber([]byte("k"), 1))
	r := cluster(t)
	r.refused(again, pb.Code_NOT_FOUND, gone) // it never was, and its sender hears so
	r.must(over, again)
	r.time += lingerMs
	r.must(expireAll())
	r = r.restored()
	r.refused(again, pb.Code_NOT_FOUND, gone)
	if n := len(r.CDRs(0, 9)); n != 1 {
		t.Errorf("%d records of one call", n)
	}
	rings := catchUp(newCall("l"), 0)
	answered := catchUp(newCall("l"), 0, cdrStep{0, answer(0, "a")})
	answered.GetCatchUpCall().Entered = true
	if n := r.must(rings, answered).Id; r.show(n) != "answered user2@192.0.2.2:answered dialogs=a 200" {
		t.Error(r.show(n))
	}
}

// TestOneRecordEach: however often what was done about a call is told, by whoever else it was ended, and through whatever snapshots: a sender that says
// whether it has told it before makes one record.
func TestOneRecordEach(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := cluster(t)
		told := map[string]bool{}
		for range rapid.IntRange(1, 30).Draw(t, "commands") {
			r.time += rapid.SampledFrom([]int64{0, 1000, 40_000, 300_000}).Draw(t, "ms")
			key := rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key")
			var steps []cdrStep
			for range rapid.IntRange(0, 3).Draw(t, "steps") {
				c := rapid.SampledFrom([]*pb.Command{leg(0, 180, false), leg(0, 486, true), answer(0, "a"), cancelled(), end("a")}).Draw(t, "step")
				steps = append(steps, cdrStep{1000, c})
			}
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				r.do(expireAll())
			case 1:
				r = r.restored()
			case 2: // its group's owner ends it
				if row := r.CallByKey([]byte(key)); row != nil {
					r.do(cmd(&pb.EndCall{Call: row.Number, Home: 1, Epoch: 5, Cause: CauseLost}))
				}
			default:
				c := catchUp(newCall(key), 0, steps...)
				c.GetCatchUpCall().Entered = told[key]
				if got := r.do(c); got.Code == pb.Code_OK {
					told[key] = true
				}
			}
		}
		r.time += maxDurationMs + graceMs + 1_000_000
		for r.do(expireAll()).Existing {
		}
		r.time += lingerMs
		r.do(expireAll())
		if n := len(r.CDRs(0, 99)); n != len(told) {
			t.Errorf("%d records of %d calls", n, len(told))
		}
	})
}
