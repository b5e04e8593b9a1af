package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestCommitBeforeSilence: nothing that ends a neighbour's retransmissions is sent before its state is committed
// (DESIGN §4).
func TestCommitBeforeSilence(t *testing.T) {
	w := newTestCall(t)
	w.hold = true
	req := alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "")
	w.in(1, alice.addr, req)
	w.in(1, alice.addr, req) // retransmission: absorbed in silence
	w.pass(3 * time.Second)
	w.want()
	w.commit()
	inv := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.in(1, alice.addr, req)
	w.want(alice.addr + " 100 Trying")

	// The 200 goes on at once; the ACK waits for the answer.
	w.in(1, bob.addr, bob.answer(inv, 200))
	ok := w.want(alice.addr + " 200 X")[0]
	to := header(ok, "To")[0]
	ack := alice.request("ACK", "sip:bob@"+bob.addr, "c1", 1, "ack", to, routeSet(ok, true)...)
	w.in(1, alice.addr, ack)
	w.want()
	w.in(1, bob.addr, bob.answer(inv, 200)) // comes again meanwhile
	w.want(alice.addr + " 200 X")
	w.commit()
	w.want(bob.addr + " ACK sip:bob@" + bob.addr)
	if w.urgent != 1 {
		t.Error("a BYE could overtake the ACK that was held")
	}
	w.in(1, alice.addr, ack) // no longer held
	w.want(bob.addr + " ACK sip:bob@" + bob.addr)

	// The final to BYE waits for the end.
	w.in(1, alice.addr, alice.request("BYE", "sip:bob@"+bob.addr, "c1", 2, "bye", to, routeSet(ok, true)...))
	bye := w.want(bob.addr + " BYE sip:bob@" + bob.addr)[0]
	w.in(1, bob.addr, bob.answer(bye, 200))
	w.want()
	w.commit()
	w.want(alice.addr + " 200 X")
	if got := strings.Join(w.log, " "); got != "CreateCall AnswerCall EndCall" {
		t.Errorf("commands: %s", got)
	}
}

// TestBehindHeldAck: what follows an ACK that is held does not overtake it, a BYE that comes again meanwhile is one BYE, and what there is no
// room for is not lost.
func TestBehindHeldAck(t *testing.T) {
	for _, noLeader := range []bool{false, true} {
		w, _, request := newAnswering(t)
		w.in(1, alice.addr, request("ACK", 1, "ack"))
		w.in(1, alice.addr, request("INFO", 2, "info"))
		w.in(1, alice.addr, request("BYE", 3, "bye"))
		w.in(1, alice.addr, request("BYE", 3, "bye"))
		w.want()
		w.noLeader = noLeader
		w.commit()
		bye := w.want(bob.addr+" ACK sip:bob@"+bob.addr, bob.addr+" INFO sip:bob@"+bob.addr, bob.addr+" BYE sip:bob@"+bob.addr)[2]
		w.in(1, bob.addr, bob.answer(bye, 200))
		w.commit()
		w.want(alice.addr + " 200 X")
	}
}

func TestHeldBehindAckHasRoom(t *testing.T) {
	w, _, request := newAnswering(t)
	w.in(1, alice.addr, request("ACK", 1, "ack"))
	for i := range maxHeld {
		w.in(1, alice.addr, request("INFO", 2+i, fmt.Sprint("info", i)))
	}
	w.want(bob.addr + " INFO sip:bob@" + bob.addr) // the last: better out of order than not at all
}

func TestCommitOfFailure(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	inv := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.hold = true
	busy := bob.answer(inv, 486)
	w.in(1, bob.addr, busy)
	w.in(1, bob.addr, busy)
	w.want()
	w.commit()
	w.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 486 X")
	w.in(1, bob.addr, busy) // our ACK was lost
	w.want(bob.addr + " ACK sip:bob@" + bob.addr)
	if got := strings.Join(w.log, " "); got != "CreateCall LegResult" {
		t.Errorf("commands: %s", got)
	}
}

func TestCommitOfCancel(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	inv := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.in(1, bob.addr, bob.answer(inv, 180))
	w.want(alice.addr + " 180 X")
	w.hold = true
	cancel := alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", "")
	w.in(1, alice.addr, cancel)
	w.in(1, alice.addr, cancel)
	w.want()
	w.commit()
	out := w.want(alice.addr+" 200 OK", bob.addr+" CANCEL sip:bob@"+bob.addr)
	if v := header(out[1], "Via"); len(v) != 1 || v[0] != header(inv, "Via")[0] {
		t.Errorf("Via of the CANCEL %q", v)
	}
	w.in(1, alice.addr, cancel)
	w.want(alice.addr + " 200 OK")
	w.in(1, bob.addr, bob.answer(out[1], 200)) // 200 to CANCEL ends here
	w.want()
	w.in(1, bob.addr, bob.answer(inv, 487))
	w.want()
	w.commit()
	w.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 487 X")
	w.in(1, alice.addr, alice.request("ACK", "sip:bob@example.com", "c1", 1, "c1", "<sip:bob@example.com>;tag=bob-tag"))
	w.pass(70 * time.Second)
	w.want()
	if w.s.Len() != 0 {
		t.Errorf("%d transactions left", w.s.Len())
	}
}

// TestCancelBeforeRecord: the CANCEL overtakes the commit of the call's record.
func TestCancelBeforeRecord(t *testing.T) {
	w := newTestCall(t)
	w.hold = true
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.want()
	w.commit()
	w.want(alice.addr+" 200 OK", alice.addr+" 487 Request Terminated")
	if got := strings.Join(w.log, " "); got != "CreateCall CancelCall LegResult" {
		t.Errorf("commands: %s", got)
	}
}

// TestCancelBeforeProvisional: no CANCEL is sent before the callee has said something (RFC 3261 §9.1).
func TestCancelBeforeProvisional(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	inv := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.want(alice.addr + " 200 OK")
	w.in(1, bob.addr, bob.answer(inv, 100))
	w.want(bob.addr + " CANCEL sip:bob@" + bob.addr)
	w.pass(time.Second)
	w.want(bob.addr + " CANCEL sip:bob@" + bob.addr) // Timer E
}

// TestAnswerRacesCancel: the 200 crosses our CANCEL: the call is answered, the caller gets the 200 and hangs up itself.
func TestAnswerRacesCancel(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	inv := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.in(1, bob.addr, bob.answer(inv, 180))
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.take()
	w.in(1, bob.addr, bob.answer(inv, 200))
	ok := w.want(alice.addr + " 200 X")[0]
	w.in(1, alice.addr, alice.request("ACK", "sip:bob@"+bob.addr, "c1", 1, "ack", header(ok, "To")[0], routeSet(ok, true)...))
	w.want(bob.addr + " ACK sip:bob@" + bob.addr)
}

// TestNoLeader: a call goes on unreplicated when nothing can be committed.
func TestNoLeader(t *testing.T) {
	w := newTestCall(t)
	w.noLeader = true
	_, ok := w.call("c1")
	to := header(ok, "To")[0]
	w.in(1, alice.addr, alice.request("ACK", "sip:bob@"+bob.addr, "c1", 1, "ack", to, routeSet(ok, true)...))
	w.want(bob.addr + " ACK sip:bob@" + bob.addr)
	w.in(1, alice.addr, alice.request("BYE", "sip:bob@"+bob.addr, "c1", 2, "bye", to, routeSet(ok, true)...))
	bye := w.want(bob.addr + " BYE sip:bob@" + bob.addr)[0]
	w.in(1, bob.addr, bob.answer(bye, 200))
	w.want(alice.addr + " 200 X")
	if n := w.stats.Unreplicated.Load(); n != 3 {
		t.Errorf("%d commits counted as gone without", n)
	}
}

// TestStaleEpoch: another node has taken the group over: silence.
func TestStaleEpoch(t *testing.T) {
	w := newTestCall(t)
	w.moved()
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.want()
	if w.s.Len() != 0 || w.stats.Stale.Load() != 1 {
		t.Errorf("%d transactions, %d stale", w.s.Len(), w.stats.Stale.Load())
	}
}
