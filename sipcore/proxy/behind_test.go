package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
)

// leaderBack ends the time without a leader: what was on its way commits first, then the shard catches up.
func (w *world) leaderBack() {
	w.t.Helper()
	w.noLeader = false
	w.commitLate()
	w.pass(time.Second)
	w.s.CatchUp(w.v, w.now, false)
	w.commit()
	if n, size := w.stats.Behind.Load(), w.stats.BehindBytes.Load(); n != 0 || size != 0 || len(w.s.behind) != 0 || len(w.s.backlog) != 0 {
		w.t.Errorf("%d calls of %d bytes are behind still, %d, %d", n, size, len(w.s.behind), len(w.s.backlog))
	}
}

// bye ends a call of alice's.
func (w *world) bye(id, ok string) {
	w.t.Helper()
	w.in(1, alice.addr, alice.request("BYE", "sip:bob@"+bob.addr, id, 2, id+"bye", header(ok, "To")[0], routeSet(ok, true)...))
	bye := w.want(bob.addr + " BYE sip:bob@" + bob.addr)[0]
	w.in(1, bob.addr, bob.answer(bye, 200))
	w.want(alice.addr + " 200 X")
}

// TestEnteredLater: whatever of a call happens without a leader, the table has it afterwards, and one CDR with the right cause.
func TestEnteredLater(t *testing.T) {
	lose := func(w *world) { w.noLeader = true }
	back := (*world).leaderBack
	for _, c := range []struct {
		name string
		do   func(w *world)
		cdr  string
		talk int64 // ms
	}{
		{"all of it", func(w *world) {
			lose(w)
			_, ok := w.call("c1")
			w.pass(20 * time.Second)
			w.bye("c1", ok)
			back(w)
		}, "1 bye-caller 200 alice@example.com>bob@example.com", 20_000},
		{"the setup", func(w *world) {
			lose(w)
			_, ok := w.call("c1")
			w.pass(20 * time.Second)
			back(w)
			if row := w.cl.m.Call(1); row.State != pb.CallState_CALL_ANSWERED || w.cl.m.Counts().Calls != 1 || row.AnsweredMs >= w.cl.ms-20_000 {
				w.t.Errorf("%+v", row)
			}
			w.bye("c1", ok)
		}, "1 bye-caller 200 alice@example.com>bob@example.com", 21_000},
		{"the answer", func(w *world) {
			_, invite := w.ringing("c1")
			lose(w)
			w.in(1, bob.addr, bob.answer(invite, 200))
			ok := w.want(alice.addr + " 200 X")[0]
			back(w)
			w.bye("c1", ok)
		}, "1 bye-caller 200 alice@example.com>bob@example.com", 1000},
		{"answer and end", func(w *world) {
			_, invite := w.ringing("c1")
			lose(w)
			w.in(1, bob.addr, bob.answer(invite, 200))
			ok := w.want(alice.addr + " 200 X")[0]
			w.pass(5 * time.Second)
			w.bye("c1", ok)
			back(w)
		}, "1 bye-caller 200 alice@example.com>bob@example.com", 5000},
		{"the end", func(w *world) {
			_, ok := w.call("c1")
			w.pass(7 * time.Second)
			lose(w)
			w.pass(3 * time.Second)
			w.bye("c1", ok)
			w.pass(9 * time.Second)
			back(w)
		}, "1 bye-caller 200 alice@example.com>bob@example.com", 10_000},
		{"busy", func(w *world) {
			lose(w)
			w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
			invite := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
			w.in(1, bob.addr, bob.answer(invite, 486))
			w.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 486 X")
			w.in(1, alice.addr, alice.request("ACK", "sip:bob@example.com", "c1", 1, "c1", "<sip:bob@example.com>;tag=bob-tag"))
			back(w)
		}, "1 rejected 486 alice@example.com>bob@example.com", 0},
		{"cancelled", func(w *world) {
			lose(w)
			_, invite := w.ringing("c1")
			w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
			w.want(alice.addr+" 200 OK", bob.addr+" CANCEL sip:bob@"+bob.addr)
			w.in(1, bob.addr, bob.answer(invite, 487))
			w.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 487 X")
			w.in(1, alice.addr, alice.request("ACK", "sip:bob@example.com", "c1", 1, "c1", "<sip:bob@example.com>;tag=bob-tag"))
			back(w)
		}, "1 cancelled 487 alice@example.com>bob@example.com", 0},
		{"set up through the second gateway", func(w *world) {
			lose(w)
			w.in(1, alice.addr, alice.request("INVITE", "sip:0123@example.com", "c1", 1, "c1", ""))
			invite := w.take()[1]
			first := phone{"gw", invite.to.Remote.String()}
			w.in(1, first.addr, first.answer(invite.data, 503))
			sent := w.take()
			second := phone{"gw", sent[1].to.Remote.String()}
			w.in(1, second.addr, second.answer(sent[1].data, 200))
			ok := w.want(alice.addr + " 200 X")[0]
			back(w)
			if n := w.cl.m.MemberCalls("gw", "gw1") + w.cl.m.MemberCalls("gw", "gw2"); n != 1 {
				w.t.Errorf("%d calls on gateways", n)
			}
			w.in(1, alice.addr, alice.request("BYE", "sip:0123@"+second.addr, "c1", 2, "bye", header(ok, "To")[0], routeSet(ok, true)...))
			bye := w.take()[0].data
			w.in(1, second.addr, second.answer(bye, 200))
			w.want(alice.addr + " 200 X")
		}, "1 bye-caller 200 alice@example.com>gw/GW", 1000},
		{"our own hang-up", func(w *world) {
			w.timed("c1", "90")
			lose(w)
			w.overdue(w.cl.m.Call(1).DeadlineMs + sessionSlack)
			for _, b := range w.take() {
				p := phone{"x", b.to.Remote.String()}
				w.in(1, p.addr, p.answer(b.data, 200))
			}
			w.overdue(w.cl.m.Call(1).DeadlineMs + sessionSlack)
			w.want() // no BYE twice
			back(w)
		}, "1 session-timer 200 alice@example.com>bob@example.com", 0},
	} {
		for _, late := range []bool{false, true} {
			name := c.name
			if late {
				name += ", what failed is committed late"
			}
			t.Run(name, func(t *testing.T) {
				w := newTestCall(t)
				if late {
					w.late = []submitted{}
				}
				c.do(w)
				want := c.cdr
				if strings.HasSuffix(want, "GW") { // whichever came second
					want = strings.TrimSuffix(want, "GW") + w.cl.m.CDRs(0, 1)[0].Callee[len("gw/"):]
				}
				w.cdrs(want)
				k := w.cl.m.CDRs(0, 1)[0]
				// An end that was on its way is committed as it was: by FSM time, which stood still.
				if off := k.DurationMs - c.talk; off < -1100 && !(late && c.name == "the end") || off > 1100 && c.talk != 0 {
					t.Errorf("it lasted %d ms, want about %d", k.DurationMs, c.talk)
				}
				if n := w.cl.m.Counts(); n.Calls != 0 {
					t.Errorf("%+v", n)
				}
			})
		}
	}
}

// TestLateCallMoves: a call that was set up without a leader and entered since ends through the next owner of its group.
func TestLateCallMoves(t *testing.T) {
	w := newTestCall(t)
	w.noLeader = true
	_, ok := w.call("c1")
	w.leaderBack()
	n := w.moved()
	n.rearm()
	n.bye("c1", ok)
	n.cdrs("1 bye-caller 200 alice@example.com>bob@example.com")
}

// TestHandedOver: the group moves before the leader is back. The former owner enters what only it knows, and the new one, which
// may have seen the call end by then, too.
func TestHandedOver(t *testing.T) {
	w := newTestCall(t)
	w.noLeader = true
	_, ok := w.call("c1")
	_, invite := w.ringing("c2")
	n := w.moved()
	w.epochs = map[uint32]uint64{}
	w.s.DropGroup(1)
	n.rearm()
	n.bye("c1", ok) // no record of it yet
	if n.stats.Behind.Load() != 1 {
		t.Error("the end is not kept")
	}
	var up []uint64
	w.cl.m.Watch(func(e fsm.Event) {
		if h, ok := e.(fsm.CallHandedOver); ok {
			up = append(up, h.Call)
		}
	})
	w.leaderBack()
	if len(up) != 1 {
		t.Fatalf("handed over while ringing: %v", up)
	}
	n.pass(time.Second)
	n.s.CatchUp(n.v, n.now, false)
	n.commit()
	n.take()
	n.cdrs(fmt.Sprint(3-up[0]) + " bye-caller 200 alice@example.com>bob@example.com")
	// The ringing one: the new owner sees to it.
	n.s.Rearm(n.v, n.now, w.cl.m.Call(up[0]), 2)
	again := n.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	if header(again, "Via")[0] != header(invite, "Via")[0] || header(again, "Record-Route")[0] != header(invite, "Record-Route")[0] {
		t.Errorf("another INVITE:\n%s\nwas\n%s", again, invite)
	}
	n.in(1, bob.addr, bob.answer(again, 200))
	n.want(alice.addr + " 200 X")
	if row := w.cl.m.Call(up[0]); row.State != pb.CallState_CALL_ANSWERED || row.Epoch != 2 {
		t.Errorf("%+v", row)
	}
}

// TestNeverEntered: the former owner that set a call up is dead: its end is looked for in vain for a while.
func TestNeverEntered(t *testing.T) {
	w := newTestCall(t)
	w.noLeader = true
	_, ok := w.call("c1")
	n := w.moved()
	n.bye("c1", ok)
	for range 22 {
		n.pass(time.Second)
		n.s.CatchUp(n.v, n.now, false)
		n.commit()
	}
	if n.stats.Behind.Load() != 0 || n.stats.NotCaughtUp.Load() != 1 || len(n.s.backlog) != 0 {
		t.Errorf("%d behind, %d given up", n.stats.Behind.Load(), n.stats.NotCaughtUp.Load())
	}
	n.cdrs()
}

// TestBehindIsBounded: without room a call goes on all the same, is counted and forgotten.
func TestBehindIsBounded(t *testing.T) {
	w := newTestCall(t)
	w.noLeader = true
	w.stats.BehindBytes.Store(maxBehindBytes)
	for i := range 10 {
		id := fmt.Sprint("c", i)
		_, ok := w.call(id)
		w.bye(id, ok)
	}
	if w.stats.NotCaughtUp.Load() != 10 || len(w.s.behind) != 0 || len(w.s.backlog) != 0 || w.stats.BehindBytes.Load() != maxBehindBytes {
		t.Errorf("%d dropped, %d kept, %d queued", w.stats.NotCaughtUp.Load(), len(w.s.behind), len(w.s.backlog))
	}
	w.stats.BehindBytes.Store(0)
	_, ok := w.call("c")
	to := header(ok, "To")[0]
	for i := range 3 * maxSteps { // session refreshes make no heap
		m := alice.request("UPDATE", "sip:bob@"+bob.addr, "c", 2+i, fmt.Sprint("up", i), to, routeSet(ok, true)...)
		w.in(1, alice.addr, m)
		up := w.want(bob.addr + " UPDATE sip:bob@" + bob.addr)[0]
		w.in(1, bob.addr, bob.answer(up, 200, "Session-Expires: 1800"))
		w.want(alice.addr + " 200 X")
	}
	if n := w.stats.BehindBytes.Load(); n > maxBehindCall {
		t.Errorf("%d bytes of one call", n)
	}
	w.leaderBack()
}
