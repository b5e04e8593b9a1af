package proxy

import (
	"fmt"
	"unicode/utf8"

	"holdline/sipcore/wire"
)

// What a record of a call holds is bounded, whatever its messages say: it is on every node, and its CDR for days.
const (
	maxID     = 256 // Call-ID, tags
	maxURI    = 512
	maxRoutes = 2048
)

// tagText is a tag as a record holds it; of a longer one its beginning tells it from others.
func tagText(b []byte) string { return text(b[:min(len(b), maxID)]) }

// tooLong is the answer to an INVITE that a record of its call cannot hold.
func tooLong(m *wire.Msg) *wire.Response {
	if len(m.Bytes(m.URI)) > maxURI {
		return &wire.Response{Status: 414}
	}
	for _, f := range [...]struct {
		what string
		span wire.Span
		most int
	}{{"Call-ID", m.CallID, maxID}, {"Tag In From", m.From.Tag, maxID}, {"URI In From", m.From.URI, maxURI}, {"URI In To", m.To.URI, maxURI}} {
		if f.span.Len() > f.most {
			return &wire.Response{Status: 400, Reason: fmt.Sprintf("%s Longer Than %d Bytes", f.what, f.most)}
		}
	}
	return nil
}

// text is what a record holds of bytes from the wire. Commands carry UTF-8, SIP tokens may hold any byte above 0x7f in quoted and
// escaped places: a byte that is no UTF-8 is written as %XX, the same on every node, so equal input stays equal.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	const hex = "0123456789ABCDEF"
	out := make([]byte, 0, len(b)+16)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			out = append(out, '%', hex[b[0]>>4], hex[b[0]&15])
		} else {
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	return string(out)
}
