package wire

import "bytes"

// Scan indexes b, a whole message of at most MaxMessage bytes, without copying or allocating. Empty lines before the
// start line are skipped. The error is a ScanError naming the first fault; the scan goes on after most faults, so that
// a request can be answered: see Answerable.
func (m *Msg) Scan(b []byte) error {
	*m = Msg{MaxForwards: -1, ContentLength: -1, Expires: -1, more: m.more[:0]}
	if len(b) > MaxMessage {
		return ErrTooLarge
	}
	// RFC 3261 §7.5: CRLF before the start line is ignored.
	for len(b) > 0 && (b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	m.B = b
	nl := bytes.IndexByte(b, '\n')
	if nl < 0 {
		return ErrNotSIP
	}
	m.Start = span(0, nl+1)
	fault := m.scanStart(trimCR(b[:nl]))
	if fault == ErrNotSIP {
		return fault
	}
	body, f := m.scanHeaders(nl + 1)
	fault = first(fault, f)
	if body >= 0 {
		fault = first(fault, m.scanBody(body))
	}
	fault = first(fault, m.checkMandatory())
	if fault != ErrNone {
		return fault
	}
	return nil
}

// first returns the earlier of two faults.
func first(a, b ScanError) ScanError {
	if a != ErrNone {
		return a
	}
	return b
}

// trimCR takes the carriage return off a line.
func trimCR(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

// scanHeaders indexes the header lines from offset pos on and returns where the body begins, -1 when the headers have no end.
func (m *Msg) scanHeaders(pos int) (body int, fault ScanError) {
	b := m.B
	start, crlf := pos, 0
	for pos < len(b) {
		if b[pos] == '\n' {
			return pos + 1, first(fault, strayCR(b[start:pos], crlf))
		}
		if b[pos] == '\r' && pos+1 < len(b) && b[pos+1] == '\n' {
			return pos + 2, first(fault, strayCR(b[start:pos], crlf))
		}
		end := pos
		for {
			i := bytes.IndexByte(b[end:], '\n')
			if i < 0 {
				return -1, first(fault, ErrNoHeaderEnd)
			}
			end += i + 1
			if i > 0 && b[end-2] == '\r' {
				crlf++
			}
			if end == len(b) || b[end] != ' ' && b[end] != '\t' {
				break // the next line is not a continuation (RFC 3261 §7.3.1)
			}
		}
		if m.n == MaxHeaders {
			return -1, first(fault, ErrTooLarge)
		}
		fault = first(fault, m.scanLine(pos, end))
		pos = end
	}
	return -1, first(fault, ErrNoHeaderEnd)
}

// strayCR finds a carriage return that does not end a line: some receivers would take it for a line end, so a header
// could be smuggled past us. crlf is how many do end one.
func strayCR(headers []byte, crlf int) ScanError {
	if bytes.Count(headers, crByte) != crlf {
		return ErrBadHeader
	}
	return ErrNone
}

var crByte = []byte{'\r'}

// scanLine indexes one header line and looks into its value if the proxy needs it.
func (m *Msg) scanLine(pos, end int) ScanError {
	line := m.B[pos:end]
	var low [32]byte // maxKnownName and more
	n := 0
	for n < len(line) {
		c := tokenLower[line[n]]
		if c == 0 {
			break
		}
		low[n%len(low)] = c
		n++
	}
	i := n
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	if n == 0 || i == len(line) || line[i] != ':' {
		return ErrBadHeader
	}
	i++
	for i < len(line) && isSpace(line[i]) {
		i++
	}
	v := len(line)
	for v > i && isSpace(line[v-1]) {
		v--
	}
	h := Header{Line: span(pos, end), Name: span(pos, pos+n), Value: span(pos+i, pos+v)}
	if n <= maxKnownName {
		h.ID = lookupLower(low[:n])
	}
	repeated := false
	if h.ID != HdrOther {
		if m.first[h.ID] == 0 {
			m.first[h.ID] = uint16(m.n + 1)
		} else {
			repeated = true
		}
	}
	if m.n < inlineHeaders {
		m.hdr[m.n] = h
	} else {
		m.more = append(m.more, h)
	}
	m.n++
	return m.scanKnown(&h, repeated)
}

// scanKnown reads the values that every message is judged by.
func (m *Msg) scanKnown(h *Header, repeated bool) ScanError {
	switch h.ID {
	case HdrVia:
		return m.scanVia(h)
	case HdrFrom:
		if repeated {
			return ErrDuplicateFrom
		}
		return fail(m.scanAddr(&m.From, h.Value), ErrBadFrom)
	case HdrTo:
		if repeated {
			return ErrDuplicateTo
		}
		return fail(m.scanAddr(&m.To, h.Value), ErrBadTo)
	case HdrCallID:
		if repeated {
			return ErrDuplicateCallID
		}
		m.CallID = h.Value
		return fail(noSpace(m.B[h.Value.Off:h.Value.End]), ErrBadCallID)
	case HdrCSeq:
		if repeated {
			return ErrDuplicateCSeq
		}
		return m.scanCSeq(h.Value)
	case HdrMaxForwards:
		if repeated {
			return ErrDuplicateMaxForwards
		}
		n, ok := number(m.Bytes(h.Value), 255) // RFC 3261 §20.22
		if ok {
			m.MaxForwards = int16(n)
		}
		return fail(ok, ErrBadMaxForwards)
	case HdrContentLength:
		if repeated {
			return ErrDuplicateContentLength
		}
		n, ok := number(m.Bytes(h.Value), 1<<31-1)
		if ok {
			m.ContentLength = int32(n)
		}
		return fail(ok, ErrBadContentLength)
	case HdrExpires:
		if n, ok := number(m.Bytes(h.Value), 1<<32-1); ok && !repeated {
			m.Expires = int64(n)
		}
	}
	return ErrNone
}

func fail(ok bool, e ScanError) ScanError {
	if ok {
		return ErrNone
	}
	return e
}

// noSpace reports whether b is not empty and has no white space in it.
func noSpace(b []byte) bool {
	for _, c := range b {
		if isSpace(c) {
			return false
		}
	}
	return len(b) > 0
}

// scanCSeq reads "number method" (RFC 3261 §20.16).
func (m *Msg) scanCSeq(v Span) ScanError {
	b := m.Bytes(v)
	i := 0
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	n, ok := number(b[:i], 1<<32-1)
	method := b[i:]
	gap := skipSpace(method)
	method = method[gap:]
	if !ok || gap == 0 || !allOf(method, classToken) {
		return ErrBadCSeq
	}
	m.CSeq = uint32(n)
	m.CSeqMethod = span(int(v.End)-len(method), int(v.End))
	cm := ParseMethod(method)
	if !m.Request {
		m.Method = cm
		return ErrNone
	}
	switch {
	case m.Method == MethodOther:
		return fail(bytes.Equal(method, m.Bytes(m.MethodName)), ErrCSeqUnknown)
	case cm != m.Method:
		return ErrCSeqMethod
	}
	return ErrNone
}

// scanBody finds the body that begins at off. Bytes after Content-Length are not part of the message (RFC 3261 §18.3);
// without the header the body is all that follows, which only datagrams may leave to the reader.
func (m *Msg) scanBody(off int) ScanError {
	end := len(m.B)
	if m.ContentLength >= 0 {
		if int(m.ContentLength) > end-off {
			m.Body = span(off, end)
			return ErrShortBody
		}
		end = off + int(m.ContentLength)
	}
	m.Body = span(off, end)
	m.B = m.B[:end]
	return ErrNone
}

// checkMandatory looks for the headers that every message has (RFC 3261 §8.1.1, §16.3).
func (m *Msg) checkMandatory() ScanError {
	switch {
	case !m.Has(HdrVia):
		return ErrMissingVia
	case !m.Has(HdrFrom):
		return ErrMissingFrom
	case !m.Has(HdrTo):
		return ErrMissingTo
	case !m.Has(HdrCallID):
		return ErrMissingCallID
	case !m.Has(HdrCSeq):
		return ErrMissingCSeq
	}
	return ErrNone
}
