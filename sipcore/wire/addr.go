package wire

// addrParts are offsets of the parts of a name-addr or addr-spec.
type addrParts struct {
	display, displayEnd int
	uri, uriEnd         int
	params              int // first byte after the address: ';' or the end
	angle               bool
}

// splitAddr finds the parts of one value (RFC 3261 §20.10): display name, URI, header parameters.
// Without < > everything from the first ';' on belongs to the header, not to the URI.
func splitAddr(b []byte) (p addrParts, ok bool) {
	i := skipSpace(b)
	p.display = i
	for i < len(b) && b[i] != '<' && b[i] != ';' {
		if b[i] == '"' {
			end := quoteEnd(b, i)
			if end < 0 {
				return p, false
			}
			i = end
			continue
		}
		i++
	}
	if i < len(b) && b[i] == '<' {
		p.angle = true
		p.displayEnd = i
		p.uri = i + 1
		for i < len(b) && b[i] != '>' {
			i++
		}
		if i == len(b) {
			return p, false
		}
		p.uriEnd = i
		p.params = i + 1
	} else {
		p.displayEnd = p.display
		p.uri, p.uriEnd, p.params = p.display, i, i
	}
	for p.displayEnd > p.display && isSpace(b[p.displayEnd-1]) {
		p.displayEnd--
	}
	p.uri += skipSpace(b[p.uri:p.uriEnd])
	for p.uriEnd > p.uri && isSpace(b[p.uriEnd-1]) {
		p.uriEnd--
	}
	p.params += skipSpace(b[p.params:])
	if p.params < len(b) && b[p.params] != ';' {
		return p, false
	}
	return p, allOf(b[p.uri:p.uriEnd], classURI)
}

// displayName reports whether b is what may stand before < >: tokens, or a quoted string (RFC 3261 §25.1).
func displayName(b []byte) bool {
	if b[0] == '"' {
		return quoteEnd(b, 0) == len(b)
	}
	return allOf(b, classToken|classSpace)
}

// scanAddr takes a From or To value apart.
func (m *Msg) scanAddr(a *Addr, v Span) bool {
	b := m.B[v.Off:v.End]
	p, ok := splitAddr(b)
	if !ok {
		return false
	}
	off := int(v.Off)
	a.URI = span(off+p.uri, off+p.uriEnd)
	a.HasName = p.angle
	if name := b[p.display:p.displayEnd]; len(name) > 0 && !displayName(name) {
		a.bare = span(off+p.display, off+p.displayEnd)
	}
	it := SplitParams(b[p.params:])
	for {
		name, val, more := it.Next()
		if !more {
			return true
		}
		if len(name) == 3 && equalFold(name, "tag") {
			if len(val) == 0 {
				return false
			}
			// Both slices reach to the end of B's array, so capacities tell the offset.
			at := cap(m.B) - cap(val)
			a.Tag = span(at, at+len(val))
			return true
		}
	}
}
