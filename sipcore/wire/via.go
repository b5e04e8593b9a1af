package wire

// scanVia takes the top two Via values apart, which may stand in one line or in two.
func (m *Msg) scanVia(h *Header) ScanError {
	if !m.Via2.Value.Empty() {
		return ErrNone
	}
	pos, end := int(h.Value.Off), int(h.Value.End)
	found := false
	for m.Via2.Value.Empty() {
		for pos < end && (m.B[pos] == ',' || isSpace(m.B[pos])) {
			pos++
		}
		if pos == end {
			return fail(found, ErrBadVia)
		}
		v := &m.Via1
		if !v.Value.Empty() {
			v = &m.Via2
		}
		found = true
		next, ok := v.parse(m.B, pos, end)
		if !ok {
			*v = Via{}
			return ErrBadVia
		}
		v.Header = int16(m.n - 1)
		pos = next
	}
	return ErrNone
}

// parse reads one Via value from b[pos:end] (RFC 3261 §20.42) and returns where it ends: at a comma or at end.
func (v *Via) parse(b []byte, pos, end int) (int, bool) {
	b = b[:end]
	i, ok := viaProtocol(b, pos)
	if !ok {
		return 0, false
	}
	t := i
	for i < end && isToken(b[i]) {
		i++
	}
	gap := i
	i = skipLWS(b, i)
	if t == gap || gap == i { // transport and the space after it
		return 0, false
	}
	v.Transport = span(t, gap)
	if i, ok = v.sentBy(b, i); !ok {
		return 0, false
	}
	last := int(v.Host.End)
	if v.Port != 0 {
		last = i
	}
	i = skipLWS(b, i)
	for i < end && b[i] == ';' {
		var stop int
		if i, stop = v.param(b, i+1); stop > last {
			last = stop
		}
	}
	if i < end && b[i] != ',' {
		return 0, false
	}
	v.Value = span(pos, last)
	return i, true
}

func skipLWS(b []byte, i int) int { return i + skipSpace(b[i:]) }

// viaProtocol reads "SIP / 2.0 /" and returns where the transport begins.
func viaProtocol(b []byte, i int) (int, bool) {
	if len(b)-i > 8 && string(b[i:i+8]) == "SIP/2.0/" && isToken(b[i+8]) {
		return i + 8, true
	}
	for range 2 { // protocol name, version
		n := i
		for i < len(b) && isToken(b[i]) {
			i++
		}
		if i == n {
			return 0, false
		}
		i = skipLWS(b, i)
		if i == len(b) || b[i] != '/' {
			return 0, false
		}
		i = skipLWS(b, i+1)
	}
	return i, true
}

// sentBy reads host and port and returns where they end.
func (v *Via) sentBy(b []byte, i int) (int, bool) {
	off := i
	if i < len(b) && b[i] == '[' {
		for i < len(b) && b[i] != ']' {
			if class[b[i]]&classHost == 0 {
				return 0, false
			}
			i++
		}
		i++
	} else {
		for i < len(b) && class[b[i]]&classHost != 0 && b[i] != ':' {
			i++
		}
	}
	if i == off || i > len(b) {
		return 0, false
	}
	v.Host = span(off, i)
	c := skipLWS(b, i)
	if c == len(b) || b[c] != ':' {
		return i, true
	}
	c = skipLWS(b, c+1)
	e := c
	for e < len(b) && isDigit(b[e]) {
		e++
	}
	port, ok := number(b[c:e], 65535)
	if !ok || port == 0 {
		return 0, false
	}
	v.Port = uint16(port)
	return e, true
}

// param reads one parameter that begins at i, after its ';'. It returns where the next ';', comma or the end is, and
// where the parameter ends without trailing white space.
func (v *Via) param(b []byte, i int) (next, stop int) {
	i = skipLWS(b, i)
	off := i
	for i < len(b) && isToken(b[i]) {
		i++
	}
	name := b[off:i]
	stop = i
	val := span(i, i) // where a value would go
	i = skipLWS(b, i)
	if i < len(b) && b[i] == '=' {
		i = skipLWS(b, i+1)
		at := i
		if i < len(b) && b[i] == '"' {
			if i = quoteEnd(b, i); i < 0 {
				return at, at // the quote is not what ends a value, so the caller fails
			}
		} else {
			for i < len(b) && class[b[i]]&classVia != 0 {
				i++
			}
		}
		val, stop = span(at, i), i
		i = skipLWS(b, i)
	}
	v.set(name, val)
	return i, stop
}

// set keeps the first parameter of each name that matters.
func (v *Via) set(name []byte, val Span) {
	var to *Span
	switch len(name) {
	case 3:
		if equalFold(name, "ttl") {
			to = &v.TTL
		}
	case 5:
		if equalFold(name, "maddr") {
			to = &v.MAddr
		} else if equalFold(name, "rport") && !v.HasRPort {
			to, v.HasRPort = &v.RPort, true
		}
	case 6:
		if equalFold(name, "branch") {
			to = &v.Branch
		}
	case 8:
		if equalFold(name, "received") {
			to = &v.Received
		}
	}
	if to != nil && to.Empty() {
		*to = val
	}
}
