package wire

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestBase64: whatever is encoded comes back, and nowhere does it read as the name of a header field that peers look for; nodes that know plain base64url read
// nearly all of it.
func TestBase64(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	words := 0
	for range 200_000 {
		raw := make([]byte, r.IntN(60))
		for i := range raw {
			raw[i] = byte(r.Uint32())
		}
		if n := len(raw) / 3; n > 1 && r.IntN(4) == 0 { // the word, at one of the places where it fits
			word, _ := base64.RawURLEncoding.DecodeString("CSeq")
			copy(raw[3*r.IntN(n-1):], slices.Concat(word, word))
		}
		plain := base64.RawURLEncoding.EncodeToString(raw)
		text := AppendBase64([]byte("hl="), raw)[3:]
		if bytes.Contains(text, cseqWord) {
			t.Fatalf("%q", text)
		}
		if string(text) != plain {
			words++
			if !bytes.Contains([]byte(plain), cseqWord) {
				t.Fatalf("%q instead of %q", text, plain)
			}
		}
		for _, s := range []string{string(text), plain} {
			back := make([]byte, base64.RawURLEncoding.DecodedLen(len(s)))
			if n, err := DecodeBase64(back, []byte(s)); err != nil || !bytes.Equal(back[:n], raw) {
				t.Fatalf("%q: %x, %v, want %x", s, back[:n], err, raw)
			}
		}
	}
	if words < 1000 {
		t.Errorf("only %d with the word: the test tests nothing", words)
	}
	if _, err := DecodeBase64(make([]byte, 9), []byte("abc.Seqabc.e")); err == nil {
		t.Error("a dot elsewhere is taken")
	}
}

func BenchmarkBase64(b *testing.B) {
	raw, dst := bytes.Repeat([]byte{1, 2, 3}, 13), make([]byte, 0, 64)
	back := make([]byte, 39)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendBase64(dst[:0], raw)
		if _, err := DecodeBase64(back, dst); err != nil {
			b.Fatal(err)
		}
	}
}
