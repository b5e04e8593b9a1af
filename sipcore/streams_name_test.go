package sipcore

import (
	"net/netip"
	"slices"
	"testing"

	"holdline/fsm/pb"
)

// TestServerName: a request is sent to its first Route's host, else to its Request-URI's; with a tag in To it is a dialog's.
func TestServerName(t *testing.T) {
	for _, c := range []struct {
		uri, headers string
		name         string
		dialog       bool
	}{
		{"sip:1@gw.example.net;transport=tls", "To: <sip:1@example.com>\r\n", "gw.example.net", false},
		{"sip:1@gw.example.net;transport=tls", "Route: <sip:edge.example.net;lr>, <sip:other.example.net;lr>\r\nTo: <sip:1@example.com>\r\n", "edge.example.net", false},
		{"sips:[2001:db8::1]:5071", "To: <sip:1@example.com>;tag=2\r\n", "2001:db8::1", true},
	} {
		request := "INVITE " + c.uri + " SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@example.com>;tag=1\r\n" + c.headers +
			"Call-ID: name\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
		if name, dialog := serverName([]byte(request)); name != c.name || dialog != c.dialog {
			t.Errorf("%s %q: %q %t", c.uri, c.headers, name, dialog)
		}
	}
	if name, dialog := serverName([]byte("SIP/2.0 200 OK\r\n\r\n")); name != "" || dialog {
		t.Errorf("a response: %q %t", name, dialog)
	}
	response := "SIP/2.0 200 OK\r\nVia: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:1@example.com>;tag=2\r\n" +
		"Call-ID: name\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
	if name, dialog := serverName([]byte(response)); name != "" || !dialog {
		t.Errorf("a response with a tag: %q %t", name, dialog)
	}
}

// TestGatewayNamesResolved: a gateway's address may be one that its name leads to, which the resolver knows.
func TestGatewayNamesResolved(t *testing.T) {
	l := newLab(t, 1)
	local := netip.MustParseAddr("127.0.0.1")
	if !l.cores[0].resolver.Leads("localhost", local) {
		t.Skip("this machine's hosts file has no localhost")
	}
	l.ok(&pb.Command{Op: &pb.Command_PutPool{PutPool: &pb.PutPool{Pool: &pb.Pool{Name: "p", Algorithm: "round-robin"}}}})
	l.ok(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: &pb.Member{Pool: "p", Name: "m", Address: "localhost", Transport: "tls"}}}})
	l.cores[0].currentView()
	if got := l.cores[0].gatewayNames(local); !slices.Equal(got, []string{"localhost"}) {
		t.Errorf("at %s: %q", local, got)
	}
	if got := l.cores[0].gatewayNames(netip.MustParseAddr("127.0.0.2")); len(got) != 0 {
		t.Errorf("at another: %q", got)
	}
}
