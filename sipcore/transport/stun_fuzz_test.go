package transport

import (
	"bytes"
	"net/netip"
	"testing"
)

// FuzzSTUN: whatever looks like STUN gets no answer, or a whole success response with its transaction, in the room promised.
func FuzzSTUN(f *testing.F) {
	request := "\x00\x01\x00\x00" + stunCookie + "abcdefghijkl"
	f.Add([]byte(request), false)
	f.Add([]byte("\x00\x01\x00\x08"+stunCookie+"abcdefghijkl\x80\x22\x00\x04test"), true)
	f.Add([]byte(request[:19]), true)
	f.Fuzz(func(t *testing.T, b []byte, six bool) {
		remote := netip.MustParseAddrPort("192.0.2.1:5060")
		if six {
			remote = netip.MustParseAddrPort("[2001:db8::1]:5060")
		}
		room := make([]byte, 0, 44)
		out := AppendSTUN(room, b, remote)
		if len(out) == 0 {
			return
		}
		if classify(b) != kindSTUN {
			t.Fatalf("% x is answered and is no STUN", b)
		}
		if cap(out) != cap(room) || int(out[2])<<8+int(out[3]) != len(out)-stunHeader || !bytes.Equal(out[4:stunHeader], b[4:stunHeader]) {
			t.Fatalf("% x is answered with % x", b, out)
		}
	})
}
