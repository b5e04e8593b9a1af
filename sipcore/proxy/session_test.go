package proxy

import (
	"strings"
	"testing"
	"time"

	"holdline/fsm/pb"
)

// timed sets up an acknowledged call whose 200 has a Session-Expires, none if "".
func (w *world) timed(id, expires string) (invite, ok string) {
	w.t.Helper()
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", id, 1, id, ""))
	invite = w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	var headers []string
	if expires != "" {
		headers = []string{"Session-Expires: " + expires}
	}
	w.in(1, bob.addr, bob.answer(invite, 200, headers...))
	ok = w.want(alice.addr + " 200 X")[0]
	w.in(1, alice.addr, alice.request("ACK", "sip:bob@"+bob.addr, id, 1, id+"ack", header(ok, "To")[0], routeSet(ok, true)...))
	w.want(bob.addr + " ACK sip:bob@" + bob.addr)
	return invite, ok
}

// overdue lets the shard see what is overdue at an FSM time.
func (w *world) overdue(fsmNow int64) {
	for _, row := range w.cl.m.Overdue(fsmNow, 100) {
		if e, ok := w.epochs[row.Home]; ok {
			w.s.Overdue(w.v, w.now, row, e, fsmNow)
		}
	}
	w.s.CatchUp(w.v, w.now, false)
	if !w.hold {
		w.commit()
	}
}

// TestSessionExpires: a session that nobody refreshes is ended by BYEs to both sides.
func TestSessionExpires(t *testing.T) {
	w := newTestCall(t)
	invite, ok := w.timed("c1", "1800;refresher=uac")
	end := w.cl.m.Call(1).DeadlineMs
	w.overdue(end + sessionSlack - 1)
	w.want()
	w.overdue(end + sessionSlack)
	byes := w.want(alice.addr+" BYE sip:alice@"+alice.addr, bob.addr+" BYE sip:bob@"+bob.addr)
	toAlice, toBob := byes[0], byes[1]
	if f, to := header(toAlice, "From")[0], header(toAlice, "To")[0]; !strings.HasSuffix(f, ";tag=bob-tag") || !strings.HasSuffix(to, ";tag=alice-tag") {
		t.Errorf("to the caller: From %s, To %s", f, to)
	}
	if f, to := header(toBob, "From")[0], header(toBob, "To")[0]; f != header(invite, "From")[0] || to != header(ok, "To")[0] {
		t.Errorf("to the callee: From %s, To %s", f, to)
	}
	for _, b := range byes {
		if header(b, "CSeq")[0] != "2147483647 BYE" || header(b, "Call-ID")[0] != "c1" || len(header(b, "Reason")) != 1 || len(header(b, "Via")) != 1 {
			t.Errorf("BYE:\n%s", b)
		}
	}
	w.overdue(end + sessionSlack + 1000)
	w.want() // they are under way
	w.pass(500 * time.Millisecond)
	w.want(alice.addr+" BYE sip:alice@"+alice.addr, bob.addr+" BYE sip:bob@"+bob.addr)
	w.in(1, bob.addr, bob.answer(toBob, 200))
	if w.cl.m.Call(1).State != pb.CallState_CALL_ANSWERED {
		t.Error("ended before the caller knows")
	}
	w.in(1, alice.addr, alice.answer(toAlice, 200))
	w.want()
	if w.cl.m.Call(1).State != pb.CallState_CALL_ENDED {
		t.Error("the record lives on")
	}
	w.pass(40 * time.Second)
	w.want()
	if w.s.Len() != 0 || len(w.s.hanging) != 0 {
		t.Errorf("%d transactions, %d calls left", w.s.Len(), len(w.s.hanging))
	}
}

// TestSessionRefreshed: a re-INVITE's or UPDATE's 2xx moves the deadline; nothing is let through before that is committed.
func TestSessionRefreshed(t *testing.T) {
	for _, method := range []string{"INVITE", "UPDATE"} {
		t.Run(method, func(t *testing.T) {
			w := newTestCall(t)
			_, ok := w.timed("c1", "1800")
			before := w.cl.m.Call(1).DeadlineMs
			w.cl.ms += 900_000
			w.hold = true
			to := header(ok, "To")[0]
			w.in(1, alice.addr, alice.request(method, "sip:bob@"+bob.addr, "c1", 2, "re", to, routeSet(ok, true)...))
			re := w.want(bob.addr + " " + method + " sip:bob@" + bob.addr)[0]
			w.in(1, bob.addr, bob.answer(re, 200, "Session-Expires: 1800"))
			if method == "INVITE" {
				w.want(alice.addr + " 200 X")
				w.in(1, alice.addr, alice.request("ACK", "sip:bob@"+bob.addr, "c1", 2, "reack", to, routeSet(ok, true)...))
			}
			w.want()
			w.hold = false
			w.commit()
			if method == "INVITE" {
				w.want(bob.addr + " ACK sip:bob@" + bob.addr)
			} else {
				w.want(alice.addr + " 200 X")
			}
			if after := w.cl.m.Call(1).DeadlineMs; after < before+900_000 {
				t.Errorf("deadline %d, was %d", after, before)
			}
			w.overdue(before + sessionSlack)
			w.want()
		})
	}
}

// TestSessionTimerOff: a 2xx to a refresh without Session-Expires ends the session timer; the maximum duration stays.
func TestSessionTimerOff(t *testing.T) {
	w := newTestCall(t)
	_, ok := w.timed("c1", "1800")
	to := header(ok, "To")[0]
	w.in(1, alice.addr, alice.request("UPDATE", "sip:bob@"+bob.addr, "c1", 2, "up", to, routeSet(ok, true)...))
	up := w.want(bob.addr + " UPDATE sip:bob@" + bob.addr)[0]
	w.in(1, bob.addr, bob.answer(up, 200))
	w.want(alice.addr + " 200 X")
	if row := w.cl.m.Call(1); row.DeadlineMs != w.v.Config.MaxEnd(row) {
		t.Errorf("deadline %d", row.DeadlineMs)
	}
	n := len(w.log) // with no timer and the same Contact there is nothing to commit
	w.in(1, alice.addr, alice.request("UPDATE", "sip:bob@"+bob.addr, "c1", 3, "up2", to, routeSet(ok, true)...))
	up = w.want(bob.addr + " UPDATE sip:bob@" + bob.addr)[0]
	w.in(1, bob.addr, bob.answer(up, 200))
	w.want(alice.addr + " 200 X")
	if len(w.log) != n {
		t.Errorf("commands %v", w.log[n:])
	}
}

// TestMaxDuration: a call that may not go on for longer is ended, though its session is refreshed. BYEs that nobody
// answers end with Timer F.
func TestMaxDuration(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	cl.apply(&pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: "call.max-duration", Value: "600"}}})
	w := newWorld(t, cl)
	w.timed("c1", "1800")
	row := cl.m.Call(1)
	if row.DeadlineMs != row.AnsweredMs+600_000 {
		t.Fatalf("deadline %d ms after the answer", row.DeadlineMs-row.AnsweredMs)
	}
	w.overdue(row.DeadlineMs)
	w.want(alice.addr+" BYE sip:alice@"+alice.addr, bob.addr+" BYE sip:bob@"+bob.addr)
	w.pass(33 * time.Second)
	if cl.m.Call(1).State != pb.CallState_CALL_ENDED || w.s.Len() != 0 {
		t.Errorf("%v, %d transactions", cl.m.Call(1).State, w.s.Len())
	}
}

// TestSessionExpiresAfterTakeover: the new owner ends the call with the same BYEs.
func TestSessionExpiresAfterTakeover(t *testing.T) {
	w := newTestCall(t)
	w.timed("c1", "90")
	end := w.cl.m.Call(1).DeadlineMs + sessionSlack
	w.overdue(end)
	first := w.want(alice.addr+" BYE sip:alice@"+alice.addr, bob.addr+" BYE sip:bob@"+bob.addr)
	n := w.moved()
	n.overdue(end)
	again := n.want(alice.addr+" BYE sip:alice@"+alice.addr, bob.addr+" BYE sip:bob@"+bob.addr)
	if again[0] != first[0] || again[1] != first[1] {
		t.Errorf("other BYEs:\n%s\nbefore:\n%s", again[0], first[0])
	}
}

// TestRefreshWithoutLeader: a refresh that could not be committed is kept and committed later; the call is not ended meanwhile.
func TestRefreshWithoutLeader(t *testing.T) {
	w := newTestCall(t)
	_, ok := w.timed("c1", "1800")
	before := w.cl.m.Call(1).DeadlineMs
	w.noLeader = true
	w.in(1, alice.addr, alice.request("UPDATE", "sip:bob@"+bob.addr, "c1", 2, "up", header(ok, "To")[0], routeSet(ok, true)...))
	up := w.want(bob.addr + " UPDATE sip:bob@" + bob.addr)[0]
	w.in(1, bob.addr, bob.answer(up, 200, "Session-Expires: 1800"))
	w.want(alice.addr + " 200 X")
	w.overdue(before + sessionSlack)
	w.want()
	w.noLeader = false
	w.now += int64(900 * time.Second)
	w.cl.ms += 900_000
	w.overdue(before + sessionSlack)
	w.want()
	if after := w.cl.m.Call(1).DeadlineMs; after < before+900_000 || len(w.s.behind) != 0 {
		t.Errorf("deadline %d, was %d", after, before)
	}
}
