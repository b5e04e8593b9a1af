package proxy

import (
	"testing"
	"time"

	"holdline/fsm/pb"
	"holdline/sipcore/resolve"
)

// namedGateway is a call through a gateway that has a name, with another one after it.
func namedGateway(t *testing.T) *world {
	cl := newCluster(t)
	cl.apply(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: &pb.Member{Pool: "gw", Name: "gw1", Address: "trunk.example.net"}}}})
	w := newWorld(t, cl)
	w.in(1, alice.addr, alice.request("INVITE", "sip:0123@example.com", "c1", 1, "c1", ""))
	w.want(alice.addr + " 100 Trying")
	if q := w.lookups[0].q; q.Host != "trunk.example.net" || q.Port != 0 || !q.Fixed || q.Proto != pb.Transport_UDP {
		t.Errorf("asked for %+v", q)
	}
	return w
}

// TestNamedFailover: the targets of a name are tried in turn, on silence and on 503, before the next gateway is.
func TestNamedFailover(t *testing.T) {
	w := namedGateway(t)
	w.resolved(target("10.2.0.1:5060"), target("10.2.0.2:5060"), target("10.2.0.3:5060"))
	w.want("10.2.0.1:5060 INVITE sip:123@trunk.example.net")
	w.pass(4 * time.Second)
	m := w.byReceiver()
	if starts(m["10.2.0.2:5060"]) != "INVITE" || len(m[gw2.addr]) != 0 {
		t.Fatalf("sent %v", m)
	}
	inv := m["10.2.0.2:5060"][0]
	w.in(1, "10.2.0.2:5060", gw1.answer(inv, 503))
	inv3 := w.want("10.2.0.3:5060 INVITE sip:123@trunk.example.net", "10.2.0.2:5060 ACK sip:123@trunk.example.net")[0]
	if header(inv, "Via")[0] == header(inv3, "Via")[0] {
		t.Error("two attempts have one branch")
	}
	w.in(1, "10.2.0.3:5060", gw1.answer(inv3, 503))
	w.want("10.2.0.3:5060 ACK sip:123@trunk.example.net", gw2.addr+" INVITE sip:123@"+gw2.addr)
}

// TestNamedDown: an address that failed is tried last for a while.
func TestNamedDown(t *testing.T) {
	w := namedGateway(t)
	both := []resolve.Target{target("10.2.0.1:5060"), target("10.2.0.2:5060")}
	w.resolved(both...)
	w.pass(4 * time.Second)
	w.in(1, "10.2.0.2:5060", gw1.answer(w.byReceiver()["10.2.0.2:5060"][0], 486))
	w.take()
	for _, id := range []string{"c2", "c3"} { // one of them is gw2's
		w.in(1, alice.addr, alice.request("INVITE", "sip:0123@example.com", id, 1, id, ""))
	}
	w.take()
	w.resolved(both...)
	w.want("10.2.0.2:5060 INVITE sip:123@trunk.example.net")
}

// TestNamedNowhere: a name without an address is a gateway that is unable.
func TestNamedNowhere(t *testing.T) {
	w := namedGateway(t)
	w.resolved()
	w.want(gw2.addr + " INVITE sip:123@" + gw2.addr)
}

// TestNamedRoute: a foreign Route's domain says itself which transport it wants.
func TestNamedRoute(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:zoe@elsewhere.example", "c1", 1, "c1", "", "Route: <sip:edge.elsewhere.example;lr>"))
	w.want(alice.addr + " 100 Trying")
	if q := w.lookups[0].q; q.Host != "edge.elsewhere.example" || q.Fixed {
		t.Errorf("asked for %+v", q)
	}
	tcp := target("10.3.0.1:5060")
	tcp.Proto = pb.Transport_TCP
	w.resolved(tcp)
	if s := w.take(); len(s) != 1 || s[0].to.Proto != pb.Transport_TCP || s[0].to.Remote.String() != "10.3.0.1:5060" {
		t.Errorf("sent %+v", s)
	}
}
