package wire

import "bytes"

// AppendUnescaped appends b with %HH escapes resolved; malformed escapes are kept.
func AppendUnescaped(dst, b []byte) []byte {
	for i := 0; i < len(b); {
		c, n := uriChar(b[i:])
		dst = append(dst, c)
		i += n
	}
	return dst
}

// uriChar returns the character that b begins with, an escape resolved, and how many bytes it takes.
func uriChar(b []byte) (c byte, n int) {
	if b[0] == '%' && len(b) > 2 && isHexDigit(b[1]) && isHexDigit(b[2]) {
		return hexValue(b[1])<<4 | hexValue(b[2]), 3
	}
	return b[0], 1
}

// AppendAoR appends the canonical address-of-record user@host (RFC 3261 §10.3 step 5): no scheme, port, password,
// parameters or headers, escapes in the user resolved, host in lower case. Without a user it is the host alone.
// It is a key, not for the wire: an unescaped user may hold any byte.
func (u *URI) AppendAoR(dst []byte) []byte {
	if u.HasUser {
		dst = AppendUnescaped(dst, u.User)
		if u.Scheme == SchemeTel {
			return dst
		}
		dst = append(dst, '@')
	}
	return AppendLower(dst, u.Host)
}

// AppendLower appends b with ASCII letters in lower case.
func AppendLower(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, lower[c])
	}
	return dst
}

// EqualURI compares two URIs: SIP and SIPS by the rules of RFC 3261 §19.1.4, tel by RFC 3966 §4, others byte for byte
// but for the letter case of the scheme.
func EqualURI(a, b *URI) bool {
	if a.Scheme != b.Scheme {
		return false
	}
	switch a.Scheme {
	case SchemeSIP, SchemeSIPS:
		return a.HasUser == b.HasUser && a.Port == b.Port &&
			equalEscaped(a.User, b.User, false) && equalEscaped(a.Password, b.Password, false) &&
			equalHost(a.Host, b.Host) && equalSIPParams(a, b) && equalSIPParams(b, a) &&
			equalHeaders(a.Headers, b.Headers) && equalHeaders(b.Headers, a.Headers)
	case SchemeTel:
		return equalNumber(a.User, b.User) && equalTelParams(a.Params, b.Params) && equalTelParams(b.Params, a.Params)
	}
	return equalFold(a.Name, b.Name) && bytes.Equal(a.Opaque, b.Opaque)
}

// equalEscaped compares two URI parts in which a character and its escape are the same.
func equalEscaped(a, b []byte, fold bool) bool {
	for len(a) > 0 && len(b) > 0 {
		x, i := uriChar(a)
		y, j := uriChar(b)
		if x != y && !(fold && lower[x] == lower[y]) {
			return false
		}
		a, b = a[i:], b[j:]
	}
	return len(a) == 0 && len(b) == 0
}

// equalHost compares names without regard to case and addresses by value (an IPv6 address is written in many ways).
func equalHost(a, b []byte) bool {
	if equalFold(a, b) {
		return true
	}
	x := ParseHost(a)
	return x.IsValid() && x == ParseHost(b)
}

// equalSIPParams checks a's parameters against b's: one in both must match; user, ttl, method, maddr and transport must
// not be in one only; others in one only are ignored.
func equalSIPParams(a, b *URI) bool {
	it := SplitParams(a.Params)
	for {
		name, v, ok := it.Next()
		if !ok {
			return true
		}
		w, both := findParam(b.Params, name)
		if both && !equalEscaped(v, w, true) || !both && telling(name) {
			return false
		}
	}
}

// telling reports whether a SIP URI parameter makes URIs differ by being in one of them only. That transport is among
// them is in the examples of §19.1.4, not in its list.
func telling(name []byte) bool {
	for _, s := range [...]string{"user", "ttl", "method", "maddr", "transport"} {
		if equalFold(name, s) {
			return true
		}
	}
	return false
}

func findParam(params, name []byte) (value []byte, ok bool) {
	it := SplitParams(params)
	for {
		n, v, more := it.Next()
		if !more || equalEscaped(n, name, true) {
			return v, more
		}
	}
}

// equalHeaders reports whether every header of a is in b with the same value; headers are never ignored.
func equalHeaders(a, b []byte) bool {
	for len(a) > 0 {
		var h []byte
		h, a = cutByte(a, '&')
		name, v := cutByte(h, '=')
		found := false
		for rest := b; len(rest) > 0 && !found; {
			var o []byte
			o, rest = cutByte(rest, '&')
			n, w := cutByte(o, '=')
			found = equalEscaped(name, n, true) && equalEscaped(v, w, false)
		}
		if !found {
			return false
		}
	}
	return true
}

func cutByte(b []byte, c byte) (before, after []byte) {
	if i := bytes.IndexByte(b, c); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// equalNumber compares telephone numbers without their visual separators (RFC 3966 §4).
func equalNumber(a, b []byte) bool {
	for {
		a, b = skipSeparators(a), skipSeparators(b)
		if len(a) == 0 || len(b) == 0 {
			return len(a) == len(b)
		}
		if lower[a[0]] != lower[b[0]] {
			return false
		}
		a, b = a[1:], b[1:]
	}
}

func skipSeparators(b []byte) []byte {
	for len(b) > 0 && (b[0] == '-' || b[0] == '.' || b[0] == '(' || b[0] == ')') {
		b = b[1:]
	}
	return b
}

// equalTelParams reports whether every parameter of a is in b, in any order, with the same value.
func equalTelParams(a, b []byte) bool {
	it := SplitParams(a)
	for {
		name, v, ok := it.Next()
		if !ok {
			return true
		}
		w, both := findParam(b, name)
		if !both {
			return false
		}
		number := equalFold(name, "ext") || equalFold(name, "phone-context") && len(v) > 0 && v[0] == '+'
		if number && !equalNumber(v, w) || !number && !equalEscaped(v, w, true) {
			return false
		}
	}
}
