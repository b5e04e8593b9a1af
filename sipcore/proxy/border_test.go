package proxy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"holdline/fsm/pb"
)

// TestOtherFamily: a gateway whose address is of another family than the group's only one is passed over, and the caller told, at once: nothing can be sent there.
func TestOtherFamily(t *testing.T) {
	cl := newCluster(t)
	node := cl.m.Config().Nodes()[0]
	g := &pb.Group{Name: "six", Vips: []*pb.Vip{{Prefix: "fd00::103/64"}}, HomeNode: node.Uuid}
	cl.apply(&pb.Command{Op: &pb.Command_PutGroup{PutGroup: &pb.PutGroup{Group: g}}})
	w := newWorld(t, cl)
	w.v, _ = NewView(cl.m.Config(), append(slices.Clone(testGroups), Group{3, []VIP{{Addr: netip.MustParseAddr("fd00::103")}}}), nil)
	w.epochs[3] = 1
	caller := phone{"alice", "[fd00::50]:5060"}
	w.in(3, caller.addr, caller.request("INVITE", "sip:0123@example.com", "c1", 1, "c1", ""))
	w.want(caller.addr+" 100 Trying", caller.addr+" 503 Service Unavailable")
}

// TestBorder: a group on two networks calls a gateway from the address that is in the gateway's, whether the call is recorded before or not, and both sides
// see the address on their own (RFC 5658).
func TestBorder(t *testing.T) {
	outside := phone{"gw3", "192.0.2.21:5060"}
	for name, recorded := range map[string]bool{"recorded": true, "no leader": false} {
		t.Run(name, func(t *testing.T) {
			cl := newCluster(t)
			node := cl.m.Config().Nodes()[0]
			g := &pb.Group{Name: "border", Vips: []*pb.Vip{{Prefix: "10.0.0.103/24"}, {Prefix: "192.0.2.103/24"}}, HomeNode: node.Uuid}
			cl.apply(&pb.Command{Op: &pb.Command_PutGroup{PutGroup: &pb.PutGroup{Group: g}}})
			cl.apply(&pb.Command{Op: &pb.Command_PutPool{PutPool: &pb.PutPool{Pool: &pb.Pool{Name: "out"}}}})
			cl.apply(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: &pb.Member{Pool: "out", Name: "gw3", Address: "192.0.2.21"}}}})
			cl.apply(&pb.Command{Op: &pb.Command_PutRoute{PutRoute: &pb.PutRoute{Route: &pb.Route{Domain: "example.com", Prefix: "1", Pool: "out"}}}})
			w := newWorld(t, cl)
			groups := append(slices.Clone(testGroups), Group{3, []VIP{{Addr: netip.MustParseAddr("10.0.0.103")}, {Addr: netip.MustParseAddr("192.0.2.103")}}})
			w.v, _ = NewView(cl.m.Config(), groups, nil)
			w.epochs[3], w.noLeader = 1, !recorded
			w.in(3, alice.addr, alice.request("INVITE", "sip:112233@example.com", "c1", 1, "c1", ""))
			got := w.takeBut100()
			if len(got) != 1 || got[0].to.VIP != 1 || got[0].to.Group != 3 || got[0].to.Remote.String() != outside.addr {
				t.Fatalf("sent %+v", got)
			}
			invite := got[0].data
			if via := header(invite, "Via")[0]; !strings.HasPrefix(via, "SIP/2.0/UDP 192.0.2.103:5060;") {
				t.Errorf("Via: %s", via)
			}
			rr := header(invite, "Record-Route")
			if len(rr) != 2 || !strings.HasPrefix(rr[0], "<sip:192.0.2.103:5060;") || !strings.HasPrefix(rr[1], "<sip:10.0.0.103:5060;") {
				t.Errorf("Record-Route: %q", rr)
			}
			w.in(3, outside.addr, outside.answer(invite, 200))
			ok := w.want(alice.addr + " 200 X")[0]
			w.in(3, alice.addr, alice.request("BYE", "sip:gw3@"+outside.addr, "c1", 2, "b1", header(ok, "To")[0], routeSet(ok, true)...))
			if bye := w.take(); len(bye) != 1 || bye[0].to.VIP != 1 || bye[0].to.Remote.String() != outside.addr {
				t.Errorf("BYE: %+v", bye)
			}
		})
	}
}
