package wire

import (
	"fmt"
	"net/netip"
	"strconv"
)

// Response says what AppendResponse is to write.
type Response struct {
	Status      int
	Reason      string         // "" for the standard phrase of the status
	Note        string         // why, for this node's operator: it is not written
	ToTag       []byte         // added to To unless that has a tag or the status is 100
	Source      netip.AddrPort // where the request came from: received and rport go into the top Via; not valid: Via as it is
	RecordRoute bool           // copy Record-Route (RFC 3261 §12.1.1)
	Fields      []Field        // further header lines
	ContentType string
	Body        []byte
}

// AppendResponse appends a response to req to dst (RFC 3261 §8.2.6). req may be one that Scan found fault with, provided
// it is Answerable: what it lacks the response lacks too. On error dst is returned as it was.
func AppendResponse(dst []byte, req *Msg, r *Response) ([]byte, error) {
	if !req.Request || req.Via1.Value.Empty() {
		return dst, fmt.Errorf("build response: %w", ErrNoField)
	}
	reason := r.Reason
	if reason == "" {
		reason = StatusText(r.Status)
	}
	if r.Status < 100 || r.Status > 699 || !safeString(reason) || len(r.ToTag) > 0 && !allOf(r.ToTag, classToken) {
		return dst, fmt.Errorf("build response %d: %w", r.Status, ErrUnsafe)
	}
	start := len(dst)
	dst = append(dst, "SIP/2.0 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, reason...)
	dst = append(dst, "\r\n"...)
	dst = appendVias(dst, req, r.Source)
	if r.RecordRoute {
		dst = appendCopies(dst, req, HdrRecordRoute)
	}
	dst = appendFirst(dst, req, HdrFrom)
	if i := req.First(HdrTo); i >= 0 {
		dst = appendFirst(dst, req, HdrTo)
		if r.Status != 100 && len(r.ToTag) > 0 && req.To.Tag.Empty() && !req.To.URI.Empty() {
			dst = append(dst[:len(dst)-2], ";tag="...)
			dst = append(dst, r.ToTag...)
			dst = append(dst, "\r\n"...)
		}
	}
	dst = appendFirst(dst, req, HdrCallID)
	dst = appendFirst(dst, req, HdrCSeq)
	if r.Status == 100 { // RFC 3261 §8.2.6.1
		dst = appendFirst(dst, req, HdrTimestamp)
	}
	return appendEnd(dst, start, r.Fields, r.ContentType, r.Body)
}

// appendFirst appends the first header line with the ID, if there is one.
func appendFirst(dst []byte, m *Msg, id HeaderID) []byte {
	if i := m.First(id); i >= 0 {
		dst = appendLine(dst, id.String(), m.Bytes(m.Header(i).Value))
	}
	return dst
}

// appendVias copies the Via lines, in order, with the source of the request noted in the top value.
func appendVias(dst []byte, m *Msg, src netip.AddrPort) []byte {
	for i := m.First(HdrVia); i >= 0; i = m.Next(i) {
		v := m.Bytes(m.Header(i).Value)
		if i == int(m.Via1.Header) && src.IsValid() {
			dst = append(dst, "Via: "...)
			dst = appendTopVia(dst, m, src)
			dst = appendUnfolded(dst, m.B[m.Via1.Value.End:m.Header(i).Value.End])
			dst = append(dst, "\r\n"...)
			continue
		}
		dst = appendLine(dst, "Via", v)
	}
	return dst
}
