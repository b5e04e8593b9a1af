package wire

import "net/netip"

// Edit collects changes to a scanned message and writes the message with them; bytes that no edit touches are kept.
// The zero Edit is ready for Begin and can be used again and again. Values given to it are copied. The first error is
// kept and returned by AppendTo and Commit; after it edits do nothing. Not safe for concurrent use.
type Edit struct {
	m   *Msg
	err error
}

// Begin starts a new set of edits to m, which must not be scanned into or changed until AppendTo or Commit.
func (e *Edit) Begin(m *Msg) {}

// SetURI replaces the Request-URI.
func (e *Edit) SetURI(uri []byte) {}

// SetStatus replaces status code and reason phrase of a response.
func (e *Edit) SetStatus(status int, reason string) {}

// Prepend inserts a header line above the first one with the same ID. Without one it goes below the Via lines (a Via:
// on top). Of two prepended to the same place the later is above: Prepend Via, Record-Route as RFC 3261 §16.6 says.
func (e *Edit) Prepend(id HeaderID, value []byte) {}

// Append inserts a header line after the last one with the same ID or, without one, at the end of the headers.
func (e *Edit) Append(f Field) {}

// SetValue replaces the whole value of header line i.
func (e *Edit) SetValue(i int, value []byte) {}

// Set replaces the value of the first header line with this ID and removes others, or appends one.
func (e *Edit) Set(id HeaderID, value []byte) {}

// RemoveLine removes header line i.
func (e *Edit) RemoveLine(i int) {}

// RemoveAll removes all header lines with this ID.
func (e *Edit) RemoveAll(id HeaderID) {}

// RemoveValue removes one value (as Values gave it) from header line i, with its comma; the line goes with its last value.
func (e *Edit) RemoveValue(i int, v Span) {}

// PopVia removes the top Via value (RFC 3261 §16.7 step 3).
func (e *Edit) PopVia() {}

// PopRoute removes the first n Route values.
func (e *Edit) PopRoute(n int) {}

// SetSource adds received and rport to the top Via value of a request that came from src (RFC 3261 §18.2.1, RFC 3581 §4).
func (e *Edit) SetSource(src netip.AddrPort) {}

// SetMaxForwards writes Max-Forwards: n, adding the header when there is none.
func (e *Edit) SetMaxForwards(n int) {}

// SetBody replaces the body and sets Content-Length; contentType is left as it was when it is nil. An empty body removes Content-Type.
func (e *Edit) SetBody(contentType, body []byte) {}

// Replace puts text in the place of any span of the message.
func (e *Edit) Replace(s Span, text []byte) {}

// AppendTo appends the edited message to dst. It allocates only when dst lacks room.
func (e *Edit) AppendTo(dst []byte) ([]byte, error) { return dst, e.err }

// Commit writes the edited message to dst[:0] (grown when needed), scans it into the message that was edited and begins
// anew, so that what runs next sees the edits. dst must not be the message's own bytes.
func (e *Edit) Commit(dst []byte) ([]byte, error) { return dst, e.err }
