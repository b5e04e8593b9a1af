package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"holdline/cluster/api"
	"holdline/fsm/pb"
	"holdline/sipcore"
	"holdline/sipcore/transport"
)

func TestSocketFaultText(t *testing.T) {
	a, b := netip.MustParseAddr("10.77.0.101"), netip.MustParseAddr("10.77.0.102")
	groups := []sipcore.Group{{Number: 1, VIPs: []sipcore.VIP{{Addr: a}}}, {Number: 2, VIPs: []sipcore.VIP{{Addr: b}}}}
	inUse := fmt.Errorf("bind: %w", syscall.EADDRINUSE)
	fail := func(p pb.Transport, addr netip.Addr, port uint16, err error) error {
		return &transport.ListenError{Proto: p, Local: netip.AddrPortFrom(addr, port), Err: err}
	}
	const udp, tcp, wss = pb.Transport_UDP, pb.Transport_TCP, pb.Transport_WSS
	for _, c := range []struct {
		errs        []error
		why, advice string
	}{
		{nil, "", ""},
		{[]error{errors.New("close: bad file descriptor")}, "", ""},
		{
			[]error{fail(tcp, b, 5060, inUse), fail(udp, b, 5060, inUse), fail(tcp, a, 5060, inUse), fail(udp, a, 5060, inUse)},
			"5060/udp, 5060/tcp: address already in use",
			"see what has the port on n2, and stop it there: ss -lntup 'sport = :5060'; it is tried again every second",
		},
		{
			[]error{fail(udp, a, 5060, inUse), fail(wss, a, 443, inUse), fail(wss, b, 443, inUse)},
			"443/tcp, 5060/udp of 10.77.0.101: address already in use",
			"see what has the port on n2, and stop it there: ss -lntup 'sport = :443 or sport = :5060'; it is tried again every second",
		},
		{
			[]error{fail(wss, a, 443, syscall.EACCES), fail(wss, b, 443, syscall.EACCES), fail(udp, a, 5060, inUse), fail(udp, b, 5060, inUse)},
			"5060/udp: address already in use; 443/tcp: permission denied",
			"see what has the port on n2, and stop it there: ss -lntup 'sport = :5060'; it is tried again every second",
		},
		{
			[]error{fail(udp, a, 5060, errors.New("no file table")), fail(udp, b, 5060, errors.New("no file table"))},
			"5060/udp: no file table",
			"journalctl -u holdline on n2 tells more; it is tried again every second",
		},
	} {
		f := socketFaultOf(fmt.Errorf("serve SIP on the VIPs: %w", errors.Join(errors.Join(c.errs...))), groups)
		switch {
		case c.why == "":
			if f != nil {
				t.Errorf("%v: a fault: %+v", c.errs, f)
			}
		case f == nil || f.Why != c.why || f.advice("n2") != c.advice || f.missing() != len(c.errs):
			t.Errorf("%v: %+v", c.errs, f)
		}
	}
}

// TestSocketFault: what has the port of SIP on a box is told by every node, ranks that one below the others, and is forgotten when the port is free. A VIP
// that is on no interface is no fault.
func TestSocketFault(t *testing.T) {
	l := newLab(t, 2)
	l.join(1, l.init())
	e := l.nodes[0].engine.Load()
	addr := fmt.Sprintf("127.%d.%d.99", 10+l.net/200, l.net%200)
	for _, p := range []string{addr + "/24", "203.0.113.77/24"} {
		if _, err := l.nodes[0].AddVIP(t.Context(), api.GroupSpec{VIPs: []api.VIP{{Prefix: p}}}); err != nil {
			t.Fatal(err)
		}
	}
	core, err := sipcore.New(sipcore.Options{Machine: e.machine, Node: 1, Log: e.submitter, Owners: &e.vips, Link: e.link.Load(), Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer core.Close()
	e.vips.core.Store(core)
	defer e.vips.core.Store(nil)
	other, err := net.ListenPacket("udp4", addr+":5060")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	score := func(want uint32) {
		t.Helper()
		l.until("the health score", func() bool { return e.healthScore()-e.logScore() == want })
	}
	told := func(want string) {
		t.Helper()
		for _, n := range l.nodes {
			l.until("every node tells: "+want, func() bool {
				s, err := n.Status(t.Context())
				return err == nil && len(s.Nodes) == 2 && s.Nodes[0].SIPFault == want
			})
		}
	}
	score(0)
	e.openSockets(e.machine.Config())
	want := fmt.Sprintf("5060/udp of %s: address already in use", addr)
	told(want)
	score(scoreSockets)
	if c := socketCheck(e.vips.socketFault(), "n1"); c.Result != api.CheckFail || c.Detail != want || !strings.Contains(c.Advice, "ss -lntup 'sport = :5060'") {
		t.Errorf("doctor: %+v", c)
	}
	if err := l.nodes[0].Ready(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("ready: %v", err)
	}
	if e.vips.again == nil {
		t.Error("it is not tried again")
	}
	other.Close()
	e.openSockets(e.machine.Config())
	told("")
	score(0)
	if c := socketCheck(e.vips.socketFault(), "n1"); c.Result != api.CheckOK {
		t.Errorf("doctor: %+v", c)
	}
}

// TestDeafNode: a node without its SIP sockets counts for no VIP, though its guard works.
func TestDeafNode(t *testing.T) {
	v := whole("inside")
	v.couldHold("n1", nil)
	v.couldHold("n3", nil)
	v.guards, v.deaf = 2, deafNodes{"n2": {Why: "5060/udp: address already in use", Ports: []uint16{5060}}}
	if n := v.survives(); n != 1 {
		t.Errorf("survives %d", n)
	}
	p := v.problems()
	if len(p) != 1 || p[0].What != "node n2 cannot open its SIP sockets: 5060/udp: address already in use" || !strings.Contains(p[0].Do, "on n2") {
		t.Errorf("%+v", p)
	}
	v.guards, v.groups[0].nodes = 1, []string{"n1"}
	v.deaf["n3"] = &socketFault{Why: "5061/tcp: address already in use", Ports: []uint16{5061}}
	want := "n2 cannot open its SIP sockets: 5060/udp: address already in use; n3 cannot open its SIP sockets: 5061/tcp: address already in use: see what has the port on n2"
	if n := v.survives(); n != 0 || !strings.HasPrefix(v.lostAdvice(), want) {
		t.Errorf("survives %d: %s", n, v.lostAdvice())
	}
}
