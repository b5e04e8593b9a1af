package proxy

import (
	"strings"
	"testing"
	"time"

	"holdline/fsm/pb"
)

// call sets a call from alice to bob up to the 200 and returns what bob got, and what alice got as 200.
func (w *world) call(id string) (invite, ok string) {
	w.t.Helper()
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", id, 1, id, ""))
	out := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)
	invite = out[1]
	w.in(1, bob.addr, bob.answer(invite, 180))
	w.want(alice.addr + " 180 X")
	w.in(1, bob.addr, bob.answer(invite, 200))
	return invite, w.want(alice.addr + " 200 X")[0]
}

func newTestCall(t testing.TB) *world {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	return newWorld(t, cl)
}

// newAnswering makes a call whose 200 the caller has, and whose answer is being committed. It returns the callee's INVITE, and what makes
// the caller's requests in the dialog.
func newAnswering(t testing.TB) (w *world, invite string, request func(method string, seq int, branch string) string) {
	w = newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	invite = w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.hold = true
	w.in(1, bob.addr, bob.answer(invite, 200))
	ok := w.want(alice.addr + " 200 X")[0]
	return w, invite, func(method string, seq int, branch string) string {
		return alice.request(method, "sip:bob@"+bob.addr, "c1", seq, branch, header(ok, "To")[0], routeSet(ok, true)...)
	}
}

func TestCall(t *testing.T) {
	w := newTestCall(t)
	invite, ok := w.call("c1")
	if vias := header(invite, "Via"); len(vias) != 2 || !strings.HasPrefix(vias[0], "SIP/2.0/UDP 10.0.0.101:5060;branch=z9hG4bKh") ||
		!strings.Contains(vias[1], "received=10.0.0.31") || !strings.Contains(vias[1], "rport=5060") {
		t.Errorf("Via: %q", vias)
	}
	if mf := header(invite, "Max-Forwards"); mf[0] != "69" {
		t.Errorf("Max-Forwards %v", mf)
	}
	if rr := header(invite, "Record-Route"); len(rr) != 1 {
		t.Errorf("Record-Route: %q", rr)
	}
	if v := header(ok, "Via"); len(v) != 1 {
		t.Errorf("200 to the caller has Vias %q", v)
	}
	to := header(ok, "To")[0]
	ack := alice.request("ACK", "sip:bob@"+bob.addr, "c1", 1, "ack", to, routeSet(ok, true)...)
	w.in(1, alice.addr, ack)
	got := w.want(bob.addr + " ACK sip:bob@" + bob.addr)
	if r := header(got[0], "Route"); len(r) != 0 {
		t.Errorf("our Route went on: %q", r)
	}
	w.in(1, alice.addr, alice.request("BYE", "sip:bob@"+bob.addr, "c1", 2, "bye", to, routeSet(ok, true)...))
	bye := w.want(bob.addr + " BYE sip:bob@" + bob.addr)[0]
	w.in(1, bob.addr, bob.answer(bye, 200))
	w.want(alice.addr + " 200 X")
	if got := strings.Join(w.log, " "); got != "CreateCall AnswerCall EndCall" {
		t.Errorf("commands: %s", got)
	}
	if c := w.cl.m.Call(1); c == nil || c.State != pb.CallState_CALL_ENDED {
		t.Errorf("call: %+v", c)
	}
	w.pass(70 * time.Second)
	w.want()
	if w.s.Len() != 0 {
		t.Errorf("%d transactions left", w.s.Len())
	}
}

func TestByeFromCallee(t *testing.T) {
	w := newTestCall(t)
	invite, _ := w.call("c1")
	from := header(invite, "From")[0]
	bye := bob.request("BYE", "sip:alice@"+alice.addr, "c1", 1, "bye", from, routeSet(invite, false)...)
	w.in(1, bob.addr, bye)
	out := w.want(alice.addr + " BYE sip:alice@" + alice.addr)
	w.in(1, alice.addr, alice.answer(out[0], 200))
	w.want(bob.addr + " 200 X")
	if c := w.cl.m.Call(1); c.State != pb.CallState_CALL_ENDED {
		t.Errorf("call: %+v", c)
	}
}
