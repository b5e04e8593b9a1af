package dialog

import (
	"bytes"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

var testKeys = []Key{{ID: 2, Secret: txn.Secret{K0: 3, K1: 4}}, {ID: 1, Secret: txn.Secret{K0: 1, K1: 2}}}

func drawSide(t *rapid.T) Side {
	s := Side{Pinned: rapid.Bool().Draw(t, "pinned"), Bars: Bars(rapid.IntRange(0, 3).Draw(t, "bars")) << 6}
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
			TagHash: rapid.Uint32().Draw(t, "tag"), Caller: drawSide(t), Callee: drawSide(t), Shift: uint8(rapid.IntRange(0, MaxShift).Draw(t, "shift")), Diverted: rapid.Bool().Draw(t, "diverted"),
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

// TestTokenShift: no token moves CSeq numbers further than a branch can say.
func TestTokenShift(t *testing.T) {
	tok := Token{Home: 1, Shift: 2 * flagDiverted}
	if got, _, err := Parse(tok.Append(nil, testKeys[0]), testKeys); err == nil {
		t.Errorf("%+v", got)
	}
}

// TestTokenWithoutBars: a token that was made before there were bars bars nothing; with bars it is as it was but for their bits, over which its
// readers of then pass.
func TestTokenWithoutBars(t *testing.T) {
	const before = "AQIBBwAAAAkAAAETxCoAAhPFCgAAARJnBT55_tRcueTsvDoP8A"
	tok, key, err := Parse([]byte(before), testKeys)
	if err != nil || tok.Home != 1 || tok.Call != 7 || tok.Caller.Bars != 0 || tok.Callee.Bars != 0 || !tok.Callee.Pinned {
		t.Fatalf("%+v %v", tok, err)
	}
	if text := string(tok.Append(nil, key)); text != before {
		t.Errorf("made anew: %s", text)
	}
	tok.Caller.Bars, tok.Callee.Bars = BarMembers|BarSources, BarMembers
	var raw, was [maxRaw]byte
	n, err := wire.DecodeBase64(raw[:], tok.Append(nil, key))
	m, _ := wire.DecodeBase64(was[:], []byte(before))
	if err != nil || n != m {
		t.Fatalf("%d bytes, were %d (%v)", n, m, err)
	}
	const caller, callee = 8, 13 // where their flags are
	was[caller] |= 0xc0
	was[callee] |= 0x40
	if !bytes.Equal(raw[:n-macLen], was[:n-macLen]) {
		t.Errorf("%x, was %x", raw[:n-macLen], was[:n-macLen])
	}
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
