package proxy

import (
	"strings"
	"testing"
)

// TestForeignRoute: a user's request with a Route beyond ours follows it, whatever domain it is for.
func TestForeignRoute(t *testing.T) {
	w := newTestCall(t)
	routes := []string{"Route: <sip:10.0.0.101;lr>, <sip:10.9.9.9:5070;lr>", "Route: <sip:10.9.9.10;lr>"}
	w.in(1, alice.addr, alice.request("INVITE", "sip:zoe@elsewhere.example", "c1", 1, "c1", "", routes...))
	inv := w.want(alice.addr+" 100 Trying", "10.9.9.9:5070 INVITE sip:zoe@elsewhere.example")[1]
	if r := strings.Join(header(inv, "Route"), ", "); r != "<sip:10.9.9.9:5070;lr>, <sip:10.9.9.10;lr>" {
		t.Errorf("Route: %s", r)
	}
	if len(header(inv, "Record-Route")) != 1 {
		t.Error("not record-routed")
	}
	n := w.moved()
	n.rearm()
	if again := n.want(alice.addr+" 100 Trying", "10.9.9.9:5070 INVITE sip:zoe@elsewhere.example")[1]; again != inv {
		t.Errorf("INVITE after the takeover:\n%s\nbefore:\n%s", again, inv)
	}
	n.in(1, "10.9.9.9:5070", bob.answer(inv, 200))
	n.want(alice.addr + " 200 X")
}

// TestForeignRouteOfOthers: who follows Routes through us is a user or a trusted source.
func TestForeignRouteOfOthers(t *testing.T) {
	w := newTestCall(t)
	stranger := strings.Replace(alice.request("OPTIONS", "sip:zoe@elsewhere.example", "c1", 1, "c1", "", "Route: <sip:10.9.9.9;lr>"), "alice@example.com", "alice@far.example", 1)
	w.in(1, alice.addr, stranger)
	w.want(alice.addr + " 403 Following Routes Needs A User Or A Trusted Source")
	w.in(1, gw1.addr, strings.Replace(stranger, "z9hG4bKc1", "z9hG4bKc2", 1))
	w.want("10.9.9.9:5060 OPTIONS sip:zoe@elsewhere.example")
	w.in(1, alice.addr, alice.request("OPTIONS", "sip:zoe@elsewhere.example", "c3", 1, "c3", "", "Route: <sip:10.9.9.9>"))
	w.want(alice.addr + " 404 Route Names A Strict Router")
	w.in(1, alice.addr, alice.request("OPTIONS", "sip:zoe@elsewhere.example", "c4", 1, "c4", "", "Route: <http://10.9.9.9;lr>"))
	w.want(alice.addr + " 400 Bad Route")
}
