package wire

import "strconv"

// Prepend inserts a header line above the first one with the same ID. Without one it goes below the Via lines (a Via:
// on top). Of two prepended to the same place the later is above (RFC 3261 §16.6 steps 4 and 8).
func (e *Edit) Prepend(id HeaderID, value []byte) {
	e.insertLine(e.front(id), Field{ID: id, Value: value}, true)
}

// front returns the offset above the first header line with the ID.
func (e *Edit) front(id HeaderID) uint16 {
	m := e.m
	if i := m.First(id); i >= 0 {
		return m.Header(i).Line.Off
	}
	off := m.Start.End
	if id == HdrVia {
		return off
	}
	for i := m.First(HdrVia); i >= 0; i = m.Next(i) {
		off = m.Header(i).Line.End
	}
	return off
}

// Append inserts a header line after the last one with the same ID or, without one, at the end of the headers.
func (e *Edit) Append(f Field) {
	m := e.m
	off := m.Start.End
	if f.ID != HdrOther && m.Has(f.ID) {
		for i := m.First(f.ID); i >= 0; i = m.Next(i) {
			off = m.Header(i).Line.End
		}
	} else if m.n > 0 {
		off = m.Header(m.n - 1).Line.End
	}
	e.insertLine(off, f, false)
}

// SetValue replaces the whole value of header line i.
func (e *Edit) SetValue(i int, value []byte) { e.Replace(e.m.Header(i).Value, value) }

// Set replaces the value of the first header line with this ID and removes the others, or appends one.
func (e *Edit) Set(id HeaderID, value []byte) {
	i := e.m.First(id)
	if i < 0 {
		e.Append(Field{ID: id, Value: value})
		return
	}
	e.SetValue(i, value)
	for i = e.m.Next(i); i >= 0; i = e.m.Next(i) {
		e.RemoveLine(i)
	}
}

// RemoveLine removes header line i.
func (e *Edit) RemoveLine(i int) {
	l := e.m.Header(i).Line
	e.add(op{kind: opRemove, off: int32(l.Off), end: int32(l.End)}, len(e.text))
}

// RemoveAll removes all header lines with this ID.
func (e *Edit) RemoveAll(id HeaderID) {
	for i := e.m.First(id); i >= 0; i = e.m.Next(i) {
		e.RemoveLine(i)
	}
}

// RemoveValue removes one value, as Msg.Values gave it, from header line i, with its comma; the line goes with its last
// value.
func (e *Edit) RemoveValue(i int, v Span) {
	e.add(op{kind: opDrop, off: int32(v.Off), end: int32(v.End), hdr: int32(i)}, len(e.text))
}

// PopVia removes the top Via value (RFC 3261 §16.7 step 3).
func (e *Edit) PopVia() {
	if v := &e.m.Via1; !v.Value.Empty() {
		e.RemoveValue(int(v.Header), v.Value)
	}
}

// PopRoute removes the first n Route values.
func (e *Edit) PopRoute(n int) {
	it := e.m.Values(HdrRoute)
	for range n {
		i, v, ok := it.Next()
		if !ok {
			return
		}
		e.RemoveValue(i, v)
	}
}

// SetMaxForwards writes Max-Forwards: n, adding the header when there is none (RFC 3261 §16.6 step 3).
func (e *Edit) SetMaxForwards(n int) {
	var buf [8]byte
	v := strconv.AppendUint(buf[:0], uint64(max(0, min(n, 255))), 10)
	if i := e.m.First(HdrMaxForwards); i >= 0 {
		e.replace(e.m.Header(i).Value, v)
		return
	}
	e.Prepend(HdrMaxForwards, v)
}

// SetBody replaces the body and sets Content-Length. Content-Type is set to contentType, left as it was when that is
// nil, and removed with an empty body.
func (e *Edit) SetBody(contentType, body []byte) {
	var buf [8]byte
	e.Set(HdrContentLength, strconv.AppendUint(buf[:0], uint64(len(body)), 10))
	switch {
	case len(body) == 0:
		e.RemoveAll(HdrContentType)
	case contentType != nil:
		e.Set(HdrContentType, contentType)
	}
	s := e.m.Body
	if s.Empty() {
		s = span(len(e.m.B), len(e.m.B))
	}
	e.replace(s, body)
}
