package proxy

import (
	"net/netip"
	"testing"
)

// FuzzUnreachable: what an ICMP error quotes is anybody's to write; it neither breaks anything nor changes a call.
func FuzzUnreachable(f *testing.F) {
	w := newTestCall(f)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	sent := w.take()
	invite := sent[len(sent)-1].data
	f.Add([]byte(invite[:200]))
	f.Add([]byte("CANCEL" + invite[6:]))
	f.Add([]byte(invite[:60]))
	f.Fuzz(func(t *testing.T, quoted []byte) {
		x, ok := ParseUnreachable(quoted)
		if !ok {
			return
		}
		x.Remote, x.Hard = netip.MustParseAddrPort("10.0.0.99:5060"), true // not where anything went
		w.s.Unreachable(w.v, w.now, &x)
		if len(w.sent) > 0 {
			t.Fatalf("%q made the proxy send %v", quoted, w.sent)
		}
	})
}
