package resolve

import (
	"net/netip"
	"testing"
	"time"

	"holdline/fsm/pb"
)

// TestLeads: a name leads where it was found to lead, itself or by its services, for as long as that serves; nobody is asked for it.
func TestLeads(t *testing.T) {
	w := newWorld(t, `
		a.test. 60 IN A 10.1.0.1
		_sips._tcp.s.test. 60 IN SRV 1 0 5061 a.test.
		s.test. 60 IN A 10.9.9.9`)
	leads := func(host, addr string, want bool) {
		t.Helper()
		if w.r.Leads(host, netip.MustParseAddr(addr)) != want {
			t.Errorf("%s leads to %s: %t", host, addr, !want)
		}
	}
	leads("s.test", "10.1.0.1", false)
	leads("local.test", "10.5.5.5", true)
	if n := w.count("a.test. A") + w.count("_sips._tcp.s.test. SRV"); n != 0 {
		t.Errorf("asked %d times", n)
	}
	if got := w.find(Query{Host: "s.test", Proto: pb.Transport_TLS, Fixed: true}); got != "TLS/10.1.0.1:5061" {
		t.Fatal(got)
	}
	leads("S.test", "::ffff:10.1.0.1", true)
	leads("a.test.", "10.1.0.1", true)
	leads("s.test", "10.9.9.9", false) // nobody has asked for that
	leads("s.test", "2001:db8::1", false)
	w.now = w.now.Add(time.Minute + maxStale - time.Second)
	leads("s.test", "10.1.0.1", true)
	w.now = w.now.Add(time.Second)
	leads("s.test", "10.1.0.1", false)
}
