package proxy

import (
	"net/netip"
	"testing"
	"time"

	"holdline/fsm/pb"
)

// rotate puts another branch key in force.
func (w *world) rotate() {
	w.t.Helper()
	w.cl.apply(&pb.Command{Op: &pb.Command_PutKey{PutKey: &pb.PutKey{Purpose: "branch", Id: 2, Secret: []byte("fedcba9876543210fedcba9876543210")}}})
	w.v, _ = NewView(w.cl.m.Config(), []Group{
		{1, []VIP{{Addr: netip.MustParseAddr("10.0.0.101")}}},
		{2, []VIP{{Addr: netip.MustParseAddr("10.0.0.102")}}},
	}, nil)
	if len(w.v.branch) != 2 || w.v.branch[0].id != 2 {
		w.t.Fatalf("%d keys, current %d", len(w.v.branch), w.v.branch[0].id)
	}
}

// TestKeyRotation: a key that is put in force during an INVITE changes nothing for its retransmission, its responses, CANCEL
// and ACK.
func TestKeyRotation(t *testing.T) {
	w := newTestCall(t)
	req := alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "")
	w.in(1, alice.addr, req)
	inv := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.rotate()
	w.in(1, alice.addr, req)
	w.want(alice.addr + " 100 Trying")
	w.in(1, bob.addr, bob.answer(inv, 180))
	w.want(alice.addr + " 180 X")
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.want(alice.addr+" 200 OK", bob.addr+" CANCEL sip:bob@"+bob.addr)
	w.in(1, bob.addr, bob.answer(inv, 487))
	w.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 487 X")
	w.in(1, alice.addr, alice.request("ACK", "sip:bob@example.com", "c1", 1, "c1", "<sip:bob@example.com>;tag=bob-tag"))
	w.pass(time.Second)
	w.want() // acknowledged: Timer G is off
	if n := w.cl.m.Counts().CallRows; n != 1 {
		t.Errorf("%d calls", n)
	}
}

// TestKeyRotationAndTakeover: the new owner, which never had the old key in force, repeats the INVITE as it was.
func TestKeyRotationAndTakeover(t *testing.T) {
	for name, rearm := range map[string]bool{"taken up": true, "retransmitted": false} {
		t.Run(name, func(t *testing.T) {
			w := newTestCall(t)
			req := alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "")
			w.in(1, alice.addr, req)
			inv := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
			n := w.moved()
			n.rotate()
			if rearm {
				n.rearm()
			} else {
				n.in(1, alice.addr, req)
			}
			if again := n.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]; again != inv {
				t.Errorf("INVITE after the takeover:\n%s\nbefore:\n%s", again, inv)
			}
			if c := n.cl.m.Counts().CallRows; c != 1 {
				t.Errorf("%d calls", c)
			}
		})
	}
}

// TestLateNonInvite: a response that comes after its transaction has timed out goes nowhere (RFC 4320), but for a while after
// a takeover, when the transaction may have been the last owner's.
func TestLateNonInvite(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("MESSAGE", "sip:bob@example.com", "c", 1, "b", ""))
	msg := w.want(bob.addr + " MESSAGE sip:bob@" + bob.addr)[0]
	w.pass(33 * time.Second)
	w.take()
	w.in(1, bob.addr, bob.answer(msg, 200))
	w.want()
	n := w.moved()
	n.acquired = n.now - int64(time.Second)
	n.in(1, bob.addr, bob.answer(msg, 200))
	n.want(alice.addr + " 200 X")
	n.acquired = n.now - int64(33*time.Second)
	n.in(1, bob.addr, bob.answer(msg, 200))
	n.want()
}

// TestStray: CANCELs and ACKs that belong to nothing.
func TestStray(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.want(alice.addr + " 481 Call/Transaction Does Not Exist")
	w.in(1, alice.addr, alice.request("ACK", "sip:bob@example.com", "c1", 1, "c1", "<sip:bob@example.com>;tag=x"))
	w.want()
	w.in(1, alice.addr, alice.request("MESSAGE", "sip:bob@example.com", "c2", 1, "c2", ""))
	w.take()
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c2", 1, "c2", "")) // only an INVITE can be cancelled
	w.want(alice.addr + " 481 Call/Transaction Does Not Exist")
}
