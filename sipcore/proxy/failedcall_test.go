package proxy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
)

// TestFailedCallRingsNobody: whatever phones, caller, time and takeovers do, a call is on record as failed only when nothing rings any more. So a new owner has nobody
// to cancel: legs that the record of such a call says are being cancelled were never sent, and their phones would ring for a call that they have not heard of.
func TestFailedCallRingsNobody(t *testing.T) {
	failed, unsent := 0, 0
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, newCluster(t))
		var phones ringers
		for i := range 2 + r.IntN(3) {
			p := phone{fmt.Sprint("p", i), fmt.Sprintf("10.0.0.%d:5060", 40+i)}
			phones = append(phones, &ringer{phone: p})
			w.cl.register("bob@example.com", "sip:bob@"+p.addr, p.addr, 1, uint32(300+350*r.IntN(3)))
		}
		epoch := uint64(1)
		w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
		for range 4 + r.IntN(12) {
			phones.get(w)
			switch n := r.IntN(12); {
			case n < 7:
				if p := phones[r.IntN(len(phones))]; p.invite != "" && !p.over {
					status := []int{100, 180, 180, 486, 404, 480, 503, 603}[r.IntN(8)]
					p.over = status >= 300
					w.in(1, p.addr, p.answer(p.invite, status))
				}
			case n == 7:
				w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
			case n == 8:
				w.pass(time.Duration(r.IntN(3000)) * time.Millisecond)
			case n == 9: // the log answers late
				if w.hold = !w.hold; !w.hold {
					w.commit()
				}
			default:
				epoch++
				w = w.next(epoch)
			}
			phones.get(w)
			c := w.cl.m.Call(1)
			if c == nil || c.State != pb.CallState_CALL_FAILED {
				continue
			}
			failed++
			for _, l := range c.Legs {
				if l.State != pb.LegState_CANCELLING {
					continue
				}
				unsent++
				if p := phones.at(l.Target.Flow.Remote.String()); p.invite != "" {
					t.Fatalf("seed %d: %s has got an INVITE and is on record as being cancelled, though the call has failed", seed, p.name)
				}
			}
		}
	}
	if failed == 0 || unsent == 0 {
		t.Errorf("%d failed calls seen, %d legs in them that were never sent", failed, unsent)
	}
}

// next is the next owner of group 1, with its calls taken up.
func (w *world) next(epoch uint64) *world {
	w.cl.apply(&pb.Command{Op: &pb.Command_Takeover{Takeover: &pb.Takeover{Group: 1, Epoch: epoch, Node: "11111111-1111-1111-1111-111111111111"}}})
	n := newWorld(w.t, w.cl)
	n.now, n.epochs[1] = w.now, epoch
	w.cl.m.CallsOf(1, func(c *fsm.Call) bool {
		n.s.Rearm(n.v, n.now, c, epoch)
		return true
	})
	n.commit()
	return n
}

// ringer is a phone that keeps its INVITE, and ends when it is cancelled.
type ringer struct {
	phone
	invite string
	over   bool // it has sent its final
}

type ringers []*ringer

func (r ringers) at(addr string) *ringer {
	for _, p := range r {
		if p.addr == addr {
			return p
		}
	}
	return nil
}

// get lets phones have what was sent to them.
func (r ringers) get(w *world) {
	for msgs := w.take(); len(msgs) > 0; msgs = w.take() {
		for _, s := range msgs {
			p := r.at(s.to.Remote.String())
			switch {
			case p == nil:
			case strings.HasPrefix(s.data, "INVITE "):
				if p.invite = s.data; p.over { // its final was not acknowledged
					w.in(1, p.addr, p.answer(p.invite, 487))
				}
			case strings.HasPrefix(s.data, "CANCEL ") && p.invite != "":
				w.in(1, p.addr, p.answer(s.data, 200))
				if !p.over {
					p.over = true
					w.in(1, p.addr, p.answer(p.invite, 487))
				}
			}
		}
	}
}

// TestTakeoverCancellingOneGone: a leg that can be sent no more, for its VIP group has gone, is not taken for the last one: the caller's final waits until the
// other phone has stopped ringing, and so does the record, from which a further owner would not know that it rings.
func TestTakeoverCancellingOneGone(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 2, 1000)
	cl.register("bob@example.com", "sip:bob@"+bob2.addr, bob2.addr, 1, 1000)
	w := newWorld(t, cl)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	inv2 := w.byReceiver()[bob2.addr][0]
	w.in(1, bob2.addr, bob2.answer(inv2, 180))
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.take()
	n := w.moved()
	n.v, _ = NewView(cl.m.Config(), testGroups[:1], nil)
	n.rearm()
	n.want(bob2.addr + " INVITE sip:bob@" + bob2.addr)
	if c := cl.m.Call(1); c.State != pb.CallState_CALL_CANCELLING {
		t.Errorf("call: %v", c.State)
	}
	n.in(1, bob2.addr, bob2.answer(inv2, 180))
	if m := n.byReceiver(); starts(m[bob2.addr]) != "CANCEL" {
		t.Fatalf("sent %v", m)
	}
	n.in(1, bob2.addr, bob2.answer(inv2, 487))
	n.want(bob2.addr+" ACK sip:bob@"+bob2.addr, alice.addr+" 487 X")
}
