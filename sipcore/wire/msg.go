package wire

// MaxHeaders is the highest number of header lines in a message; more are ErrTooLarge.
const MaxHeaders = 512

// inlineHeaders is how many header lines are indexed without the overflow slice.
const inlineHeaders = 40

// Header is one header line.
type Header struct {
	Line  Span // the whole line with folded continuations and its line ending
	Name  Span // as written
	Value Span // without white space around it; may hold folds
	ID    HeaderID
}

// Via is one Via value, taken apart. Absent parts are empty spans.
type Via struct {
	Value     Span   // this value, without white space around it
	Transport Span   // UDP, TCP, … in the sender's letter case
	Host      Span   // sent-by host; IPv6 with its brackets
	Branch    Span   // value of branch
	Received  Span   // value of received
	RPort     Span   // value of rport, empty when it has none
	MAddr     Span   // value of maddr
	TTL       Span   // value of ttl
	Port      uint16 // sent-by port, 0 when none is named
	Header    int16  // index of its header line
	HasRPort  bool   // rport is there, with or without a value
	forced    bool   // it is not, and counts as if it were
}

// Addr is where the parts of a From or To value lie.
type Addr struct {
	URI     Span // the addr-spec
	Tag     Span // value of tag
	HasName bool // the URI is enclosed in < >

	bare Span // the display name, if it needs quotes and has none
}

// Msg is the index of one scanned message. Spans refer to B, which Scan does not copy: the Msg is valid as long as B is
// unchanged. A Msg may be scanned into again and again; it is not safe for concurrent use while being scanned into.
type Msg struct {
	B []byte // the message; anything after the body (RFC 3261 §18.3) is cut off

	Start         Span   // request or status line with its line ending
	MethodName    Span   // of the request line
	URI           Span   // Request-URI
	Version       Span   // SIP/2.0
	Reason        Span   // reason phrase
	Body          Span   // empty when there is none
	CallID        Span   // value of Call-ID
	CSeqMethod    Span   // method in CSeq
	Via1          Via    // top Via
	Via2          Via    // the one after it, in the same line or another; Value is empty when there is none
	From          Addr   // From
	To            Addr   // To
	CSeq          uint32 // CSeq number
	MaxForwards   int16  // -1 when absent
	Status        uint16 // of a response, else 0
	ContentLength int32  // -1 when absent
	Expires       int64  // value of the Expires header in seconds, -1 when absent or not a number
	Request       bool   // it is a request
	Method        Method // of the request line; in a response, of CSeq

	oddStart bool // the start line has surplus white space, which writing leaves out
	n        int
	first    [numHeaderIDs]uint16 // index + 1 of the first line with this ID
	hdr      [inlineHeaders]Header
	more     []Header
}

// Bytes returns the bytes of a span of the message.
func (m *Msg) Bytes(s Span) []byte { return m.B[s.Off:s.End:s.End] }

// Len is the number of header lines.
func (m *Msg) Len() int { return m.n }

// Header returns header line i, 0 ≤ i < Len.
func (m *Msg) Header(i int) *Header {
	if i < inlineHeaders {
		return &m.hdr[i]
	}
	return &m.more[i-inlineHeaders]
}

// First returns the index of the first header line with this ID, -1 when there is none.
func (m *Msg) First(id HeaderID) int { return int(m.first[id]) - 1 }

// Next returns the index of the next header line after i with the same ID, -1 when there is none.
func (m *Msg) Next(i int) int {
	id := m.Header(i).ID
	for i++; i < m.n; i++ {
		if m.Header(i).ID == id {
			return i
		}
	}
	return -1
}

// Has reports whether there is a header line with this ID.
func (m *Msg) Has(id HeaderID) bool { return m.first[id] != 0 }

// Value returns the value of the first header line with this ID, nil when there is none.
func (m *Msg) Value(id HeaderID) []byte {
	if i := m.First(id); i >= 0 {
		return m.Bytes(m.Header(i).Value)
	}
	return nil
}

// Find returns the index of the first header line called name (any letter case), for headers without an ID; -1 when
// there is none.
func (m *Msg) Find(name string) int {
	for i := range m.n {
		if equalFold(m.Bytes(m.Header(i).Name), name) {
			return i
		}
	}
	return -1
}

// Answerable reports whether a response can be sent, whatever Scan found wrong: the message is a request, not an ACK,
// and its top Via says where to.
func (m *Msg) Answerable() bool { return m.Request && m.Method != Ack && !m.Via1.Value.Empty() }
