package wire

import "fmt"

// Edit collects changes to a scanned message and writes the message with them; bytes that no edit touches are kept.
// The zero Edit is ready for Begin and can be used again and again. Values given to it are copied. The first error is
// kept and returned by AppendTo and Commit; after it edits do nothing. What is inserted must not hold line ends or other
// control characters (ErrUnsafe), so nothing that comes from elsewhere can add headers. Not safe for concurrent use.
type Edit struct {
	m    *Msg
	err  error
	ops  []op
	plan []op   // the operations in the order of writing
	text []byte // what the operations insert
}

// op is one change: the bytes of the message from off to end give way to a piece of Edit.text.
type op struct {
	off, end    int32
	text, until int32 // into Edit.text
	order       int32 // among insertions at one place
	hdr         int32 // opDrop: header line of the value
	kind        opKind
}

type opKind uint8

const (
	opInsert  opKind = iota // off == end
	opReplace               // some bytes by others
	opDrop                  // one value of a line; its comma is found when all edits are known
	opRemove                // goes without replacement, and with it all edits within
)

// Begin starts a new set of edits to m, which must have scanned without error and must not be scanned into or changed
// until AppendTo or Commit. Surplus white space in the start line goes (strict writing).
func (e *Edit) Begin(m *Msg) {
	e.m, e.err, e.ops, e.text = m, nil, e.ops[:0], e.text[:0]
	if m.oddStart {
		e.tidyStart()
	}
}

// QuoteNames puts the display names of From and To into quotes where they need some and have none, as in From: Bell, Alexander <sip:…>. Whoever passes
// them on must not pass on the fault (RFC 4475 §3.1.2.15): to others a comma or a colon there is the end of the name.
func (e *Edit) QuoteNames() {
	for _, a := range [...]*Addr{&e.m.From, &e.m.To} {
		if a.bare.Empty() {
			continue
		}
		n := len(e.text)
		e.text = append(e.text, '"')
		for _, c := range e.m.Bytes(a.bare) { // its folds may stay as they are
			if c == '"' || c == '\\' {
				e.text = append(e.text, '\\')
			}
			e.text = append(e.text, c)
		}
		e.text = append(e.text, '"')
		e.add(op{kind: opReplace, off: int32(a.bare.Off), end: int32(a.bare.End)}, n)
	}
}

// Err returns the first error of the edits so far.
func (e *Edit) Err() error { return e.err }

// add queues an operation whose text is what e.text holds from index text on.
func (e *Edit) add(o op, text int) {
	if e.err != nil {
		return
	}
	o.text, o.until = int32(text), int32(len(e.text))
	if o.kind == opInsert {
		if o.order == 0 {
			o.order = int32(len(e.ops) + 1)
		}
	} else {
		for i := range e.ops {
			if p := &e.ops[i]; p.kind == o.kind && p.off == o.off && p.end == o.end {
				*p = o // the same bytes again: the later edit holds
				return
			}
		}
	}
	e.ops = append(e.ops, o)
}

// check keeps ErrUnsafe when v cannot be written into a header value.
func (e *Edit) check(what string, ok bool) bool {
	if e.err == nil && !ok {
		e.err = fmt.Errorf("%s: %w", what, ErrUnsafe)
	}
	return e.err == nil
}

// replace queues text for a span.
func (e *Edit) replace(s Span, text ...[]byte) {
	n := len(e.text)
	for _, t := range text {
		e.text = append(e.text, t...)
	}
	e.add(op{kind: opReplace, off: int32(s.Off), end: int32(s.End)}, n)
}

// Replace puts text in the place of any span of the start line or of a header value.
func (e *Edit) Replace(s Span, text []byte) {
	if e.check("replace", safe(text)) {
		e.replace(s, text)
	}
}

// InsertAt puts text before offset off of the start line or of a header value.
func (e *Edit) InsertAt(off uint16, text []byte) {
	if e.check("insert", safe(text)) {
		n := len(e.text)
		e.text = append(e.text, text...)
		e.add(op{kind: opInsert, off: int32(off), end: int32(off)}, n)
	}
}

// insertLine queues a header line at off. Of lines put in front of the same place the later is above.
func (e *Edit) insertLine(off uint16, f Field, front bool) {
	n := len(e.text)
	var err error
	if e.text, err = AppendField(e.text, f); err != nil {
		if e.err == nil {
			e.err = err
		}
		return
	}
	o := op{kind: opInsert, off: int32(off), end: int32(off)}
	if front {
		o.order = -int32(len(e.ops) + 1)
	}
	e.add(o, n)
}

// Commit writes the edited message to dst[:0] (grown when needed), scans it into the message that was edited and begins
// anew, so that what runs next sees the edits. dst must not share memory with the message.
func (e *Edit) Commit(dst []byte) ([]byte, error) {
	out, err := e.AppendTo(dst[:0])
	if err != nil {
		return out, err
	}
	if err := e.m.Scan(out); err != nil {
		return out, fmt.Errorf("read edited message: %w", err)
	}
	e.Begin(e.m)
	return out, nil
}
