package proxy

import (
	"testing"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
)

// alone lets d go by in which this node commits nothing, and looks each second whether it can.
func (w *world) alone(d time.Duration) {
	w.t.Helper()
	for range d / time.Second {
		w.pass(time.Second)
		w.catchUp(false)
	}
	w.log = nil
}

// TestCutOffForMinutes: a node that comes back after minutes enters what it did as it was then, however it was kept from it: also what had been on its way to
// the leader all the time. Phones do not ring for a caller who is gone; a call that stands goes on.
func TestCutOffForMinutes(t *testing.T) {
	for name, away := range map[string]func(w *world, d time.Duration){
		"the others went on": func(w *world, d time.Duration) {
			w.alone(d)
			w.cl.ms += d.Milliseconds()
		},
		"nobody had a leader": func(w *world, d time.Duration) {
			w.alone(d)
			w.now -= int64(d)
			w.outage(d)
		},
		"it slept": func(w *world, d time.Duration) {
			w.slept += int64(d)
			w.cl.ms += d.Milliseconds()
		},
		"it slept, and has heard nothing since": func(w *world, d time.Duration) {
			w.slept += int64(d)
			w.late = append(w.late, w.asOf(func() { w.catchUp(false) })...)
			w.cl.ms += d.Milliseconds()
		},
	} {
		for _, c := range []struct {
			d    time.Duration
			late bool
		}{{2 * time.Minute, false}, {10 * time.Minute, true}} {
			t.Run(name+" for "+c.d.String(), func(t *testing.T) {
				w := newLaterCall(t)
				_, invite := w.ringing("c1")
				_, ok := w.call("c2")
				w.catchUp(false)
				w.noLeader = true
				onWay := w.asOf(func() { w.catchUp(true) })
				w.epochs = map[uint32]uint64{}
				w.s.DropGroup(1)
				w.s.DropGroup(2)
				w.late = onWay
				away(w, c.d)
				onWay, w.late = w.late, nil

				n := w.moved()
				n.rearm()
				var up []uint64
				w.cl.m.Watch(func(e fsm.Event) {
					if h, ok := e.(fsm.CallHandedOver); ok {
						up = append(up, h.Call)
					}
				})
				w.noLeader, w.late = false, onWay
				w.commitLate()
				if len(up) != 0 {
					t.Error("what was on its way was entered as if it had just happened")
				}
				for range 3 {
					w.pass(time.Second)
					w.catchUp(false)
				}
				w.nothingLeft()
				if len(up) != 1 {
					t.Fatalf("handed over: %v", up)
				}
				ago := func(what string, at int64) {
					if d := time.Duration(w.cl.m.Now()-at) * time.Millisecond; d < c.d || d > c.d+10*time.Second {
						t.Errorf("%s %v ago, by the record", what, d)
					}
				}
				row, stands := w.cl.m.Call(up[0]), w.cl.m.Call(3-up[0])
				ago("it began", row.CreatedMs)
				ago("the other one was answered", stands.AnsweredMs)
				n.s.Rearm(n.v, n.now, row, 2)
				n.commit()
				if c.late {
					n.want(bob.addr+" CANCEL sip:bob@"+bob.addr, alice.addr+" 408 Request Timeout")
				} else {
					again := n.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
					if header(again, "Via")[0] != header(invite, "Via")[0] {
						t.Error("another INVITE")
					}
				}
				n.bye("c2", ok)
				n.catchUp(true)
				if k := w.cl.m.CDRs(0, 9); k[len(k)-1].Cause != "bye-caller" || k[len(k)-1].DurationMs < c.d.Milliseconds() {
					t.Errorf("%v", k)
				}
			})
		}
	}
}

// asOf returns what fn submits that is on its way then, and stays so.
func (w *world) asOf(fn func()) []submitted {
	kept := w.late
	w.late = []submitted{}
	fn()
	sent := w.late
	w.late = kept
	return sent
}

// sweep lets so much time go by in the cluster that ended calls are forgotten.
func (w *world) sweep() {
	w.cl.ms += 40_000
	w.cl.apply(&pb.Command{Op: &pb.Command_Expire{Expire: &pb.Expire{UpToMs: 1 << 60}}})
}

// TestRecordedOnce: a node that hears of a commit after the call's record has gone makes no second one, nor does it lose the first.
func TestRecordedOnce(t *testing.T) {
	const bye = "1 bye-caller 200 alice@example.com>bob@example.com"
	setup := func(t *testing.T) (w *world, ok string) {
		w = newLaterCall(t)
		_, ok = w.call("c1")
		w.pass(time.Second)
		w.catchUp(false)
		w.noLeader = true
		return w, ok
	}
	done := func(w *world, caughtUp uint64) {
		w.t.Helper()
		for range 3 {
			w.pass(time.Second)
			w.catchUp(false)
		}
		w.nothingLeft()
		if got := w.stats.CaughtUp.Load(); got != caughtUp {
			w.t.Errorf("%d calls caught up, %d not", got, w.stats.NotCaughtUp.Load())
		}
	}
	t.Run("applied, heard of later", func(t *testing.T) {
		w, ok := setup(t)
		w.bye("c1", ok)
		first := w.asOf(func() { w.catchUp(false) })
		r := w.cl.apply(first[0].cmd)
		w.sweep()
		again := w.asOf(func() { w.alone(40 * time.Second) }) // cannot hear, but be heard
		if len(again) == 0 {
			t.Fatal("it does not try again")
		}
		for _, p := range again {
			w.cl.apply(p.cmd)
		}
		w.s.Decided(w.v, w.now, first[0].c, r, nil)
		w.noLeader = false
		done(w, 1)
		w.cdrs(bye)
	})
	t.Run("never applied", func(t *testing.T) {
		w, ok := setup(t)
		w.bye("c1", ok)
		first := w.asOf(func() { w.catchUp(false) })
		again := w.asOf(func() { w.alone(2 * time.Second) })
		for _, p := range again {
			w.cl.apply(p.cmd) // it makes nothing: the first one may have
		}
		w.cdrs()
		w.s.Decided(w.v, w.now, first[0].c, &pb.Result{Code: pb.Code_TOO_LATE}, nil)
		w.noLeader = false
		done(w, 1)
		w.cdrs(bye)
	})
	t.Run("nobody will know", func(t *testing.T) { // one record at most
		w, ok := setup(t)
		w.bye("c1", ok)
		first := w.asOf(func() { w.catchUp(false) })
		w.s.Decided(w.v, w.now, first[0].c, nil, ErrUnknown)
		w.noLeader = false
		done(w, 0)
		w.cdrs()
	})
	t.Run("nobody will know, as is found at once", func(t *testing.T) {
		w, ok := setup(t)
		w.bye("c1", ok)
		w.s.CatchUp(w.v, w.now, false)
		w.s.Committed(w.v, w.now, w.pending[0].c, nil, ErrUnknown)
		w.pending, w.noLeader = nil, false
		done(w, 0)
		w.cdrs()
	})
	t.Run("never applied, as is found while it tries again", func(t *testing.T) {
		w, ok := setup(t)
		w.bye("c1", ok)
		first := w.asOf(func() { w.catchUp(false) })
		w.noLeader = false
		w.pass(time.Second)
		w.s.CatchUp(w.v, w.now, false)
		w.s.Decided(w.v, w.now, first[0].c, &pb.Result{Code: pb.Code_TOO_LATE}, nil)
		w.commit()
		done(w, 1)
		w.cdrs(bye)
	})
	t.Run("a later owner had written it", func(t *testing.T) {
		w, ok := setup(t)
		w.bye("c1", ok)
		first := w.asOf(func() { w.catchUp(false) })
		w.s.Decided(w.v, w.now, first[0].c, &pb.Result{Code: pb.Code_STALE_EPOCH}, nil)
		w.noLeader = false
		done(w, 0)
		w.cdrs()
	})
	t.Run("applied, then ended by another", func(t *testing.T) {
		w, ok := setup(t)
		first := w.asOf(func() { w.catchUp(true) })
		r := w.cl.apply(first[0].cmd)
		w.cl.apply(&pb.Command{Op: &pb.Command_EndCall{EndCall: &pb.EndCall{Call: 1, Home: 1, Epoch: 1, Cause: "caller"}}})
		w.sweep()
		w.bye("c1", ok) // another one of the phone's
		w.s.Decided(w.v, w.now, first[0].c, r, nil)
		w.noLeader = false
		done(w, 0)
		w.cdrs(bye)
	})
	t.Run("the record as such was made, as it turns out", func(t *testing.T) {
		w := newTestCall(t)
		w.noLeader = true
		var ok string
		sent := w.asOf(func() { _, ok = w.call("c1") })
		r := w.cl.apply(sent[0].cmd) // CreateCall
		w.cl.apply(&pb.Command{Op: &pb.Command_EndCall{EndCall: &pb.EndCall{Call: 1, Home: 1, Epoch: 1, Cause: fsm.CauseLost}}})
		w.sweep()
		w.s.Decided(w.v, w.now, sent[0].c, r, nil)
		w.bye("c1", ok)
		w.noLeader = false
		done(w, 0)
		w.cdrs("1 lost 0 alice@example.com>bob@example.com")
	})
	t.Run("the record as such was refused, as it turns out", func(t *testing.T) {
		w := newTestCall(t)
		w.noLeader = true
		var ok string
		sent := w.asOf(func() { _, ok = w.call("c1") })
		w.s.Decided(w.v, w.now, sent[0].c, &pb.Result{Code: pb.Code_STALE_EPOCH}, nil)
		w.bye("c1", ok)
		w.noLeader = false
		done(w, 1)
		w.cdrs(bye)
	})
}

// TestNothingMadeTwice: a command that may make a record says so only while no other may have.
func TestNothingMadeTwice(t *testing.T) {
	w := newLaterCall(t)
	w.call("c1")
	w.noLeader = true
	sent := w.asOf(func() {
		w.catchUp(true)
		w.alone(5 * time.Second)
	})
	for i, p := range sent {
		if up := p.cmd.GetCatchUpCall(); up.Entered != (i > 0) || p.c.MakesRecord() != (i == 0) {
			t.Errorf("attempt %d: %v", i, up)
		}
	}
	w.noLeader = false
	w.alone(time.Second) // what was certain to fail is no doubt
	clean := newLaterCall(t)
	clean.call("c1")
	clean.noLeader = true
	clean.catchUp(true)
	clean.alone(5 * time.Second)
	clean.noLeader = false
	clean.pass(time.Second)
	clean.s.CatchUp(clean.v, clean.now, false)
	if up := clean.pending[0].cmd.GetCatchUpCall(); up.Entered {
		t.Errorf("%v", up)
	}
}

// TestReckonsWhileCutOff: what is made after minutes without a word from the log says so, also where nothing was to be entered before.
func TestReckonsWhileCutOff(t *testing.T) {
	w := newLaterCall(t)
	w.catchUp(false)
	w.pass(3 * time.Minute)
	w.call("c1")
	w.s.CatchUp(w.v, w.now, true)
	if up := w.pending[0].cmd.GetCatchUpCall(); up.MadeMs != w.cl.m.Lived()+180_000 {
		t.Errorf("made at %d, last heard of %d", up.MadeMs, w.cl.m.Lived())
	}
}

// TestJustAwake: what is done right after the machine has slept, before CatchUp has come by, is not as old as the sleep: neither by the record, nor for whoever
// takes the call up.
func TestJustAwake(t *testing.T) {
	w := newLaterCall(t)
	w.catchUp(false)
	w.slept += int64(10 * time.Minute)
	w.cl.ms += (10 * time.Minute).Milliseconds()
	_, invite := w.ringing("c1")
	for range 6 {
		w.pass(time.Second)
		w.catchUp(true)
	}
	row := w.cl.m.Call(1)
	if ago := w.cl.m.Now() - row.CreatedMs; ago > 10_000 {
		t.Errorf("it began %d ms ago, by the record", ago)
	}
	n := w.moved()
	n.rearm()
	n.s.Rearm(n.v, n.now, row, 2)
	n.commit()
	if again := n.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]; header(again, "Via")[0] != header(invite, "Via")[0] {
		t.Error("another INVITE")
	}
}
