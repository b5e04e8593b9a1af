package dialog

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestDiversion: what was written is read again with the call it is for, and not when any of it was changed.
func TestDiversion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(name string) []byte { return rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, name) }
		want := Diversion{AoR: rapid.StringN(1, 40, 120).Draw(t, "aor"), Reason: Reason(rapid.IntRange(0, len(reasons)-1).Draw(t, "reason")), Trusted: rapid.Bool().Draw(t, "trusted")}
		k := testKeys[rapid.IntRange(0, 1).Draw(t, "key")]
		call, tag, uri := text("call"), text("tag"), text("uri")
		token := want.Append(nil, k, call, tag, uri)
		if got, err := ParseDiversion(token, testKeys, call, tag, uri); err != nil || got != want {
			t.Fatalf("got %+v %v, want %+v", got, err, want)
		}
		for name, other := range map[string][3][]byte{
			"call": {append(call, 'x'), tag, uri}, "tag": {call, append(tag, 'x'), uri}, "uri": {call, tag, append(uri, 'x')},
		} {
			if got, err := ParseDiversion(token, testKeys, other[0], other[1], other[2]); err == nil {
				t.Fatalf("taken for another %s: %+v", name, got)
			}
		}
		token[rapid.IntRange(0, len(token)-2).Draw(t, "flip")] ^= 1 // the last character may hold unused bits
		if got, err := ParseDiversion(token, testKeys, call, tag, uri); err == nil {
			t.Fatalf("a changed token was accepted: %+v", got)
		}
	})
	for name, token := range map[string]string{"empty": "", "short": "AQEA", "long": strings.Repeat("A", 5000), "a dialog's": "AQIBBwAAAAkAAAETxCoAAhPFCgAAARJnBT55_tRcueTsvDoP8A"} {
		if d, err := ParseDiversion([]byte(token), testKeys, nil, nil, nil); err == nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
	for _, r := range reasons {
		if got := ReasonOf([]byte(strings.ToUpper(r))).String(); got != r {
			t.Errorf("%s is read as %s", r, got)
		}
	}
	if got := Reason(200).String(); got != "unknown" {
		t.Errorf("a reason of a later version: %s", got)
	}
}
