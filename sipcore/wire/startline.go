package wire

import "bytes"

const sipVersion = "SIP/2.0"

// scanStart reads the start line, which is without its line ending. ErrNotSIP means that nothing can be made of it.
func (m *Msg) scanStart(line []byte) ScanError {
	if len(line) >= 4 && equalFold(line[:4], "SIP/") {
		return m.scanStatusLine(line)
	}
	return m.scanRequestLine(line)
}

// scanRequestLine reads "Method SP Request-URI SP SIP-Version" (RFC 3261 §7.1). Surplus white space is tolerated.
func (m *Msg) scanRequestLine(line []byte) ScanError {
	i := 0
	for i < len(line) && isToken(line[i]) {
		i++
	}
	if i == 0 || i == len(line) || !isSpace(line[i]) {
		return ErrNotSIP
	}
	end := len(line)
	for isSpace(line[end-1]) { // ends at the method at the latest
		end--
	}
	v := end
	for !isSpace(line[v-1]) && v > i {
		v--
	}
	if v <= i || end-v < 4 || !equalFold(line[v:v+4], "SIP/") {
		return ErrNotSIP
	}
	m.Request = true
	m.MethodName = span(0, i)
	m.Method = ParseMethod(line[:i])
	m.Version = span(v, end)
	u := i + skipSpace(line[i:v])
	ue := v
	for ue > u && isSpace(line[ue-1]) {
		ue--
	}
	m.URI = span(u, ue)
	m.oddStart = u != i+1 || v != ue+1 || end != len(line) || line[i] != ' ' || line[v-1] != ' '
	switch {
	case !equalFold(line[v:end], sipVersion):
		return ErrVersion
	case u >= v:
		m.URI = Span{}
		return ErrBadRequestLine
	case !allOf(line[u:ue], classURI):
		return ErrBadURI
	}
	return ErrNone
}

// scanStatusLine reads "SIP-Version SP Status-Code SP Reason-Phrase" (RFC 3261 §7.2). The reason may be missing with its space.
func (m *Msg) scanStatusLine(line []byte) ScanError {
	i := bytes.IndexByte(line, ' ')
	if i < 0 {
		return ErrNotSIP
	}
	m.Version = span(0, i)
	if !equalFold(line[:i], sipVersion) {
		return ErrVersion
	}
	c := i + skipSpace(line[i:])
	e := c
	for e < len(line) && isDigit(line[e]) {
		e++
	}
	code, ok := number(line[c:e], 699)
	if !ok || e-c != 3 || code < 100 || e < len(line) && line[e] != ' ' && line[e] != '\t' {
		return ErrBadStatus
	}
	m.Status = uint16(code)
	if e < len(line) {
		m.Reason = span(e+1, len(line))
	}
	m.oddStart = c != i+1
	return ErrNone
}
