package sipcore

import "testing"

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
}
