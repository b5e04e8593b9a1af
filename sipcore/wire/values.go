package wire

// Values goes through the comma-separated values of one header value (RFC 3261 §7.3.1). Commas in quoted strings and
// within < > do not separate. Empty values are left out. Do not use it for headers whose grammar has bare commas
// (Date, Authorization and its relatives).
type Values struct {
	b     []byte
	start int // of the value last returned
	pos   int
}

// SplitValues starts an iteration over b.
func SplitValues(b []byte) Values { return Values{b: b} }

// Next returns the next value without the white space around it.
func (it *Values) Next() ([]byte, bool) {
	for it.pos < len(it.b) {
		off := it.pos
		end := valueEnd(it.b, off)
		it.pos = end + 1
		v := trim(it.b[off:end])
		if len(v) == 0 {
			continue
		}
		it.start = off + skipSpace(it.b[off:end])
		return v, true
	}
	return nil, false
}

// valueEnd returns the index of the comma that ends the value that starts at off, or len(b).
func valueEnd(b []byte, off int) int {
	for i := off; i < len(b); i++ {
		switch b[i] {
		case ',':
			return i
		case '"':
			if i = quoteEnd(b, i) - 1; i < 0 {
				return len(b)
			}
		case '<':
			for i++; i < len(b) && b[i] != '>'; i++ {
			}
		}
	}
	return len(b)
}

// ValueIter goes through all values of a header, over several lines and several values in one line.
type ValueIter struct {
	m   *Msg
	id  HeaderID
	hdr int // current line; -1 before the first
	in  Values
	off int // of the current line's value in the message
}

// Values returns an iterator over the values of all header lines with this ID.
func (m *Msg) Values(id HeaderID) ValueIter { return ValueIter{m: m, id: id, hdr: -1} }

// Next returns the next value: the index of its header line and where it lies.
func (it *ValueIter) Next() (hdr int, v Span, ok bool) {
	if it.m == nil {
		return 0, Span{}, false
	}
	for {
		if b, more := it.in.Next(); more {
			off := it.off + it.in.start
			return it.hdr, span(off, off+len(b)), true
		}
		if it.hdr < 0 {
			it.hdr = it.m.First(it.id)
		} else {
			it.hdr = it.m.Next(it.hdr)
		}
		if it.hdr < 0 {
			it.m = nil
			return 0, Span{}, false
		}
		h := it.m.Header(it.hdr)
		it.in = SplitValues(it.m.Bytes(h.Value))
		it.off = int(h.Value.Off)
	}
}

// Lists reports whether a header that lists option tags (RFC 3261 §19.2) has this one, in any letter case.
func (m *Msg) Lists(id HeaderID, tag string) bool {
	if !m.Has(id) {
		return false
	}
	for it := m.Values(id); ; {
		_, v, ok := it.Next()
		if !ok {
			return false
		}
		if EqualFold(m.Bytes(v), tag) {
			return true
		}
	}
}
