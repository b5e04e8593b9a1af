package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"holdline/fsm/pb"
)

// windows steps a through n windows, of which each has the delays.
func (a *Admission) windows(now *int64, n int, queued, committed time.Duration, fresh, datagrams int) {
	for range n {
		for range 20 {
			a.Queued(int64(queued), datagrams/20)
			a.committed.add(int64(committed))
		}
		a.fresh.Add(int64(fresh))
		*now += stepEvery
		a.Step(*now)
	}
}

func TestAdmissionWindows(t *testing.T) {
	const ms = time.Millisecond
	for name, x := range map[string]struct {
		queued, committed time.Duration
		fresh, datagrams  int
		sheds             bool
	}{
		"idle":                          {0, 5 * ms, 100, 1000, false},
		"slow disk":                     {0, 100 * ms, 100, 1000, false},
		"standing queue":                {150 * ms, 5 * ms, 100, 1000, true},
		"commits pile up":               {0, 400 * ms, 100, 1000, true},
		"flood of junk":                 {150 * ms, 5 * ms, 10, 10000, false},
		"junk, and commits pile up too": {150 * ms, 400 * ms, 10, 10000, true},
	} {
		var a Admission
		var now int64
		a.windows(&now, 100, x.queued, x.committed, x.fresh, x.datagrams)
		if got := a.Pressure() > 0; got != x.sheds {
			t.Errorf("%s: pressure %v", name, a.Pressure())
		}
		a.windows(&now, 100, 0, 5*ms, x.fresh, x.datagrams)
		if p := a.Pressure(); p != 0 {
			t.Errorf("%s: pressure %v when it is over for 10 s", name, p)
		}
	}
}

// TestAdmissionElection: what was held while there was no leader is committed late, all at once, and then the rest in time. Nobody
// is turned away for that.
func TestAdmissionElection(t *testing.T) {
	var a Admission
	var now int64
	a.windows(&now, 10, 0, 5*time.Millisecond, 50, 500)
	a.windows(&now, 2, 0, 900*time.Millisecond, 50, 500)
	if p := a.Pressure(); p != 0 {
		t.Errorf("pressure %v", p)
	}
	a.windows(&now, 10, 0, 5*time.Millisecond, 50, 500)
	if p := a.Pressure(); p != 0 {
		t.Errorf("pressure %v", p)
	}
}

// cohort is how many were let in at a time.
type cohort struct {
	at int64
	n  float64
}

// TestAdmissionHolds plays servers of some capacity under loads beyond it: nearly all of the capacity goes to those who are let in,
// and the queue stays short.
func TestAdmissionHolds(t *testing.T) {
	for _, load := range []float64{1.2, 2, 5, 20} {
		for _, capacity := range []float64{200, 2000, 20000} {
			var a Admission
			var now int64
			var served, wasted, worst float64
			var queue []cohort // in the order in which they came
			const step, seconds = 0.1, 60
			for i := range int(seconds / step) {
				admitted := load * capacity * step * (1 - min(a.Pressure(), 1))
				queue = append(queue, cohort{now, admitted})
				a.waiting.Add(int64(admitted))
				now += stepEvery
				room := max(capacity*step-0.02*(load*capacity*step-admitted), 0) // a refusal costs too
				var done float64
				for len(queue) > 0 && done < room {
					some := min(queue[0].n, room-done)
					done += some
					for range int(some + 0.5) {
						a.waited(now-queue[0].at, nil)
					}
					if queue[0].n -= some; queue[0].n > 1e-6 {
						break
					}
					queue = queue[1:]
				}
				if i > 20 { // 2 s to find its way
					served += done
					wasted += room - done
				}
				if i > 150 && len(queue) > 0 { // what had gathered by then is served, too
					worst = max(worst, float64(now-queue[0].at)/1e9)
				}
				a.Queued(0, int(13*capacity*step))
				a.fresh.Add(int64(load * capacity * step))
				a.Step(now)
			}
			share := served / (served + wasted)
			if share < 0.95 || worst > 1 {
				t.Errorf("load %v × %v/s: %.0f %% used, %.2f s behind at worst", load, capacity, 100*share, worst)
			}
		}
	}
}

// pressed is a world in which too much comes.
func pressed(t *testing.T, pressure uint32) *world {
	w := newTestCall(t)
	w.s.opt.Admission.pressure.Store(pressure)
	return w
}

// TestTurnedAway: who begins something new is refused; what is under way goes on.
func TestTurnedAway(t *testing.T) {
	w := newTestCall(t)
	_, ok := w.call("c1")
	to, routes := header(ok, "To")[0], routeSet(ok, true)
	ringing := alice.request("INVITE", "sip:bob@example.com", "c2", 1, "c2", "")
	w.in(1, alice.addr, ringing)
	inv := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.in(1, bob.addr, bob.answer(inv, 180))
	w.want(alice.addr + " 180 X")
	w.s.opt.Admission.pressure.Store(2 * one)

	w.in(1, alice.addr, alice.request("ACK", "sip:bob@"+bob.addr, "c1", 1, "ack", to, routes...))
	w.want(bob.addr + " ACK sip:bob@" + bob.addr)
	w.in(1, alice.addr, ringing) // known
	w.want(alice.addr + " 180 X")
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c2", 1, "c2", ""))
	w.want(alice.addr+" 200 OK", bob.addr+" CANCEL sip:bob@"+bob.addr)
	w.in(1, bob.addr, bob.answer(inv, 487))
	w.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 487 X")
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@"+bob.addr, "c1", 2, "re", to, routes...))
	re := w.want(bob.addr + " INVITE sip:bob@" + bob.addr)[0]
	w.in(1, bob.addr, bob.answer(re, 200))
	w.want(alice.addr + " 200 X")
	w.in(1, alice.addr, alice.request("BYE", "sip:bob@"+bob.addr, "c1", 3, "bye", to, routes...))
	bye := w.want(bob.addr + " BYE sip:bob@" + bob.addr)[0]
	w.in(1, bob.addr, bob.answer(bye, 200))
	w.want(alice.addr + " 200 X")

	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c3", 1, "c3", ""))
	w.want() // beyond what can be answered
	w.in(1, alice.addr, alice.request("INVITE", "sip:112@example.com", "c4", 1, "c4", ""))
	if m := w.byReceiver(); starts(m[alice.addr]) != "404" { // nobody's number here, but it was looked for
		t.Errorf("an emergency call got %v", m)
	}
	if n := w.stats.Ignored.Load(); n != 1 {
		t.Errorf("counted %d", n)
	}
}

// TestTurnedAwayAnswer: phones are told when to come back, trunks are not.
func TestTurnedAwayAnswer(t *testing.T) {
	w := pressed(t, one)
	after := map[string]bool{}
	for i := range 40 {
		id := fmt.Sprint("c", i)
		w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", id, 1, id, ""))
		r := header(w.want(alice.addr + " 503 Service Unavailable")[0], "Retry-After")
		if len(r) != 1 {
			t.Fatalf("Retry-After %q", r)
		}
		after[r[0]] = true
	}
	if len(after) < 10 {
		t.Errorf("all come back at once: %v", after)
	}
	w.in(1, alice.addr, alice.request("INVITE", "sip:mallory@example.com", "m", 1, "m", ""))
	w.take() // a number that is not: whatever is answered is cheap

	w.cl.apply(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: &pb.Member{
		Pool: "gw", Name: "gw3", Address: "10.0.0.23", Sources: []string{"10.0.0.23/32"},
	}}}})
	trunk := newWorld(t, w.cl)
	trunk.s.opt.Admission.pressure.Store(one)
	trunk.in(1, "10.0.0.23:5060", phone{"gw3", "10.0.0.23:5060"}.request("INVITE", "sip:bob@example.com", "t", 1, "t", ""))
	if r := header(trunk.want("10.0.0.23:5060 503 Service Unavailable")[0], "Retry-After"); len(r) != 0 {
		t.Errorf("a trunk is told Retry-After %q", r)
	}
	if n := w.stats.TurnedAway.Load(); n < 40 {
		t.Errorf("counted %d", n)
	}
}

// TestTurnedAwayEmergency: calls to emergency numbers are served.
func TestTurnedAwayEmergency(t *testing.T) {
	cl := newCluster(t)
	cl.apply(&pb.Command{Op: &pb.Command_PutRoute{PutRoute: &pb.PutRoute{Route: &pb.Route{Domain: "example.com", Prefix: "112", Pool: "gw"}}}})
	w := newWorld(t, cl)
	w.s.opt.Admission.pressure.Store(2 * one)
	w.in(1, alice.addr, alice.request("INVITE", "sip:112@example.com", "e", 1, "e", ""))
	w.want(alice.addr+" 100 Trying", gw1.addr+" INVITE sip:112@"+gw1.addr)
}

// TestTurnedAwayRecorded: a retransmission that the last owner has served is none of the new requests.
func TestTurnedAwayRecorded(t *testing.T) {
	w := newTestCall(t)
	req := alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "")
	w.in(1, alice.addr, req)
	w.take()
	next := newWorld(t, w.cl)
	next.s.opt.Admission.pressure.Store(one)
	next.in(1, alice.addr, req)
	if m := next.byReceiver(); strings.Contains(starts(m[alice.addr]), "503") || len(m[bob.addr]) != 1 {
		t.Errorf("the next owner sent %v", m)
	}
}

// TestLot: the share that is refused is the share that was asked for, and the luck of a Call-ID changes with time.
func TestLot(t *testing.T) {
	const n = 100_000
	refused, both := 0, 0
	for i := range n {
		id := []byte(fmt.Sprint("call-", i))
		first, later := lot(id, 0) < one/4, lot(id, int64(10*time.Second)) < one/4
		if first != (lot(id, int64(9*time.Second)) < one/4) {
			t.Fatal("luck changes within seconds")
		}
		if first {
			refused++
		}
		if first && later {
			both++
		}
	}
	if refused < n*24/100 || refused > n*26/100 || both > n*8/100 {
		t.Errorf("%d of %d refused, %d twice", refused, n, both)
	}
}

// TestCrowded: more calls than can be remembered are let in only as fast as half a minute's worth of room allows, so that there is some for requests in dialogs; when
// what has ended is forgotten all are served again.
func TestCrowded(t *testing.T) {
	w := newTestCall(t)
	const room = 200
	w.s.opt.MaxCells = room
	w.s = NewShard(w.s.opt, w)
	_, ok := w.call("c1")
	to, routes := header(ok, "To")[0], routeSet(ok, true)
	call := func(id string, after time.Duration) {
		w.pass(after)
		w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", id, 1, id, ""))
		w.take()
	}
	for i := range 640 {
		call(fmt.Sprint("n", i), 100*time.Millisecond)
		if i == room/16 && w.stats.TurnedAway.Load() > 0 {
			t.Fatal("a few calls at once are refused")
		}
	}
	if n, refused := w.s.Len(), w.stats.TurnedAway.Load(); n < room*7/10 || n > room*19/20 || refused < room || w.stats.Overload.Load() != 0 {
		t.Errorf("%d transactions of %d, %d calls refused", n, room, refused)
	}
	w.in(1, alice.addr, alice.request("INVITE", "sip:112@example.com", "e", 1, "e", ""))
	if m := w.byReceiver(); starts(m[alice.addr]) != "404" { // nobody's number here, but it was looked for
		t.Errorf("an emergency call got %v", m)
	}
	w.in(1, alice.addr, alice.request("BYE", "sip:bob@"+bob.addr, "c1", 2, "bye", to, routes...))
	bye := w.want(bob.addr + " BYE sip:bob@" + bob.addr)[0]
	w.in(1, bob.addr, bob.answer(bye, 200))
	w.want(alice.addr + " 200 X")

	w.pass(4 * time.Minute) // nobody answered
	w.take()
	if n := w.s.Len(); n > room/10 {
		t.Errorf("%d transactions are left", n)
	}
	before := w.stats.TurnedAway.Load()
	for i := range 50 {
		call(fmt.Sprint("m", i), 200*time.Millisecond)
	}
	if n := w.stats.TurnedAway.Load() - before; n != 0 {
		t.Errorf("%d calls refused after the flood", n)
	}
}

// TestCrowdedByOthers: where something else fills the memory fewer calls are let in, some even when it is full, but then of long ones next to none; all again when it
// is not full any more.
func TestCrowdedByOthers(t *testing.T) {
	w := newTestCall(t)
	const room = 1600
	w.s.opt.MaxCells = room
	w.s = NewShard(w.s.opt, w)
	served := func(name string, header ...string) int {
		const n = 5000
		before := w.stats.TurnedAway.Load()
		for i := range n {
			id := fmt.Sprint(name, i)
			w.pass(10 * time.Millisecond)
			w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", id, 1, id, "", header...))
			w.take()
		}
		w.pass(4 * time.Minute) // nobody answered
		w.take()
		return n - int(w.stats.TurnedAway.Load()-before)
	}
	all := served("a")
	w.s.opt.Admission.Taken(room / 2)
	half := served("b")
	if half < all*4/10 || half > all*6/10 {
		t.Errorf("%d calls served, with half of the memory taken %d", all, half)
	}
	w.s.opt.Admission.Taken(room * 2)
	few, long := served("c"), served("l", "X-Long: "+strings.Repeat("x", 40<<10))
	if few < all/20 || few > all/10 {
		t.Errorf("%d calls served, with no memory left %d", all, few)
	}
	if long < 1 || long > few/10 {
		t.Errorf("with no memory left %d calls served, %d if they are long", few, long)
	}
	w.in(1, alice.addr, alice.request("INVITE", "sip:112@example.com", "e", 1, "e", ""))
	if m := w.byReceiver(); starts(m[alice.addr]) != "404" { // nobody's number here, but it was looked for
		t.Errorf("an emergency call got %v", m)
	}
	w.s.opt.Admission.Taken(0)
	if n := served("d"); n < all*9/10 || n > all*11/10 {
		t.Errorf("%d calls served at first, %d in the end", all, n)
	}
}
