package proxy

import "unicode/utf8"

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
