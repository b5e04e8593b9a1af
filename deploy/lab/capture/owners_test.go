package capture

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

// script turns "A@0! B@80! B@82" into frames: sender, milliseconds, "!" an announcement.
func script(t *testing.T, s string) []Frame {
	t.Helper()
	var out []Frame
	for word := range strings.FieldsSeq(s) {
		who, at, ok := strings.Cut(word, "@")
		announce := strings.HasSuffix(at, "!")
		ms, err := strconv.Atoi(strings.TrimSuffix(at, "!"))
		if !ok || err != nil {
			t.Fatalf("bad word %q", word)
		}
		out = append(out, Frame{
			At: time.Unix(1000, int64(ms)*1e6), VIP: netip.MustParseAddr("10.77.0.101"), ARP: announce, Announce: announce,
			Sender: Sender{Port: int(who[0]), MAC: [6]byte{who[0]}},
		})
	}
	return out
}

func TestOwners(t *testing.T) {
	for _, tt := range []struct {
		name, frames string
		want         int
	}{
		{"one owner", "A@0! A@2 A@4 A@500! A@502", 1},
		{"hand-over", "A@0 A@2 A@4 B@80! B@82 B@84", 1},
		{"hand-over without announcement", "A@0 A@2 B@80 B@82", 1},
		{"handed back later", "A@0 A@2 B@80! B@82 A@900! A@902", 1},
		{"handed to and fro", "A@0 B@80! B@82 A@900! A@902 B@1800! B@1802", 1},
		{"three owners one after the other", "A@0 B@80! B@81 C@160! C@161", 1},
		{"interleaving", "A@0 B@80! A@81 B@82", 2},
		{"one stale frame of a thawed owner", "A@0 A@2 B@80! B@82 A@3000 B@3002", 2},
		{"one stale announcement of a thawed owner", "A@0 A@2 B@80! B@82 A@3000! B@3002", 2},
		{"a stale frame as the very last", "A@0 A@2 B@80! B@82 A@3000", 2},
		{"two owners that both announce", "A@0! B@10! A@15! B@20! A@25! B@30!", 2},
		{"back too soon", "A@0 B@5! A@8! A@10", 2},
		{"handed back, an answer before the announcement", "A@0 B@80! B@82 A@900 A@905 A@910! A@920", 1},
		{"the same, and the other goes on", "A@0 B@80! B@82 A@900 A@910! B@920", 2},
		{"the same, with the other's frame between", "A@0 B@80! B@82 A@900 B@905 A@910!", 2},
		{"the same, too late", "A@0 B@80! B@82 A@900 A@960! A@962", 2},
		{"the same, too soon after", "A@0 B@5! A@8 A@10! A@12", 2},
		{"same instant", "A@0 A@5 B@5!", 2},
		{"three at once", "A@0 B@1! C@2! A@3 B@4 C@5", 3},
		{"out of order in the ring", "B@80! A@0 A@2 B@82", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Owners(script(t, tt.frames))
			if len(got) != 1 || got[0].Max != tt.want {
				t.Errorf("%s: %+v; want %d owners", tt.frames, got, tt.want)
			}
		})
	}
}

func TestOwnersPerVIP(t *testing.T) {
	a := script(t, "A@0 A@10 A@20")
	b := script(t, "B@5 B@15")
	for i := range b {
		b[i].VIP = netip.MustParseAddr("10.77.0.102")
	}
	for _, v := range Owners(append(a, b...)) {
		if v.Max != 1 {
			t.Errorf("%v: %d owners; each VIP has one", v.VIP, v.Max)
		}
	}
}

func TestSharedMACBehindTwoPorts(t *testing.T) {
	frames := script(t, "A@0 B@10 A@20 B@30")
	for i := range frames {
		frames[i].Sender.MAC = [6]byte{0, 0, 0x5e, 0, 1, 1}
	}
	if got := Owners(frames)[0].Max; got != 2 {
		t.Errorf("%d owners; two ports send with one MAC: want 2", got)
	}
}
