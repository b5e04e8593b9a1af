package wire

// Character classes and small scans over bytes.

// lower maps ASCII letters to lower case and every other byte to itself.
var lower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if i >= 'A' && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

// tokenLower is lower for token characters and 0 for others.
var tokenLower = func() (t [256]byte) {
	for i := range t {
		if isToken(byte(i)) {
			t[i] = lower[i]
		}
	}
	return t
}()

const (
	classToken  = 1 << iota // RFC 3261 token
	classSpace              // SP, HTAB, CR, LF: what LWS is made of
	classURI                // what may be in a URI: no space, control, <, >, "
	classHost               // letters, digits, - . _ and what IPv6 references need
	classVia                // what an unquoted Via parameter value may hold: all but ; , < > " and white space
	classUnsafe             // must not be in a value that we insert
)

var class = func() (t [256]uint8) {
	for i := range t {
		c := byte(i)
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if alnum || indexByteString("-.!%*_+`'~", c) {
			t[i] |= classToken
		}
		if c == ' ' || c == '\t' || c == '\r' || c == '\n' {
			t[i] |= classSpace
		}
		if c > ' ' && c != 0x7f && c != '<' && c != '>' && c != '"' {
			t[i] |= classURI
		}
		if t[i]&classURI != 0 && c != ';' && c != ',' {
			t[i] |= classVia
		}
		if alnum || indexByteString("-._[]:", c) {
			t[i] |= classHost
		}
		if c < ' ' && c != '\t' || c == 0x7f {
			t[i] |= classUnsafe
		}
	}
	return t
}()

func indexByteString(s string, c byte) bool {
	for i := range len(s) {
		if s[i] == c {
			return true
		}
	}
	return false
}

func isSpace(c byte) bool { return class[c]&classSpace != 0 }
func isToken(c byte) bool { return class[c]&classToken != 0 }
func isDigit(c byte) bool { return c-'0' < 10 }

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isHexDigit(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

// hexValue is the value of a hexadecimal digit.
func hexValue(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// allOf reports whether b is not empty and every byte of it is of the class.
func allOf(b []byte, cl uint8) bool {
	for _, c := range b {
		if class[c]&cl == 0 {
			return false
		}
	}
	return len(b) > 0
}

// safe reports whether b can be inserted into a header value: no line ends, no other control characters.
func safe(b []byte) bool {
	for _, c := range b {
		if class[c]&classUnsafe != 0 {
			return false
		}
	}
	return true
}

// EqualFold reports whether b and s are equal without regard to ASCII letter case, as SIP compares tokens.
func EqualFold(b []byte, s string) bool { return equalFold(b, s) }

func equalFold[T string | []byte](b []byte, s T) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if lower[c] != lower[s[i]] {
			return false
		}
	}
	return true
}

// skipSpace returns how many bytes of white space b begins with.
func skipSpace(b []byte) int {
	i := 0
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

// trim returns b without white space at both ends.
func trim(b []byte) []byte {
	i, n := 0, len(b)
	for i < n && isSpace(b[i]) {
		i++
	}
	for n > i && isSpace(b[n-1]) {
		n--
	}
	return b[i:n]
}

// quoteEnd returns the index after the quoted string that begins at b[i], -1 when it is not closed.
func quoteEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}

// number reads decimal digits; ok is false when b is empty, holds anything else or exceeds limit.
func number(b []byte, limit uint64) (v uint64, ok bool) {
	for _, c := range b {
		if !isDigit(c) {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
		if v > limit {
			return 0, false
		}
	}
	return v, len(b) > 0
}
