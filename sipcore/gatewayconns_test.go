package sipcore

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"holdline/fsm/pb"
)

// TestGatewayConns: what a gateway has connected to between calls, which no record tells of, is known to the other nodes, so that the next owner tells it when that is gone.
func TestGatewayConns(t *testing.T) {
	l := newLab(t, 2)
	l.pool("gw", "127.0.0.9:5060", "127.0.0.9/32", 0)
	vip := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.101"), l.port)
	connect := func(from string) net.Conn {
		t.Helper()
		c, err := net.DialTCP("tcp", net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from)), net.TCPAddrFromAddrPort(vip))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("\r\n\r\n")); err != nil { // until then the kernel keeps it to itself
			t.Fatal(err)
		}
		return c
	}
	phone, gateway := connect("127.0.0.77:0"), connect("127.0.0.9:0")
	defer func() { _ = phone.Close() }()
	eventually(t, within(t), "both connections", func() bool { return l.cores[0].streams.Len() == 2 })
	conns := l.cores[0].GatewayConns()
	local := netip.MustParseAddrPort(gateway.LocalAddr().String())
	if want := []GatewayConn{{Group: 1, Proto: pb.Transport_TCP, Port: l.port, Remote: local}}; !slices.Equal(conns, want) {
		t.Fatalf("%+v, want %+v", conns, want)
	}
	other := l.cores[1]
	other.HeardGatewayConns(1, conns)
	if f := other.silentFlows(2); len(f) != 0 {
		t.Errorf("of another group: %v", f)
	}
	l.move(1, 1, 2)
	if f := other.silentFlows(1); len(f) != 1 || f[0] != (silentFlow{remote: local, port: l.port, proto: uint8(pb.Transport_TCP)}) {
		t.Errorf("%v", f)
	}
	other.HeardGatewayConns(1, nil)
	if f := other.silentFlows(1); len(f) != 0 {
		t.Errorf("it is told of no more: %v", f)
	}
	other.HeardGatewayConns(1, conns)
	other.heardConns.mu.Lock()
	told := other.heardConns.by[1]
	told.at -= int64(gatewayConnsStale)
	other.heardConns.by[1] = told
	other.heardConns.mu.Unlock()
	if f := other.silentFlows(1); len(f) != 0 {
		t.Errorf("long ago: %v", f)
	}
	_ = gateway.Close()
	eventually(t, within(t), "that it is closed", func() bool { return len(l.cores[0].GatewayConns()) == 0 })
}
