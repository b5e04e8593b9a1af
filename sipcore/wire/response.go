package wire

import "net/netip"

// Response says what AppendResponse is to write.
type Response struct {
	Status      int
	Reason      string         // "" for the standard phrase of the status
	ToTag       []byte         // added to To unless that has a tag or the status is 100
	Source      netip.AddrPort // where the request came from: received and rport go into the top Via; not valid: Via as it is
	RecordRoute bool           // copy Record-Route (RFC 3261 §12.1.1)
	Fields      []Field        // further header lines
	ContentType string
	Body        []byte
}

// AppendResponse appends a response to req to dst (RFC 3261 §8.2.6). req may be one that Scan found fault with, provided
// it is Answerable.
func AppendResponse(dst []byte, req *Msg, r *Response) ([]byte, error) { return dst, ErrNoField }
