package proxy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdline/fsm/pb"
	"holdline/sipcore/txn"
)

var (
	bob2  = phone{"bob2", "10.0.0.33:5060"}
	carol = phone{"carol", "10.0.0.34:5060"}
	gw1   = phone{"gw1", "10.0.0.21:5080"}
	gw2   = phone{"gw2", "10.0.0.22:5080"}
)

// byReceiver maps what was sent since the last take by where it went.
func (w *world) byReceiver() map[string][]string {
	m := map[string][]string{}
	for _, s := range w.take() {
		m[s.to.Remote.String()] = append(m[s.to.Remote.String()], s.data)
	}
	return m
}

func starts(msgs []string) string {
	var out []string
	for _, m := range msgs {
		s, _, _ := strings.Cut(m, " ")
		if s == "SIP/2.0" {
			s = m[8:11]
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// forked is a call to bob's two phones and, at a lower q, a third.
func forked(t *testing.T) (w *world, inv1, inv2 string) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+carol.addr, carol.addr, 1, 300)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	cl.register("bob@example.com", "sip:bob@"+bob2.addr, bob2.addr, 1, 1000)
	w = newWorld(t, cl)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	m := w.byReceiver()
	if starts(m[bob.addr]) != "INVITE" || starts(m[bob2.addr]) != "INVITE" || len(m[carol.addr]) != 0 {
		t.Fatalf("forked to %v", m)
	}
	return w, m[bob.addr][0], m[bob2.addr][0]
}

func TestForkAnswered(t *testing.T) {
	w, inv1, inv2 := forked(t)
	if header(inv1, "Via")[0] == header(inv2, "Via")[0] {
		t.Error("both legs have one branch")
	}
	w.in(1, bob.addr, bob.answer(inv1, 180))
	w.in(1, bob2.addr, bob2.answer(inv2, 180))
	w.want(alice.addr+" 180 X", alice.addr+" 180 X")
	w.in(1, bob.addr, bob.answer(inv1, 200))
	w.want(alice.addr+" 200 X", bob2.addr+" CANCEL sip:bob@"+bob2.addr)
	// The second phone answers nevertheless: the caller gets each 200, each dialog is recorded.
	w.in(1, bob2.addr, bob2.answer(inv2, 200))
	w.want(alice.addr + " 200 X")
	if d := w.cl.m.Call(1).Dialogs; !slices.Equal(d, []string{"bob-tag", "bob2-tag"}) {
		t.Errorf("dialogs %v", d)
	}
}

func TestForkLoserIsAcknowledged(t *testing.T) {
	w, inv1, inv2 := forked(t)
	w.in(1, bob2.addr, bob2.answer(inv2, 180))
	w.in(1, bob.addr, bob.answer(inv1, 200))
	w.take()
	w.in(1, bob2.addr, bob2.answer(inv2, 487))
	w.want(bob2.addr + " ACK sip:bob@" + bob2.addr)
}

func TestForkSerial(t *testing.T) {
	w, inv1, inv2 := forked(t)
	w.in(1, bob.addr, bob.answer(inv1, 486))
	w.want(bob.addr + " ACK sip:bob@" + bob.addr)
	w.in(1, bob2.addr, bob2.answer(inv2, 480))
	m := w.byReceiver()
	if starts(m[bob2.addr]) != "ACK" || starts(m[carol.addr]) != "INVITE" || len(m[alice.addr]) != 0 {
		t.Fatalf("sent %v", m)
	}
	w.in(1, carol.addr, carol.answer(m[carol.addr][0], 404))
	w.want(carol.addr+" ACK sip:bob@"+carol.addr, alice.addr+" 486 X") // the best of 486, 480, 404
}

func TestForkDeclined(t *testing.T) {
	w, inv1, inv2 := forked(t)
	w.in(1, bob2.addr, bob2.answer(inv2, 180))
	w.take()
	w.in(1, bob.addr, bob.answer(inv1, 603)) // 6xx ends the search: the other is cancelled, carol never tried
	m := w.byReceiver()
	if starts(m[bob.addr]) != "ACK" || starts(m[bob2.addr]) != "CANCEL" || len(m) != 2 {
		t.Fatalf("sent %v", m)
	}
	w.in(1, bob2.addr, bob2.answer(inv2, 487))
	w.want(bob2.addr+" ACK sip:bob@"+bob2.addr, alice.addr+" 603 X")
}

func TestForkChallenges(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	cl.register("bob@example.com", "sip:bob@"+bob2.addr, bob2.addr, 1, 1000)
	w := newWorld(t, cl)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	m := w.byReceiver()
	w.in(1, bob.addr, bob.answer(m[bob.addr][0], 401, `WWW-Authenticate: Digest realm="a", nonce="1"`))
	w.in(1, bob2.addr, bob2.answer(m[bob2.addr][0], 401, `WWW-Authenticate: Digest realm="b", nonce="2"`))
	final := w.byReceiver()[alice.addr]
	if starts(final) != "401" || len(header(final[0], "WWW-Authenticate")) != 2 {
		t.Errorf("final: %v", final)
	}
}

func TestForkCancel(t *testing.T) {
	w, inv1, inv2 := forked(t)
	w.in(1, bob.addr, bob.answer(inv1, 180))
	w.in(1, bob2.addr, bob2.answer(inv2, 180))
	w.take()
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.want(alice.addr+" 200 OK", bob.addr+" CANCEL sip:bob@"+bob.addr, bob2.addr+" CANCEL sip:bob@"+bob2.addr)
	w.in(1, bob.addr, bob.answer(inv1, 487))
	w.in(1, bob2.addr, bob2.answer(inv2, 487))
	w.want(bob.addr+" ACK sip:bob@"+bob.addr, bob2.addr+" ACK sip:bob@"+bob2.addr, alice.addr+" 487 X")
}

// gatewayCall is alice's call to a number.
func gatewayCall(t *testing.T) (w *world, invite string) {
	w = newWorld(t, newCluster(t))
	w.in(1, alice.addr, alice.request("INVITE", "sip:0123@example.com", "c1", 1, "c1", ""))
	return w, w.want(alice.addr+" 100 Trying", gw1.addr+" INVITE sip:123@"+gw1.addr)[1]
}

func TestGatewayUnable(t *testing.T) {
	w, inv := gatewayCall(t)
	w.in(1, gw1.addr, gw1.answer(inv, 503))
	inv2 := w.want(gw1.addr+" ACK sip:123@"+gw1.addr, gw2.addr+" INVITE sip:123@"+gw2.addr)[1]
	if header(inv, "Via")[0] == header(inv2, "Via")[0] {
		t.Error("both attempts have one branch")
	}
	w.in(1, gw2.addr, gw2.answer(inv2, 200))
	w.want(alice.addr + " 200 X")
}

// TestGatewaySilent: the next gateway is tried when the first has left three INVITEs unanswered; the last one has Timer B.
func TestGatewaySilent(t *testing.T) {
	w, _ := gatewayCall(t)
	w.pass(3990 * time.Millisecond)
	if n := len(w.take()); n != 3 { // Timer A: after 0.5, 1.5, 3.5 s
		t.Errorf("%d retransmissions", n)
	}
	w.pass(20 * time.Millisecond)
	w.want(gw2.addr + " INVITE sip:123@" + gw2.addr)
	if c := w.cl.m.Call(1); c.Legs[0].Status != 408 {
		t.Errorf("the record says %d of the silent gateway", c.Legs[0].Status)
	}
	w.pass(31 * time.Second)
	if m := w.byReceiver(); len(m[alice.addr]) != 0 || len(m[gw1.addr]) != 0 {
		t.Fatalf("sent %v", m)
	}
	w.pass(2 * time.Second)
	if m := w.byReceiver(); !strings.HasPrefix(starts(m[alice.addr]), "408") {
		t.Fatalf("sent %v", m)
	}
}

// dial calls 0123 anew and returns which gateway got the INVITE.
func (w *world) dial(id string) (gw string, invite string) {
	w.t.Helper()
	w.in(1, alice.addr, alice.request("INVITE", "sip:0123@example.com", id, 1, id, ""))
	for _, s := range w.take() {
		if strings.HasPrefix(s.data, "INVITE ") {
			return s.to.Remote.String(), s.data
		}
	}
	w.t.Fatal("no INVITE")
	return "", ""
}

// TestGatewayDown: a silent gateway is passed over as the first choice, until its time is over or it responds.
func TestGatewayDown(t *testing.T) {
	w, _ := gatewayCall(t)
	w.pass(4 * time.Second)
	w.take()
	for _, id := range []string{"c2", "c3", "c4"} {
		if gw, _ := w.dial(id); gw != gw2.addr {
			t.Errorf("%s went to %s, which is down", id, gw)
		}
	}
	w.pass(30 * time.Second)
	w.take()
	both := map[string]bool{}
	for _, id := range []string{"c5", "c6"} {
		gw, _ := w.dial(id)
		both[gw] = true
	}
	if !both[gw1.addr] {
		t.Error("gw1 is passed over for good")
	}
}

// TestGatewayBack: a response of the silent gateway brings it back; its INVITE, which the next gateway has by now, is
// called back.
func TestGatewayBack(t *testing.T) {
	w, inv := gatewayCall(t)
	w.pass(4 * time.Second)
	w.take()
	w.in(1, gw1.addr, gw1.answer(inv, 180))
	w.want(gw1.addr + " CANCEL sip:123@" + gw1.addr)
	w.in(1, gw1.addr, gw1.answer(inv, 487))
	w.want(gw1.addr + " ACK sip:123@" + gw1.addr)
	w.in(1, gw1.addr, gw1.answer(inv, 487))
	w.want(gw1.addr + " ACK sip:123@" + gw1.addr)
	both := map[string]bool{}
	for _, id := range []string{"c2", "c3"} {
		gw, _ := w.dial(id)
		both[gw] = true
	}
	if len(both) != 2 {
		t.Errorf("calls go to %v only", both)
	}
}

// TestGatewayTimeoutSet: the setting counts; what a gateway said in time stops it.
func TestGatewayTimeoutSet(t *testing.T) {
	cl := newCluster(t)
	cl.apply(&pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: settingGatewayTimeout, Value: "2"}}})
	w := newWorld(t, cl)
	_, inv := w.dial("c1")
	w.pass(time.Second)
	w.in(1, gw1.addr, gw1.answer(inv, 100))
	w.pass(20 * time.Second)
	if m := w.byReceiver(); len(m[gw2.addr]) != 0 {
		t.Errorf("sent %v", m)
	}
	w.dial("c2") // gw2's turn
	w.pass(2 * time.Second)
	if m := w.byReceiver(); starts(m[gw1.addr]) != "INVITE" {
		t.Errorf("sent %v", m)
	}
}

// TestGatewayRetryAfter: a gateway that asks for time is given it.
func TestGatewayRetryAfter(t *testing.T) {
	w, inv := gatewayCall(t)
	w.in(1, gw1.addr, gw1.answer(inv, 503, "Retry-After: 60"))
	w.in(1, gw2.addr, gw2.answer(w.byReceiver()[gw2.addr][0], 486))
	w.pass(40 * time.Second)
	w.take()
	for _, id := range []string{"c2", "c3"} {
		if gw, _ := w.dial(id); gw != gw2.addr {
			t.Errorf("%s went to %s", id, gw)
		}
	}
}

// TestGatewaysAllDown: with all of them down calls are tried nevertheless.
func TestGatewaysAllDown(t *testing.T) {
	w, _ := gatewayCall(t)
	w.pass(40 * time.Second)
	w.take()
	w.dial("c2")
	w.pass(4 * time.Second)
	w.take()
	w.dial("c3")
}

func TestGatewayBusyIsFinal(t *testing.T) {
	w, inv := gatewayCall(t)
	w.in(1, gw1.addr, gw1.answer(inv, 486))
	w.want(gw1.addr+" ACK sip:123@"+gw1.addr, alice.addr+" 486 X")
}

func TestGatewaysAllUnable(t *testing.T) {
	w, inv := gatewayCall(t)
	w.in(1, gw1.addr, gw1.answer(inv, 503))
	inv2 := w.byReceiver()[gw2.addr][0]
	w.in(1, gw2.addr, gw2.answer(inv2, 503))
	m := w.byReceiver()
	if starts(m[alice.addr]) != "500" { // a 503 would speak for this proxy (§16.7 step 6)
		t.Errorf("sent %v", m)
	}
}

func TestTimerC(t *testing.T) {
	w, inv := gatewayCall(t)
	w.in(1, gw1.addr, gw1.answer(inv, 180))
	w.take()
	w.pass(182 * time.Second)
	if m := w.byReceiver(); starts(m[gw1.addr]) != "CANCEL CANCEL" {
		t.Fatalf("sent %v", m)
	}
	w.in(1, gw1.addr, gw1.answer(inv, 487))
	m := w.byReceiver()
	if starts(m[gw1.addr]) != "ACK" || starts(m[gw2.addr])+starts(m[alice.addr]) == "" {
		t.Fatalf("sent %v", m)
	}
}

// TestBestResponse: which final of two phones' the caller gets, whichever comes first (§16.7 step 6).
func TestBestResponse(t *testing.T) {
	for _, c := range []struct{ one, other, best int }{
		{404, 486, 486},
		{480, 404, 480},
		{500, 404, 404},
		{302, 486, 302},
		{603, 302, 603},
		{603, 486, 603},
		{401, 486, 401},
		{407, 404, 407},
		{415, 486, 415},
		{484, 480, 484},
		{503, 486, 486},
		{503, 503, 500},
		{430, 404, 480},
		{430, 486, 486},
		{501, 502, 501},
		{699, 600, 699},
	} {
		for _, swap := range []bool{false, true} {
			if swap && c.one/100 == c.other/100 && c.one > 500 { // equals: the first target's
				continue
			}
			w, inv1, inv2 := forked(t)
			first, second := c.one, c.other
			if swap {
				first, second = second, first
			}
			w.s.tab.Each(func(x *txn.Cell) { callOf(x).noMore = true }) // carol's phone stays out of it
			w.in(1, bob.addr, bob.answer(inv1, first))
			w.in(1, bob2.addr, bob2.answer(inv2, second))
			got := w.byReceiver()[alice.addr]
			if starts(got) != strconv.Itoa(c.best) {
				t.Errorf("%d and %d: %s", first, second, starts(got))
			}
		}
	}
}

// TestForkNonInvite: a 2xx to a request other than INVITE goes on at once, and nobody else is asked (RFC 3261 §16.7 step 5).
func TestForkNonInvite(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+carol.addr, carol.addr, 1, 300)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	cl.register("bob@example.com", "sip:bob@"+bob2.addr, bob2.addr, 1, 1000)
	w := newWorld(t, cl)
	w.in(1, alice.addr, alice.request("MESSAGE", "sip:bob@example.com", "c1", 1, "c1", ""))
	m := w.byReceiver()
	w.in(1, bob.addr, bob.answer(m[bob.addr][0], 200))
	w.want(alice.addr + " 200 X")
	w.in(1, bob2.addr, bob2.answer(m[bob2.addr][0], 480)) // late, and of no interest
	w.want()
	w.pass(40 * time.Second)
	w.want()
	if w.s.Len() != 0 {
		t.Errorf("%d transactions left", w.s.Len())
	}
	// One after the other: the next is asked after a refusal only.
	w.in(1, alice.addr, alice.request("MESSAGE", "sip:bob@example.com", "c2", 1, "c2", ""))
	m = w.byReceiver()
	w.in(1, bob.addr, bob.answer(m[bob.addr][0], 486))
	w.in(1, bob2.addr, bob2.answer(m[bob2.addr][0], 480))
	next := w.want(carol.addr + " MESSAGE sip:bob@" + carol.addr)[0]
	w.in(1, carol.addr, carol.answer(next, 202))
	w.want(alice.addr + " 202 X")
}

// TestCancelReason: phones that lose are told that the call was taken elsewhere; what the caller's CANCEL says goes on (RFC 3326).
func TestCancelReason(t *testing.T) {
	w, inv1, inv2 := forked(t)
	w.in(1, bob.addr, bob.answer(inv1, 200))
	w.want(alice.addr + " 200 X")
	w.in(1, bob2.addr, bob2.answer(inv2, 180)) // cancelled as soon as it may be
	cancel := w.want(bob2.addr + " CANCEL sip:bob@" + bob2.addr)[0]
	if r := header(cancel, "Reason"); !slices.Equal(r, []string{`SIP;cause=200;text="Call completed elsewhere"`}) {
		t.Errorf("Reason %q", r)
	}
	for _, c := range []struct{ say, want []string }{
		{nil, nil},
		{[]string{"Reason: Q.850;cause=16"}, []string{"Q.850;cause=16"}},
		{[]string{`Reason: SIP;cause=200;text="elsewhere"`, "Reason: Q.850;cause=26"}, []string{`SIP;cause=200;text="elsewhere", Q.850;cause=26`}},
		{[]string{"Reason: Q.850\r\n ;cause=16"}, nil},
		{[]string{"Reason: SIP;text=" + strings.Repeat("x", maxReason)}, nil},
	} {
		w, inv1, _ := forked(t)
		w.in(1, bob.addr, bob.answer(inv1, 180))
		w.take()
		w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", "", c.say...))
		if r := header(w.byReceiver()[bob.addr][0], "Reason"); !slices.Equal(r, c.want) {
			t.Errorf("%q: %q", c.say, r)
		}
	}
}

// TestRoutePrepends: what a gateway gets of the number that was dialled: without what is stripped, and after what is put before it.
func TestRoutePrepends(t *testing.T) {
	for _, c := range []struct {
		strip         uint32
		prepend, want string
	}{{1, "+49", "+49301234"}, {0, "9*", "9*0301234"}, {7, "+", "+"}, {1, "", "301234"}} {
		for _, method := range []string{"INVITE", "MESSAGE"} {
			cl := newCluster(t)
			route := &pb.Route{Domain: "example.com", Prefix: "0", Pool: "gw", Strip: c.strip, Prepend: c.prepend}
			if r := cl.apply(&pb.Command{Op: &pb.Command_PutRoute{PutRoute: &pb.PutRoute{Route: route}}}); r.Code != pb.Code_OK {
				t.Fatal(r)
			}
			w := newWorld(t, cl)
			w.in(1, alice.addr, alice.request(method, "sip:0301234@example.com", "c1", 1, "c1", ""))
			got := w.takeBut100()
			if len(got) != 1 || !strings.HasPrefix(got[0].data, method+" sip:"+c.want+"@10.0.0.2") {
				t.Errorf("%+v: %s goes on as %v", c, method, got)
			}
		}
	}
}

// TestNotSentBack: what a gateway sends for a number that nobody has is not sent back to it, nor to the others of its pool. What somebody else on its machine sends is
// no gateway's.
func TestNotSentBack(t *testing.T) {
	for _, c := range []struct{ from, want string }{
		{gw1.addr, gw1.addr + " 404 That Number Leads Back To The Pool It Comes From"},
		{gw2.addr, gw2.addr + " 404 That Number Leads Back To The Pool It Comes From"},
		{"10.0.0.21:5070", "INVITE sip:123@"},
	} {
		w := newTestCall(t)
		from := phone{"gw", c.from}
		w.in(1, c.from, from.request("INVITE", "sip:0123@example.com", "c1", 1, "c1", ""))
		got := w.takeBut100()
		if len(got) != 1 || !strings.HasPrefix(got[0].data, c.want) && !strings.HasPrefix(got[0].to.Remote.String()+" "+strings.TrimPrefix(got[0].data, "SIP/2.0 "), c.want+"\r\n") {
			t.Errorf("from %s: %v", c.from, got)
		}
	}
}

// TestCalledNumber: a user is found by his number whatever a carrier hangs on to it (RFC 4694), and by tel where there is one domain alone.
func TestCalledNumber(t *testing.T) {
	for _, c := range []struct {
		uri  string
		two  bool // domains
		want string
	}{
		{"sip:+491;npdi=yes@example.com", false, " INVITE "},
		{"sip:+491;rn=+492;npdi@example.com", false, " INVITE "},
		{"sip:+491@example.com", false, " INVITE "},
		{"sip:x;npdi=yes@example.com", false, " 404 Not Found"},
		{"sip:+492;npdi=yes@example.com", false, " 404 Not Found"},
		{"tel:+491", false, " INVITE "},
		{"tel:+491;npdi=yes", false, " INVITE "},
		{"tel:+491", true, " 404 Domain Not Served Here"},
	} {
		cl := newCluster(t)
		for _, u := range []string{"+491", "x"} {
			cl.apply(&pb.Command{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: &pb.User{Aor: u + "@example.com", Ha1Md5: make([]byte, 16)}}}})
		}
		if c.two {
			cl.apply(&pb.Command{Op: &pb.Command_PutDomain{PutDomain: &pb.PutDomain{Domain: &pb.Domain{Name: "other.example"}}}})
		}
		cl.register("+491@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
		w := newWorld(t, cl)
		w.in(1, gw1.addr, gw1.request("INVITE", c.uri, "c1", 1, "c1", ""))
		got := w.takeBut100()
		if len(got) != 1 || !strings.HasPrefix(" "+strings.TrimPrefix(got[0].data, "SIP/2.0 "), c.want) {
			t.Errorf("%s: %v", c.uri, got)
		}
	}
}

// TestDisabledGateway: a gateway that is disabled gets neither calls nor other requests, with and without a leader.
func TestDisabledGateway(t *testing.T) {
	for _, method := range []string{"INVITE", "MESSAGE"} {
		for _, leader := range []bool{true, false} {
			cl := newCluster(t)
			m := &pb.Member{Pool: "gw", Name: "gw1", Address: gw1.addr, Disabled: true}
			cl.apply(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: m}}})
			w := newWorld(t, cl)
			w.noLeader = !leader
			for i := range 4 {
				id := fmt.Sprint("c", i)
				w.in(1, alice.addr, alice.request(method, "sip:0123@example.com", id, 1, id, ""))
				got := w.takeBut100()
				if len(got) != 1 || got[0].to.Remote.String() != gw2.addr {
					t.Errorf("%s, leader %v: %v", method, leader, got)
				}
			}
		}
	}
}
