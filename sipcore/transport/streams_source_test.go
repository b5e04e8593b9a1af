package transport

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"holdline/fsm/pb"
)

// TestStreamsSources: the addresses of one /64 share what one source may have; each address of IPv4 is a source by itself.
func TestStreamsSources(t *testing.T) {
	lo := ownNetwork(t)
	own, others := []string{"2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::3"}, []string{"2001:db8:0:2::1", "2001:db8:0:3::1"}
	for _, a := range append(others, own...) {
		addr, err := netlink.ParseAddr(a + "/128")
		if err != nil {
			t.Fatal(err)
		}
		addr.Flags = unix.IFA_F_NODAD // else it is tentative for a moment, on lo too, and nobody can bind it
		if err := netlink.AddrAdd(lo, addr); err != nil {
			t.Skipf("no IPv6 here: %v", err)
		}
	}

	l := newStreamLab(t, StreamOptions{Limits: StreamLimits{ConnsPerSource: 2}})
	port := l.ports[pb.Transport_TCP]
	six := StreamEndpoint{Endpoint{Group: 1, VIP: 1, Local: netip.AddrPortFrom(netip.IPv6Loopback(), port)}, pb.Transport_TCP}
	four := StreamEndpoint{Endpoint{Group: 1, Local: l.addr(pb.Transport_TCP)}, pb.Transport_TCP}
	if err := l.SetEndpoints([]StreamEndpoint{four, six}); err != nil {
		t.Fatal(err)
	}
	from := func(local string, to netip.AddrPort) net.Conn {
		t.Helper()
		c, err := net.DialTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(local), 0)), net.TCPAddrFromAddrPort(to))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		l.put(c, invite)
		return c
	}
	from(own[0], six.Local)
	l.got()
	from(own[1], six.Local)
	l.got()
	from(own[2], six.Local)
	l.until("refused", &l.counters.refused, 1)
	for _, a := range others {
		from(a, six.Local)
		l.got()
	}
	for _, a := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"} {
		from(a, four.Local)
		l.got()
	}
	if n := l.counters.refused.Load(); n != 1 {
		t.Errorf("%d connections were refused, want the third of a /64", n)
	}
	for _, c := range l.all() {
		c.reset(endClosed)
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.sources) != 0 {
		t.Errorf("counted still: %v", l.sources)
	}
}
