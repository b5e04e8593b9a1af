package proxy

import (
	"testing"

	"holdline/fsm/pb"
)

// TestGatewayRefusesConnections: a gateway to which no connection can be opened is passed over by the next calls, too.
func TestGatewayRefusesConnections(t *testing.T) {
	cl := newCluster(t)
	for _, m := range []*pb.Member{{Pool: "gw", Name: "gw1", Address: gw1.addr, Transport: "tcp"}, {Pool: "gw", Name: "gw2", Address: gw2.addr}} {
		cl.apply(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: m}}})
	}
	w := newWorld(t, cl)
	w.in(1, alice.addr, alice.request("INVITE", "sip:0123@example.com", "c1", 1, "c1", ""))
	inv := w.want(alice.addr+" 100 Trying", gw1.addr+" INVITE sip:123@"+gw1.addr+";transport=tcp")[1]
	if w.s.tmp.Scan([]byte(inv)) != nil {
		t.Fatal(inv)
	}
	x, ok := ParseUndelivered(&w.s.tmp)
	if !ok {
		t.Fatal("no request of ours is seen")
	}
	x.Conn = 7 // of the connection that was being opened
	w.s.Undeliverable(w.v, w.now, x)
	w.commit()
	w.want(gw2.addr + " INVITE sip:123@" + gw2.addr)
	for _, id := range []string{"c2", "c3"} {
		if gw, _ := w.dial(id); gw != gw2.addr {
			t.Errorf("the next call goes to %s", gw)
		}
	}
}
