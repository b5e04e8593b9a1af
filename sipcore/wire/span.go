package wire

// MaxMessage is the longest message that can be scanned or built, in bytes.
const MaxMessage = 65535

// Span is a half-open range of bytes of a scanned message. The zero Span means absent.
type Span struct{ Off, End uint16 }

// Empty reports whether the span holds no byte.
func (s Span) Empty() bool { return s.Off >= s.End }

// Len is the number of bytes in the span.
func (s Span) Len() int { return int(s.End) - int(s.Off) }

// In returns the bytes of b that the span covers; b is the message that was scanned.
func (s Span) In(b []byte) []byte { return b[s.Off:s.End:s.End] }

// contains reports whether o lies within s.
func (s Span) contains(o Span) bool { return s.Off <= o.Off && o.End <= s.End }

// span makes a Span of two offsets into a message of at most MaxMessage bytes.
func span(off, end int) Span { return Span{uint16(off), uint16(end)} }
