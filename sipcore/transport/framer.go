package transport

import (
	"bytes"

	"holdline/sipcore/wire"
)

const (
	// maxHead bounds start line and headers of a message on a stream, in bytes.
	maxHead = 32 << 10
	// framerRoom is what a connection keeps for reading while nothing larger is under way.
	framerRoom = 4 << 10
)

// frameKind says what a framer found.
type frameKind uint8

const (
	frameMore    frameKind = iota // nothing whole yet: read on
	frameMessage                  // a whole message
	framePing                     // CRLFCRLF between messages, to be answered by CRLF (RFC 5626 §3.5.1)
)

// framingError ends a stream: where the next message begins is not known any more.
type framingError struct {
	fault  wire.ScanError // what Scan finds wrong with the headers; ErrNone for the faults below
	status int            // to answer to the request in head; 0: none
	reason string
	head   []byte // the headers of the message at fault, if they are whole
}

func (e *framingError) Error() string { return "read SIP stream: " + e.reason }

// framer cuts a byte stream into messages by Content-Length (RFC 3261 §18.3). It is pure: bytes go in through space and
// filled, in whatever pieces, and come out of next. Memory is bounded by the longest message.
type framer struct {
	buf   []byte // buf[from:] is not consumed; what next returned lies before from
	from  int
	seen  int // how much of buf[from:] has been searched for the end of the headers
	need  int // length of the whole message, once its headers are read
	crlfs int // bytes of CRLFCRLF matched between messages
}

// space is where the next bytes are to be read into. What next returned is not valid any more.
func (f *framer) space() []byte {
	switch rest := len(f.buf) - f.from; {
	case rest == 0 && cap(f.buf) != framerRoom:
		f.buf, f.from = make([]byte, 0, framerRoom), 0
	case rest == 0:
		f.buf, f.from = f.buf[:0], 0
	case len(f.buf) == cap(f.buf) || f.need > cap(f.buf)-f.from:
		size := cap(f.buf)
		if f.need > size || rest == size {
			size = max(2*size, f.need)
		}
		to := f.buf[:0]
		if size > cap(f.buf) {
			to = make([]byte, 0, size)
		}
		f.buf, f.from = append(to, f.buf[f.from:]...), 0
	}
	return f.buf[len(f.buf):cap(f.buf)]
}

// filled says that the first n bytes of the space have been read.
func (f *framer) filled(n int) { f.buf = f.buf[:len(f.buf)+n] }

// partial reports whether a message has begun and is not whole.
func (f *framer) partial() bool { return len(f.buf) > f.from }

// next returns the next message or ping; m is scratch. After an error the stream must be closed.
func (f *framer) next(m *wire.Msg) (frameKind, []byte, error) {
	if f.need == 0 {
		if f.seen == 0 && f.skip() {
			return framePing, nil, nil
		}
		if head := f.headEnd(); head > maxHead || head == 0 && len(f.buf)-f.from > maxHead {
			return frameMore, nil, &framingError{fault: wire.ErrTooLarge, reason: "headers of more than 32 KiB"}
		} else if head == 0 {
			return frameMore, nil, nil
		} else if err := f.measure(m, head); err != nil {
			return frameMore, nil, err
		}
	}
	if len(f.buf)-f.from < f.need {
		return frameMore, nil, nil
	}
	msg := f.buf[f.from : f.from+f.need : f.from+f.need]
	f.from += f.need
	f.need, f.seen = 0, 0
	return frameMessage, msg, nil
}

// skip passes over line ends before a message (RFC 3261 §7.5); true: they are a ping.
func (f *framer) skip() bool {
	for f.from < len(f.buf) {
		switch c := f.buf[f.from]; {
		case c == '\r' && f.crlfs&1 == 0, c == '\n' && f.crlfs&1 == 1:
			f.crlfs++
		case c == '\r':
			f.crlfs = 1
		case c == '\n':
			f.crlfs = 0
		default:
			f.crlfs = 0
			return false
		}
		f.from++
		if f.crlfs == 4 {
			f.crlfs = 0
			return true
		}
	}
	return false
}

// headEnd is the length of the headers with the empty line, 0 when it has not come yet. An empty line is one that wire.Scan
// takes for one.
func (f *framer) headEnd() int {
	b := f.buf[f.from:]
	for {
		i := bytes.IndexByte(b[f.seen:], '\n')
		if i < 0 {
			f.seen = len(b)
			return 0
		}
		p := f.seen + i
		switch rest := b[p+1:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return p + 2
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return p + 3
		case len(rest) == 0 || len(rest) == 1 && rest[0] == '\r':
			f.seen = p // look at it again when more has come
			return 0
		}
		f.seen = p + 1
	}
}

// measure finds out how long the message with these headers is.
func (f *framer) measure(m *wire.Msg, head int) error {
	b := f.buf[f.from : f.from+head]
	fail := func(fault wire.ScanError, status int, reason string) error {
		return &framingError{fault: fault, status: status, reason: reason, head: b}
	}
	switch err := m.Scan(b); {
	case err == wire.ErrNotSIP:
		return fail(wire.ErrNotSIP, 0, "not SIP")
	case err == wire.ErrTooLarge:
		return fail(wire.ErrTooLarge, 513, "too many header lines")
	case !m.Has(wire.HdrContentLength):
		return fail(wire.ErrNone, 400, "Missing Content-Length")
	case m.ContentLength < 0:
		return fail(wire.ErrBadContentLength, 400, wire.ErrBadContentLength.Reason())
	case m.Next(m.First(wire.HdrContentLength)) >= 0:
		return fail(wire.ErrDuplicateContentLength, 400, wire.ErrDuplicateContentLength.Reason())
	case head+int(m.ContentLength) > wire.MaxMessage:
		return fail(wire.ErrTooLarge, 513, wire.ErrTooLarge.Reason())
	}
	f.need = head + int(m.ContentLength)
	return nil
}
