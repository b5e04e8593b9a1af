package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
)

const tooMany = " 486 Too Many Calls At Once"

func (w *world) max(aor string, n uint32) {
	w.t.Helper()
	if r := w.cl.apply(&pb.Command{Op: &pb.Command_ChangeUser{ChangeUser: &pb.ChangeUser{Aor: aor, MaxCalls: &n}}}); r.Code != pb.Code_OK {
		w.t.Fatal(r)
	}
}

// invites has alice call uri, and returns what she is answered besides 100, if anything.
func (w *world) invites(id, uri string) (refusal string) {
	w.t.Helper()
	w.at(alice, alice.request("INVITE", uri, id, 1, id, ""))
	for _, s := range w.takeBut100() {
		if s.to.Remote.String() == alice.addr {
			refusal, _, _ = strings.Cut(strings.TrimPrefix(s.data, "SIP/2.0"), "\r\n")
		}
	}
	return refusal
}

// TestTooManyCalls: who makes as many calls as he may is told so, and it is remembered why. It is no call, and has no record. He may call again as one of them ends;
// he can be called, and whoever else calls does not count.
func TestTooManyCalls(t *testing.T) {
	w := newTestCall(t)
	w.set(fsm.SettingMaxPerUser, "2")
	_, ok := w.call("c1")
	if r := w.invites("c2", "sip:0123@example.com"); r != "" {
		t.Errorf("the second is answered %s", r)
	}
	for _, uri := range []string{"sip:bob@example.com", "sip:0123@example.com"} {
		if r := w.invites("c3"+uri, uri); r != tooMany {
			t.Errorf("the third, to %s, is answered %q", uri, r)
		}
	}
	if n := w.stats.OverLimit.Load(); n != 2 {
		t.Errorf("%d are counted", n)
	}
	if n := w.cl.m.Counts(); n.Calls != 2 || n.CallRows != 2 {
		t.Errorf("%+v", n)
	}
	w.cl.register("alice@example.com", "sip:alice@"+alice.addr, alice.addr, 1, 1000)
	w.in(1, bob.addr, bob.request("INVITE", "sip:alice@example.com", "c4", 1, "c4", ""))
	w.want(bob.addr+" 100 Trying", alice.addr+" INVITE sip:alice@"+alice.addr)
	w.bye("c1", ok)
	w.cdrs("1 bye-caller 200 alice@example.com>bob@example.com")
	if r := w.invites("c5", "sip:bob@example.com"); r != "" {
		t.Errorf("after the end of one he is answered %s", r)
	}
	w.max("alice@example.com", 4)
	if r := w.invites("c6", "sip:bob@example.com"); r != "" {
		t.Errorf("with a limit of her own she is answered %s", r)
	}
}

// TestTooManyButEmergency: an emergency call is let in however many there are.
func TestTooManyButEmergency(t *testing.T) {
	w := newTestCall(t)
	w.set(SettingEmergency, "112 0112")
	w.max("alice@example.com", 1)
	w.call("c1")
	if r := w.invites("c2", "sip:0123@example.com"); r != tooMany {
		t.Errorf("answered %q", r)
	}
	w.at(alice, alice.request("INVITE", "sip:0112@example.com", "c3", 1, "c3", ""))
	w.want(alice.addr+" 100 Trying", gw1.addr+" INVITE sip:112@"+gw1.addr)
}

// TestTooManyRecordedLater: calls that are recorded after the fact are judged by those that have been recorded by then.
func TestTooManyRecordedLater(t *testing.T) {
	w := newLaterCall(t)
	w.max("alice@example.com", 1)
	_, ok := w.call("c1")
	w.call("c2") // nothing is recorded yet
	w.pass(5 * time.Second)
	w.catchUp(false)
	for id, want := range map[string]string{"c3": tooMany, "c4": tooMany} {
		if r := w.invites(id, "sip:bob@example.com"); r != want {
			t.Errorf("answered %q", r)
		}
	}
	w.bye("c1", ok)
	w.catchUp(false)
	w.max("alice@example.com", 2)
	if r := w.invites("c5", "sip:bob@example.com"); r != "" {
		t.Errorf("answered %q", r)
	}
}

// TestTooManyWithoutLeader: calls that cannot be committed are let in.
func TestTooManyWithoutLeader(t *testing.T) {
	w := newTestCall(t)
	w.max("alice@example.com", 1)
	w.call("c1")
	w.noLeader = true
	w.call("c2")
}

// TestRedirectInACircle: bob's phone sends calls on to a number that leads back to him by way of a carrier, which tells nobody that they were sent on. It ends when bob makes
// as many calls as he may, and the whole circle with it: neither we nor the carrier take that for a way which fails, for which there is another.
func TestRedirectInACircle(t *testing.T) {
	const rounds = 3
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	w := newWorld(t, cl)
	w.max("bob@example.com", rounds)
	invite := w.callBob()
	var there []phone // gateways that have got an INVITE, and the INVITEs, those of our own in turn
	var got []string
	for i := range rounds {
		w.at(bob, bob.answer(invite, 302, "Contact: <sip:0123@example.com>"))
		s := w.takeBut100()
		n := slices.IndexFunc(s, func(s sent) bool { return strings.HasPrefix(s.data, "INVITE sip:123@") })
		if n < 0 {
			t.Fatalf("round %d: %v", i, s)
		}
		gw := phone{"gw", s[n].to.Remote.String()}
		there, got = append(there, gw), append(got, s[n].data)
		id := fmt.Sprint("back", i)
		w.at(gw, gw.request("INVITE", "sip:bob@example.com", id, 1, id, ""))
		s = w.takeBut100()
		if len(s) != 1 || !strings.HasPrefix(s[0].data, "INVITE sip:bob@"+bob.addr) {
			t.Fatalf("round %d comes back as %v", i, s)
		}
		invite = s[0].data
	}
	w.at(bob, bob.answer(invite, 302, "Contact: <sip:0123@example.com>"))
	acked, told := bob.addr+" ACK sip:bob@"+bob.addr, tooMany
	for i := rounds - 1; i >= 0; i-- { // and back
		w.want(acked, there[i].addr+told)
		w.at(there[i], there[i].answer(got[i], 486))
		acked, told = there[i].addr+" ACK sip:123@"+there[i].addr, " 486 X"
	}
	w.want(acked, alice.addr+told)
	if n := w.cl.m.CallsMade("bob@example.com"); n != 0 || w.stats.OverLimit.Load() != 1 {
		t.Errorf("%d go on, %d were refused", n, w.stats.OverLimit.Load())
	}
}
