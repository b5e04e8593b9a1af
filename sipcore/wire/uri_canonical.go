package wire

// AppendUnescaped appends b with %HH escapes resolved; malformed escapes are kept.
func AppendUnescaped(dst, b []byte) []byte {
	for i := 0; i < len(b); {
		c, n := uriChar(b[i:])
		dst = append(dst, c)
		i += n
	}
	return dst
}

// SkipUser returns b without its first n characters; an escape is one.
func SkipUser(b []byte, n int) []byte {
	for ; n > 0 && len(b) > 0; n-- {
		_, size := uriChar(b)
		b = b[size:]
	}
	return b
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
