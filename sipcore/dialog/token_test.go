package dialog

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
)

var testKeys = []Key{{ID: 2, Secret: txn.Secret{K0: 3, K1: 4}}, {ID: 1, Secret: txn.Secret{K0: 1, K1: 2}}}

func drawSide(t *rapid.T) Side {
	s := Side{Pinned: rapid.Bool().Draw(t, "pinned")}
	s.Flow = transport.Flow{
		Group: rapid.Uint32().Draw(t, "group"), VIP: rapid.Uint8().Draw(t, "vip"),
		Proto: pb.Transport(rapid.IntRange(0, 4).Draw(t, "proto")), Port: rapid.Uint16().Draw(t, "port"),
	}
	if s.Pinned {
		b := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "ip")
		a := netip.AddrFrom4([4]byte(b))
		if rapid.Bool().Draw(t, "v6") {
			a = netip.AddrFrom16([16]byte{0x20, 1, 0, 0, b[0], b[1], b[2], b[3]})
		}
		s.Flow.Remote = netip.AddrPortFrom(a, rapid.Uint16().Draw(t, "rport"))
		s.Flow.Conn = rapid.Uint64().Draw(t, "conn")
	}
	return s
}

func TestTokenRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Token{
			Home: rapid.Uint32().Draw(t, "home"), Call: rapid.Uint64().Draw(t, "call"),
			TagHash: rapid.Uint32().Draw(t, "tag"), Caller: drawSide(t), Callee: drawSide(t),
		}
		k := testKeys[rapid.IntRange(0, 1).Draw(t, "key")]
		text := want.Append(nil, k)
		got, key, err := Parse(text, testKeys)
		if err != nil || got != want || key != k {
			t.Fatalf("got %+v %v, want %+v", got, err, want)
		}
		i := rapid.IntRange(0, len(text)-2).Draw(t, "flip") // the last character may hold unused bits
		text[i] ^= 1
		if got, _, err := Parse(text, testKeys); err == nil {
			t.Fatalf("a changed token was accepted: %+v", got)
		}
	})
}

func FuzzParse(f *testing.F) {
	tok := Token{Home: 1, Call: 7}
	f.Add(tok.Append(nil, testKeys[0]))
	f.Fuzz(func(t *testing.T, b []byte) { _, _, _ = Parse(b, testKeys) })
}

func TestTokenAllocates(t *testing.T) {
	tok := Token{Home: 1, Call: 7, Callee: Side{Pinned: true, Flow: transport.Flow{Remote: netip.MustParseAddrPort("10.0.0.1:5060")}}}
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() {
		buf = tok.Append(buf[:0], testKeys[0])
		if _, _, err := Parse(buf, testKeys); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
