package proxy

import (
	"bytes"

	"holdline/sipcore/wire"
)

// requestURI is the Request-URI of a template.
func requestURI(template []byte, lineEnd int) []byte {
	line := template[:lineEnd]
	i := bytes.IndexByte(line, ' ') + 1
	j := bytes.LastIndexByte(line, ' ')
	if i <= 0 || j <= i {
		return nil
	}
	return line[i:j]
}

// appendRequestURI appends to out a URI, which may lie right behind it in the same memory, as it may stand in a request line: without the header fields and the
// parameter method that a Contact may have (RFC 3261 §16.6 step 2, §19.1.1 table 1). They are not heeded either: whoever writes them asks for requests
// in another's name.
func appendRequestURI(out, uri []byte) []byte {
	if bytes.IndexByte(uri, ';') < 0 && bytes.IndexByte(uri, '?') < 0 { // as nearly all are
		return append(out, uri...)
	}
	u, err := wire.ParseURI(uri)
	if _, method := u.Param("method"); err != nil || u.Headers == nil && !method {
		return append(out, uri...)
	}
	if u.Headers != nil {
		uri = uri[:len(uri)-len(u.Headers)-1]
	}
	out = append(out, uri[:len(uri)-len(u.Params)]...)
	for p := u.Params; len(p) > 0; {
		n := 1 + bytes.IndexByte(p[1:], ';')
		if n == 0 {
			n = len(p)
		}
		if name, _, _ := bytes.Cut(p[1:n], []byte("=")); !wire.EqualFold(name, "method") {
			out = append(out, p[:n]...)
		}
		p = p[n:]
	}
	return out
}
