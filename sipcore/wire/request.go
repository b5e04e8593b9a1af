package wire

import (
	"fmt"
	"strconv"
)

// AppendACK appends the ACK to a non-2xx final response to invite, which is the INVITE as sent (RFC 3261 §17.1.1.3).
func AppendACK(dst []byte, invite, final *Msg) ([]byte, error) {
	if !final.Has(HdrTo) {
		return dst, fmt.Errorf("build ACK: %w", ErrNoField)
	}
	return appendRequest(dst, invite, final, "ACK", nil)
}

// AppendACKTo appends the ACK to a non-2xx final of which no more is left than itself. The Request-URI of the INVITE is not
// known: the To URI stands for it. The server transaction is found by branch, sent-by and method alone (RFC 3261 §17.2.3).
func AppendACKTo(dst []byte, final *Msg) ([]byte, error) {
	to, err := ParseNameAddr(final.Value(HdrTo))
	if err != nil || final.Request || final.Via1.Value.Empty() || !final.Has(HdrFrom) || !final.Has(HdrCallID) || !final.Has(HdrCSeq) {
		return dst, fmt.Errorf("build ACK: %w", ErrNoField)
	}
	start := len(dst)
	dst = append(dst, "ACK "...)
	dst = append(dst, to.URI...)
	dst = append(dst, " SIP/2.0\r\n"...)
	dst = appendLine(dst, "Via", final.Bytes(final.Via1.Value))
	dst = append(dst, "Max-Forwards: 70\r\n"...)
	dst = appendFirst(dst, final, HdrFrom)
	dst = appendFirst(dst, final, HdrTo)
	dst = appendFirst(dst, final, HdrCallID)
	dst = append(dst, "CSeq: "...)
	dst = strconv.AppendUint(dst, uint64(final.CSeq), 10)
	dst = append(dst, " ACK\r\n"...)
	return appendEnd(dst, start, nil, "", nil)
}

// AppendCANCEL appends the CANCEL for invite, which is the INVITE as sent (RFC 3261 §9.1). Fields are added: Reason.
func AppendCANCEL(dst []byte, invite *Msg, fields ...Field) ([]byte, error) {
	return appendRequest(dst, invite, invite, "CANCEL", fields)
}

// appendRequest builds a request that belongs to the transaction of invite: its Request-URI, its top Via alone, its
// Route, From, Call-ID and CSeq number, and To from the message to.
func appendRequest(dst []byte, invite, to *Msg, method string, fields []Field) ([]byte, error) {
	if !invite.Request || invite.Via1.Value.Empty() || invite.URI.Empty() ||
		!invite.Has(HdrFrom) || !invite.Has(HdrTo) || !invite.Has(HdrCallID) || !invite.Has(HdrCSeq) {
		return dst, fmt.Errorf("build %s: %w", method, ErrNoField)
	}
	start := len(dst)
	dst = append(dst, method...)
	dst = append(dst, ' ')
	dst = append(dst, invite.Bytes(invite.URI)...)
	dst = append(dst, " SIP/2.0\r\n"...)
	dst = appendLine(dst, "Via", invite.Bytes(invite.Via1.Value))
	dst = appendCopies(dst, invite, HdrRoute)
	dst = append(dst, "Max-Forwards: 70\r\n"...)
	dst = appendFirst(dst, invite, HdrFrom)
	dst = appendFirst(dst, to, HdrTo)
	dst = appendFirst(dst, invite, HdrCallID)
	dst = append(dst, "CSeq: "...)
	dst = strconv.AppendUint(dst, uint64(invite.CSeq), 10)
	dst = append(dst, ' ')
	dst = append(dst, method...)
	dst = append(dst, "\r\n"...)
	return appendEnd(dst, start, fields, "", nil)
}
