package wire

import "errors"

// ScanError says what is wrong with a message. Status tells what to answer to a request: see there.
type ScanError uint8

// What Scan may find wrong.
const (
	ErrNone           ScanError = iota
	ErrNotSIP                   // no start line of SIP: drop
	ErrTooLarge                 // more than MaxMessage bytes, or more than MaxHeaders header lines
	ErrVersion                  // a SIP version other than 2.0
	ErrNoHeaderEnd              // the empty line after the headers is missing
	ErrBadRequestLine           // request line with missing or surplus parts
	ErrBadURI                   // Request-URI with characters that no URI has
	ErrBadStatus                // status code outside 100…699
	ErrBadHeader                // a header line without a name or colon, or with a stray CR
	ErrMissingVia               // mandatory headers (RFC 3261 §8.1.1)
	ErrMissingFrom
	ErrMissingTo
	ErrMissingCallID
	ErrMissingCSeq
	ErrDuplicateFrom
	ErrDuplicateTo
	ErrDuplicateCallID
	ErrDuplicateCSeq
	ErrDuplicateMaxForwards
	ErrDuplicateContentLength
	ErrBadVia
	ErrBadFrom
	ErrBadTo
	ErrBadCallID
	ErrBadCSeq
	ErrCSeqMethod  // CSeq names another method than the request line
	ErrCSeqUnknown // so, and the request line's is one that we do not know
	ErrBadMaxForwards
	ErrBadContentLength
	ErrShortBody // body shorter than Content-Length
	numScanErrors
)

var scanErrors = [numScanErrors]struct {
	status uint16
	reason string
}{
	ErrNone:                   {0, ""},
	ErrNotSIP:                 {0, "Not SIP"},
	ErrTooLarge:               {513, "Message Too Large"},
	ErrVersion:                {505, "Version Not Supported"},
	ErrNoHeaderEnd:            {400, "Missing End Of Headers"},
	ErrBadRequestLine:         {400, "Bad Request Line"},
	ErrBadURI:                 {400, "Bad Request-URI"},
	ErrBadStatus:              {0, "Bad Status Code"},
	ErrBadHeader:              {400, "Bad Header Line"},
	ErrMissingVia:             {0, "Missing Via Header"}, // nobody to answer to
	ErrMissingFrom:            {400, "Missing From Header"},
	ErrMissingTo:              {400, "Missing To Header"},
	ErrMissingCallID:          {400, "Missing Call-ID Header"},
	ErrMissingCSeq:            {400, "Missing CSeq Header"},
	ErrDuplicateFrom:          {400, "Duplicate From Header"},
	ErrDuplicateTo:            {400, "Duplicate To Header"},
	ErrDuplicateCallID:        {400, "Duplicate Call-ID Header"},
	ErrDuplicateCSeq:          {400, "Duplicate CSeq Header"},
	ErrDuplicateMaxForwards:   {400, "Duplicate Max-Forwards Header"},
	ErrDuplicateContentLength: {400, "Duplicate Content-Length Header"},
	ErrBadVia:                 {400, "Bad Via Header"},
	ErrBadFrom:                {400, "Bad From Header"},
	ErrBadTo:                  {400, "Bad To Header"},
	ErrBadCallID:              {400, "Bad Call-ID Header"},
	ErrBadCSeq:                {400, "Bad CSeq Header"},
	ErrCSeqMethod:             {400, "CSeq Method Differs From Request"},
	ErrCSeqUnknown:            {501, "CSeq Method Differs From Unknown Method Of Request"}, // RFC 4475 §3.1.2.18
	ErrBadMaxForwards:         {400, "Bad Max-Forwards Header"},
	ErrBadContentLength:       {400, "Bad Content-Length Header"},
	ErrShortBody:              {400, "Body Shorter Than Content-Length"},
}

// Status is the response that a request with this fault deserves: 400, 501, 505, 513; 0 means drop it.
// A response with any fault is dropped, and so is an ACK. Msg.Answerable says whether a response can be built at all.
func (e ScanError) Status() int { return int(scanErrors[e%numScanErrors].status) }

// Reason is the reason phrase for the response; it names what is wrong.
func (e ScanError) Reason() string { return scanErrors[e%numScanErrors].reason }

// Error makes ScanError an error.
func (e ScanError) Error() string { return "scan SIP message: " + e.Reason() }

// Errors of the parsers and of building.
var (
	ErrURI       = errors.New("parse URI: not a valid URI")
	ErrAddr      = errors.New("parse address: not a valid name-addr or addr-spec")
	ErrParam     = errors.New("parse parameters: not a valid list")
	ErrNotDigest = errors.New("parse credentials: the scheme is not Digest")
	ErrUnsafe    = errors.New("build SIP message: a value holds a character that would change the message's structure")
	ErrOverlap   = errors.New("edit SIP message: two edits change the same bytes")
	ErrTooLong   = errors.New("build SIP message: longer than 65535 bytes")
	ErrNoField   = errors.New("build SIP message: the message lacks a header that is needed")
)
