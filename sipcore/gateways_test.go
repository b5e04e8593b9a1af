package sipcore

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"holdline/deploy/lab/phone"
	"holdline/fsm/pb"
	"holdline/sipcore/proxy"
)

// TestGatewaysAsked: a gateway is found to be there, gone, and back, without a call; of two nodes by the one that owns a VIP. What is called by no route is not asked.
func TestGatewaysAsked(t *testing.T) {
	l := newLab(t, 2)
	asked := make(chan string, 64)
	serve := func(addr netip.AddrPort) *phone.Endpoint {
		conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(addr))
		if err != nil {
			t.Fatal(err)
		}
		e := phone.NewEndpoint(conn, &phone.Stats{})
		e.Handle(func(s *phone.Server) {
			asked <- string(s.Request.Method)
			s.Respond(405, "Method Not Allowed")
		})
		return e
	}
	gw, other := serve(netip.MustParseAddrPort("127.0.0.1:0")), serve(netip.MustParseAddrPort("127.0.0.1:0"))
	defer func() { _ = gw.Close(); _ = other.Close() }()
	state := func(core int) (g proxy.Gateway) {
		g = l.cores[core].Gateway("gw", "m1")
		g.Took, g.Ago = 0, 0
		return g
	}
	wait := func(what string, core int, want proxy.Gateway) {
		t.Helper()
		eventually(t, within(t), what, func() bool { return state(core) == want })
	}
	l.move(2, 2, 1) // the second node owns nothing
	l.set(proxy.SettingProbe, "1")
	l.pool("gw", gw.Addr().String(), "127.0.0.9/32", 0)
	l.ok(&pb.Command{Op: &pb.Command_PutPool{PutPool: &pb.PutPool{Pool: &pb.Pool{Name: "callers", Algorithm: "round-robin"}}}})
	caller := &pb.Member{Pool: "callers", Name: "m1", Address: other.Addr().String()}
	l.ok(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: caller}}})

	wait("an answer", 0, proxy.Gateway{Answered: true})
	if m := <-asked; m != "OPTIONS" {
		t.Errorf("asked by %s", m)
	}
	addr := gw.Addr()
	_ = gw.Close()
	wait("that its port is closed", 0, proxy.Gateway{Down: true, Answered: true, Silent: true})
	gw = serve(addr)
	wait("that it is back", 0, proxy.Gateway{Answered: true})
	if g := state(1); g != (proxy.Gateway{}) {
		t.Errorf("the node without a VIP says %+v", g)
	}
	if g := l.cores[0].Gateway("callers", "m1"); g.Answered {
		t.Error("one that nobody calls was asked")
	}

	m := &pb.Member{Pool: "gw", Name: "m1", Address: fmt.Sprintf("127.0.0.1:%d", closedPort(t))}
	l.ok(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: m}}})
	wait("that another is meant", 0, proxy.Gateway{Down: true, Silent: true})
	l.set(proxy.SettingProbe, "0")
	l.ok(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: &pb.Member{Pool: "gw", Name: "m2", Address: gw.Addr().String()}}}})
	c := l.cores[0]
	byHand := &prober{core: c, out: c.udp.NewSender(), of: map[gateway]*probing{}}
	byHand.step(c.currentView(), c.now())
	for k, g := range byHand.of {
		if g.next != 0 {
			t.Errorf("%v is asked though that is switched off", k)
		}
	}
	if len(byHand.of) != 2 {
		t.Errorf("%d gateways", len(byHand.of))
	}
	l.ok(&pb.Command{Op: &pb.Command_RemoveMember{RemoveMember: &pb.RemoveMember{Pool: "gw", Name: "m1"}}})
	wait("that it is gone", 0, proxy.Gateway{})
}
