package proxy

import (
	"testing"
	"unicode/utf8"
)

func TestTextIsUTF8(t *testing.T) {
	for in, want := range map[string]string{
		"sip:alice@example.com": "sip:alice@example.com",
		"sip:jörg@example.com":  "sip:jörg@example.com",
		"sip:j\xf6rg@x":         "sip:j%F6rg@x",
		"\xff\x00":              "%FF\x00",
	} {
		got := text([]byte(in))
		if got != want || !utf8.ValidString(got) {
			t.Errorf("text(%q) = %q, want %q", in, got, want)
		}
	}
}
