package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"holdline/sipcore/transport"
)

// TestRequestURI: of a URI nothing goes into a request line that may not be there, also in place.
func TestRequestURI(t *testing.T) {
	for in, want := range map[string]string{
		"sip:bob@10.0.0.32":                                     "sip:bob@10.0.0.32",
		"sip:bob@10.0.0.32;transport=tcp;ob":                    "sip:bob@10.0.0.32;transport=tcp;ob",
		"sip:bob@10.0.0.32?Route=%3Csip:h%3E&Subject=x":         "sip:bob@10.0.0.32",
		"sip:bob@10.0.0.32;line=1?":                             "sip:bob@10.0.0.32;line=1",
		"sip:bob@10.0.0.32;method=BYE":                          "sip:bob@10.0.0.32",
		"sips:bob@[2001:db8::1]:5061;a;Method=BYE;methods=x?b=": "sips:bob@[2001:db8::1]:5061;a;methods=x",
		"sip:bob;method=x?y@10.0.0.32":                          "sip:bob;method=x?y@10.0.0.32", // the user part has its own
		"tel:+49301;ext=5":                                      "tel:+49301;ext=5",
		"urn:service:sos?x":                                     "urn:service:sos?x",
	} {
		if got := string(appendRequestURI([]byte("x "), []byte(in))); got != "x "+want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
		b := []byte("x " + in)
		if got := string(appendRequestURI(b[:2], b[2:])); got != "x "+want {
			t.Errorf("%s in place: got %q, want %q", in, got, want)
		}
	}
}

// TestContactWithHeaders: a phone that has registered a Contact with header fields gets requests and keep-alives without them, in the request line or
// otherwise; a redirection to such a one is followed without them, too.
func TestContactWithHeaders(t *testing.T) {
	cl := newCluster(t)
	contact := "sip:bob@" + bob.addr + ";method=BYE?Route=%3Csip:10.0.0.99%3E"
	cl.register("bob@example.com", contact, bob.addr, 1, 1000)
	cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
	w := newWorld(t, cl)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	invite := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	if n := len(header(invite, "Route")); n != 0 {
		t.Errorf("%d Routes", n)
	}
	w.in(1, bob.addr, bob.answer(invite, 302, "Contact: <sip:carol@example.com;method=BYE?Subject=x>"))
	diverted := w.want(bob.addr+" ACK sip:bob@"+bob.addr, "10.0.0.101:5060 INVITE sip:carol@example.com")[1]
	w.in(1, "10.0.0.101:5060", diverted)
	invite = w.want("10.0.0.101:5060 100 Trying", carol.addr+" INVITE sip:carol@"+carol.addr)[1]
	if d := header(invite, "Diversion"); len(d) != 1 || !strings.HasPrefix(d[0], "<sip:bob@example.com>") { // the token in our Route is good for that URI alone
		t.Errorf("diverted by %q", d)
	}

	out, ok := w.v.AppendOptions(nil, contact, transport.Flow{Group: 2, Port: 5060, Remote: netip.MustParseAddrPort(bob.addr)}, 7)
	if line, _, _ := strings.Cut(string(out), "\r\n"); !ok || line != "OPTIONS sip:bob@"+bob.addr+" SIP/2.0" || header(string(out), "To")[0] != "<sip:bob@"+bob.addr+">" {
		t.Errorf("kept alive by\n%s", out)
	}
}
