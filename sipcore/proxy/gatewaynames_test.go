package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"holdline/fsm/pb"
)

// TestGatewayNames: an address is a gateway's by its own, by its sources and by what its name leads to; what is called over TLS comes first.
func TestGatewayNames(t *testing.T) {
	cl := newCluster(t)
	put := func(m *pb.Member) {
		t.Helper()
		m.Pool = "gw"
		if r := cl.apply(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: m}}}); r.Code != pb.Code_OK {
			t.Fatal(r)
		}
	}
	put(&pb.Member{Name: "a", Address: "Udp.example.net", Sources: []string{"192.0.2.0/24"}})
	put(&pb.Member{Name: "b", Address: "tls.example.net:5071", Transport: "tls", Sources: []string{"192.0.2.0/24"}, Disabled: true})
	put(&pb.Member{Name: "c", Address: "198.51.100.1", Sources: []string{"192.0.2.0/24"}})
	put(&pb.Member{Name: "d", Address: "192.0.2.9:5061", Transport: "tls", Sources: []string{"203.0.113.1"}})
	put(&pb.Member{Name: "e", Address: "tls.example.net", Transport: "tls", Sources: []string{"192.0.2.0/24"}})
	put(&pb.Member{Name: "f", Address: "led.example.net", Transport: "tls"})
	put(&pb.Member{Name: "g", Address: "[2001:DB8::1]:5061", Transport: "tls"})
	put(&pb.Member{Name: "h", Address: "wide.example.net", Sources: []string{"10.0.0.0/8"}})
	w := newWorld(t, cl)
	leads := func(host string, addr netip.Addr) bool {
		return host == "led.example.net" && addr.String() == "192.0.2.7"
	}
	for addr, want := range map[string]string{
		"192.0.2.1":        "tls.example.net udp.example.net 198.51.100.1",
		"::ffff:192.0.2.1": "tls.example.net udp.example.net 198.51.100.1",
		"192.0.2.7":        "tls.example.net led.example.net udp.example.net 198.51.100.1",
		"192.0.2.9":        "192.0.2.9 tls.example.net udp.example.net 198.51.100.1",
		"198.51.100.1":     "198.51.100.1", // where it is called, though nothing comes from there
		"203.0.113.1":      "192.0.2.9",
		"2001:db8::1":      "2001:db8::1",
		"10.9.9.9":         "wide.example.net",
		"10.0.0.101":       "", // our own
		"203.0.113.2":      "",
	} {
		if got := strings.Join(w.v.GatewayNames(netip.MustParseAddr(addr), leads), " "); got != want {
			t.Errorf("at %s: %q, want %q", addr, got, want)
		}
	}
}
