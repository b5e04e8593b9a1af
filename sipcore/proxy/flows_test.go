package proxy

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// Flows of bob's phone: two of one instance, through both VIPs.
var (
	flow1 = phone{"bob", "10.0.0.41:5060"}
	flow2 = phone{"bob", "10.0.0.42:5060"}
	flow3 = phone{"bob", "10.0.0.43:5060"}
)

// registerFlow binds a flow of one of bob's phones.
func (c *cluster) registerFlow(p phone, instance string, regID, group, q uint32, path ...string) {
	c.t.Helper()
	r := c.apply(&pb.Command{Op: &pb.Command_Register{Register: &pb.Register{
		Aor: "bob@example.com", CallId: "reg-" + p.addr, Cseq: 1, Txn: []byte(p.addr), Group: group,
		Changes: []*pb.BindingChange{{ExpiresS: 3600, Binding: &pb.Binding{
			Contact: "sip:bob@" + p.addr, Q: q, Instance: instance, RegId: regID, Path: path,
			Flow: transport.Flow{Group: group, Port: 5060, Remote: netip.MustParseAddrPort(p.addr)}.PB(),
		}}},
	}}})
	if r.Code != pb.Code_OK {
		c.t.Fatalf("register %s: %v %s", p.addr, r.Code, r.Error)
	}
}

// twoFlows is a phone with two flows, and a call to it, which takes the first one.
func twoFlows(t *testing.T) (w *world, invite string) {
	cl := newCluster(t)
	cl.registerFlow(flow1, "urn:uuid:A", 1, 1, 1000)
	cl.registerFlow(flow2, "urn:uuid:a", 2, 2, 1000)
	w = newWorld(t, cl)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	return w, w.want(alice.addr+" 100 Trying", flow1.addr+" INVITE sip:bob@"+flow1.addr)[1]
}

func undelivered(t *testing.T, w *world, request string) {
	t.Helper()
	var m wire.Msg
	if err := m.Scan([]byte(request)); err != nil {
		t.Fatal(err)
	}
	x, ok := ParseUndelivered(&m)
	if !ok {
		t.Fatal("not a request of ours")
	}
	w.s.Undeliverable(w.v, w.now, x)
	w.commit()
}

// TestFlowFails: what tells that a flow has failed (RFC 5626 §7), and what does not.
func TestFlowFails(t *testing.T) {
	second := flow2.addr + " INVITE sip:bob@" + flow2.addr
	ack := flow1.addr + " ACK sip:bob@" + flow1.addr
	final := func(status int) func(*world, string) {
		return func(w *world, inv string) { w.in(1, flow1.addr, flow1.answer(inv, status)) }
	}
	for _, c := range []struct {
		say  string
		fail func(w *world, invite string)
		want []string
	}{
		{"430 of an edge proxy", final(430), []string{ack, second}},
		{"408 of an edge proxy", final(408), []string{ack, second}},
		{"no connection", func(w *world, inv string) { undelivered(t, w, inv) }, []string{second}},
		{"busy", final(486), []string{ack, alice.addr + " 486 X"}},
		{"not there", final(480), []string{ack, alice.addr + " 480 X"}},
		{"declined", final(603), []string{ack, alice.addr + " 603 X"}},
		{"unable", final(503), []string{ack, alice.addr + " 500 Server Internal Error"}},
	} {
		t.Run(c.say, func(t *testing.T) {
			w, inv := twoFlows(t)
			c.fail(w, inv)
			w.want(c.want...)
		})
	}
}

// TestFlowSilent: a flow that leaves the INVITE unanswered is given up while there is another; one that rings is not. The first one,
// heard of after all, is called back.
func TestFlowSilent(t *testing.T) {
	w, inv := twoFlows(t)
	w.pass(3900 * time.Millisecond)
	w.take()
	w.pass(200 * time.Millisecond)
	second := w.want(flow2.addr + " INVITE sip:bob@" + flow2.addr)[0]
	if header(inv, "Via")[0] == header(second, "Via")[0] {
		t.Error("both flows have one branch")
	}
	w.in(1, flow1.addr, flow1.answer(inv, 180))
	w.want(flow1.addr + " CANCEL sip:bob@" + flow1.addr)
	w.in(2, flow2.addr, flow2.answer(second, 180))
	w.want(alice.addr + " 180 X")
	w.pass(10 * time.Second)
	w.want()
	w.in(2, flow2.addr, flow2.answer(second, 200))
	ok := w.want(alice.addr + " 200 X")[0]
	// The dialog is with the second flow, through its VIP.
	w.in(1, alice.addr, alice.request("BYE", "sip:bob@"+flow2.addr, "c1", 2, "bye", header(ok, "To")[0], routeSet(ok, true)...))
	out := w.take()
	if len(out) != 1 || out[0].to.Group != 2 || out[0].to.Remote.String() != flow2.addr {
		t.Fatalf("BYE: %+v", out)
	}
	w.in(2, flow2.addr, flow2.answer(out[0].data, 200))
	if c := w.cl.m.Call(1); c.State != pb.CallState_CALL_ENDED {
		t.Errorf("call %v", c.State)
	}
	if n := w.stats.OtherFlows.Load(); n != 1 {
		t.Errorf("counted %d", n)
	}
}

// TestFlowsAllFail: endpoints never see a 430 (RFC 5626 §11.5); what the last flow says counts.
func TestFlowsAllFail(t *testing.T) {
	for status, want := range map[int]string{430: "480 Temporarily Unavailable", 486: "486 X", 408: "408 X"} {
		w, inv := twoFlows(t)
		w.in(1, flow1.addr, flow1.answer(inv, 430))
		second := w.take()[1].data
		w.in(2, flow2.addr, flow2.answer(second, status))
		w.want(flow2.addr+" ACK sip:bob@"+flow2.addr, alice.addr+" "+want)
		if n := w.s.tab.Len(); n != 1 {
			t.Errorf("%d: %d transactions", status, n)
		}
	}
}

// TestFlowsOfSeveralPhones: one flow of each phone at a time, the one of the highest q first; contacts without reg-id are phones of
// their own.
func TestFlowsOfSeveralPhones(t *testing.T) {
	cl := newCluster(t)
	cl.registerFlow(flow1, "urn:uuid:a", 1, 1, 500)
	cl.registerFlow(flow2, "urn:uuid:a", 2, 1, 1000)
	cl.registerFlow(flow3, "urn:uuid:b", 1, 1, 1000)
	cl.registerFlow(bob, "urn:uuid:a", 0, 1, 1000)
	w := newWorld(t, cl)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	m := w.byReceiver()
	if starts(m[flow2.addr]) != "INVITE" || starts(m[flow3.addr]) != "INVITE" || starts(m[bob.addr]) != "INVITE" || len(m[flow1.addr]) != 0 {
		t.Fatalf("sent %v", m)
	}
	w.in(1, flow3.addr, flow3.answer(m[flow3.addr][0], 430))
	w.want(flow3.addr + " ACK sip:bob@" + flow3.addr)
	w.in(1, flow2.addr, flow2.answer(m[flow2.addr][0], 430))
	w.want(flow2.addr+" ACK sip:bob@"+flow2.addr, flow1.addr+" INVITE sip:bob@"+flow1.addr)
	if legs := w.cl.m.Call(1).Legs; len(legs) != 3 {
		t.Errorf("%d legs in the record", len(legs))
	}
}

// TestFlowCancelled: a caller that has given up is not rung on another flow.
func TestFlowCancelled(t *testing.T) {
	w, inv := twoFlows(t)
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.want(alice.addr + " 200 OK")
	w.in(1, flow1.addr, flow1.answer(inv, 430))
	w.want(flow1.addr+" ACK sip:bob@"+flow1.addr, alice.addr+" 480 Temporarily Unavailable")
}

// TestFlowOfOtherRequests: what is no call takes another flow as well.
func TestFlowOfOtherRequests(t *testing.T) {
	cl := newCluster(t)
	cl.registerFlow(flow1, "urn:uuid:a", 1, 1, 1000)
	cl.registerFlow(flow2, "urn:uuid:a", 2, 1, 1000)
	w := newWorld(t, cl)
	for i, method := range []string{"MESSAGE", "SUBSCRIBE", "OPTIONS"} {
		id := "m" + strconv.Itoa(i)
		w.in(1, alice.addr, alice.request(method, "sip:bob@example.com", id, 1, id, ""))
		req := w.want(flow1.addr + " " + method + " sip:bob@" + flow1.addr)[0]
		if i == 0 {
			undelivered(t, w, req)
		} else {
			w.in(1, flow1.addr, flow1.answer(req, 430))
		}
		req = w.want(flow2.addr + " " + method + " sip:bob@" + flow2.addr)[0]
		w.in(1, flow2.addr, flow2.answer(req, 202))
		w.want(alice.addr + " 202 X")
	}
}

// TestFlowAfterTakeover: the new owner begins with the first flow again, and finds the second in the bindings.
func TestFlowAfterTakeover(t *testing.T) {
	w, inv := twoFlows(t)
	undelivered(t, w, inv)
	second := w.want(flow2.addr + " INVITE sip:bob@" + flow2.addr)[0]
	n := w.moved()
	n.s.Rearm(n.v, n.now, n.cl.m.Call(1), 2)
	again := n.want(alice.addr+" 100 Trying", flow1.addr+" INVITE sip:bob@"+flow1.addr)[1]
	if header(again, "Via")[0] != header(inv, "Via")[0] {
		t.Error("the first flow's INVITE has another branch than before")
	}
	undelivered(t, n, again)
	if got := n.want(flow2.addr + " INVITE sip:bob@" + flow2.addr)[0]; header(got, "Via")[0] != header(second, "Via")[0] {
		t.Error("so has the second's")
	}
}

// TestFlowOfDialogFails: a request of a dialog whose flow is gone: 430 for a proxy, which may know another one (RFC 5626 §5.3.1),
// 500 for a phone: 480 might end the dialog (RFC 5057 §5.1).
func TestFlowOfDialogFails(t *testing.T) {
	w := newTestCall(t)
	_, ok := w.call("c1")
	to := header(ok, "To")[0]
	req := alice.request("INFO", "sip:bob@"+bob.addr, "c1", 2, "i1", to, routeSet(ok, true)...)
	w.in(1, alice.addr, req)
	undelivered(t, w, w.take()[0].data)
	w.want(alice.addr + " 500 Server Internal Error")
	req = alice.request("INFO", "sip:bob@"+bob.addr, "c1", 3, "i2", to, routeSet(ok, true)...)
	w.in(1, alice.addr, strings.Replace(req, "Max-Forwards", "Via: SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKbeyond\r\nMax-Forwards", 1))
	undelivered(t, w, w.take()[0].data)
	w.want(alice.addr + " 430 Flow Failed")
}

// TestContactAsksForFlow: ob in a phone's Contact keeps the requests of its dialogs on the flow that it used, though the Contact
// names that address as well (RFC 5626 §4.3, §5.3).
func TestContactAsksForFlow(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr+";ob", bob.addr, 1, 1000)
	w := newWorld(t, cl)
	req := strings.Replace(alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""), "@"+alice.addr+">", "@"+alice.addr+";ob>", 1)
	w.in(1, alice.addr, req)
	inv := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr+";ob")[1]
	w.in(1, bob.addr, bob.answer(inv, 200))
	ok := w.want(alice.addr + " 200 X")[0]
	// Each side's remote target says something else than its flow: the flow counts.
	w.in(1, alice.addr, alice.request("INFO", "sip:bob@10.0.0.99", "c1", 2, "i", header(ok, "To")[0], routeSet(ok, true)...))
	w.want(bob.addr + " INFO sip:bob@10.0.0.99")
	w.in(1, bob.addr, bob.request("INFO", "sip:alice@10.0.0.98", "c1", 2, "i", header(inv, "From")[0], routeSet(inv, false)...))
	w.want(alice.addr + " INFO sip:alice@10.0.0.98")
}

// TestFlowReplacedMeanwhile: while the first flow is being tried, the phone registers it anew under another Contact: that is where the
// call goes when the first try fails.
func TestFlowReplacedMeanwhile(t *testing.T) {
	w, inv := twoFlows(t)
	w.cl.registerFlow(flow3, "urn:uuid:A", 1, 1, 1000)
	w.in(1, flow1.addr, flow1.answer(inv, 430))
	third := w.want(flow1.addr+" ACK sip:bob@"+flow1.addr, flow3.addr+" INVITE sip:bob@"+flow3.addr)[1]
	w.in(1, flow3.addr, flow3.answer(third, 430))
	second := w.want(flow3.addr+" ACK sip:bob@"+flow3.addr, flow2.addr+" INVITE sip:bob@"+flow2.addr)[1]
	w.in(2, flow2.addr, flow2.answer(second, 430))
	w.want(flow2.addr+" ACK sip:bob@"+flow2.addr, alice.addr+" 480 Temporarily Unavailable")
}

// TestFlowsOfTwins: two phones behind two NATs write the same Contact: the one's failed flow is followed by its own second one, and the other's is left alone.
func TestFlowsOfTwins(t *testing.T) {
	cl := newCluster(t)
	bind := func(instance, remote string, regID, q uint32) {
		r := cl.apply(&pb.Command{Op: &pb.Command_Register{Register: &pb.Register{
			Aor: "bob@example.com", CallId: "reg-" + remote, Cseq: 1, Txn: []byte(remote), Group: 1,
			Changes: []*pb.BindingChange{{ExpiresS: 3600, Binding: &pb.Binding{
				Contact: "sip:bob@192.168.1.10:5060;ob", Q: q, Instance: instance, RegId: regID,
				Flow: transport.Flow{Group: 1, Port: 5060, Remote: netip.MustParseAddrPort(remote)}.PB(),
			}}},
		}}})
		if r.Code != pb.Code_OK {
			t.Fatal(r)
		}
	}
	bind("urn:uuid:a", "198.51.100.1:1001", 1, 1000)
	bind("urn:uuid:a", "198.51.100.1:1002", 2, 1000)
	bind("urn:uuid:b", "198.51.100.2:1001", 1, 500) // its better flow is the second
	bind("urn:uuid:b", "198.51.100.2:1002", 2, 1000)
	w := newWorld(t, cl)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	m := w.byReceiver()
	if starts(m["198.51.100.1:1001"]) != "INVITE" || starts(m["198.51.100.2:1002"]) != "INVITE" {
		t.Fatalf("sent %v", m)
	}
	w.in(1, "198.51.100.2:1002", bob.answer(m["198.51.100.2:1002"][0], 430))
	m = w.byReceiver()
	if starts(m["198.51.100.2:1001"]) != "INVITE" || starts(m["198.51.100.2:1002"]) != "ACK" || len(m) != 2 {
		t.Fatalf("after the flow failed: %v", m)
	}
}
