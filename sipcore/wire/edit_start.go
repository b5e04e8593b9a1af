package wire

import (
	"fmt"
	"strconv"
)

// SetURI replaces the Request-URI.
func (e *Edit) SetURI(uri []byte) {
	if e.check("set Request-URI", e.m.Request && allOf(uri, classURI)) {
		e.replace(e.m.URI, uri)
	}
}

// SetStatus replaces status code and reason phrase of a response; "" is the standard phrase.
func (e *Edit) SetStatus(status int, reason string) {
	if e.m.Request || status < 100 || status > 699 {
		if e.err == nil {
			e.err = fmt.Errorf("set status %d: %w", status, ErrUnsafe)
		}
		return
	}
	if reason == "" {
		reason = StatusText(status)
	}
	if !e.check("set status", safeString(reason)) {
		return
	}
	n := len(e.text)
	e.text = strconv.AppendInt(e.text, int64(status), 10)
	e.text = append(e.text, ' ')
	e.text = append(e.text, reason...)
	e.add(op{kind: opReplace, off: int32(e.code()), end: int32(e.lineEnd())}, n)
}

// code returns where the status code begins.
func (e *Edit) code() int {
	i := int(e.m.Version.End)
	return i + skipSpace(e.m.B[i:])
}

// lineEnd returns where the start line ends, without its line ending.
func (e *Edit) lineEnd() int {
	s := e.m.Start
	return int(s.Off) + len(trimCR(e.m.B[s.Off:s.End-1]))
}

// tidyStart writes the start line with single spaces.
func (e *Edit) tidyStart() {
	m, sp := e.m, []byte(" ")
	if !m.Request {
		e.replace(span(int(m.Version.End), e.code()), sp)
		return
	}
	e.replace(Span{m.MethodName.End, m.URI.Off}, sp)
	e.replace(Span{m.URI.End, m.Version.Off}, sp)
	if end := e.lineEnd(); end > int(m.Version.End) {
		e.replace(span(int(m.Version.End), end))
	}
}
