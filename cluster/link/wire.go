package link

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// A message on the stream is its length (4 bytes, of what follows), a kind, and the payload. The dialling side sends the first
// group, the accepting side answers with the second.
const (
	kindFrame     = 1 // group u32, epoch u64, SIP frame
	kindBatch     = 2 // pb.Batch
	kindReadIndex = 3 // id u64
	kindPing      = 4 // nanoseconds of the sender's clock u64
	kindGossip    = 5 // anything

	kindAck     = 16 // u64: so many SIP frames of this connection are done with
	kindRefuse  = 17 // u64: number of the SIP frame that was not taken; u32, u64: who owns its group, as far as known
	kindNoBatch = 18 // a batch was not taken
	kindIndex   = 19 // id u64, index u64, ok u8
	kindPong    = 20 // what the ping held
)

const headerSize = 5

var errMalformed = errors.New("malformed message on the node link")

func appendHeader(b []byte, kind byte, size int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(size+1))
	return append(b, kind)
}

func appendMessage(b []byte, kind byte, payload []byte) []byte {
	return append(appendHeader(b, kind, len(payload)), payload...)
}

func appendFrame(b []byte, f *frame) []byte {
	b = appendHeader(b, kindFrame, 12+len(f.data))
	b = binary.BigEndian.AppendUint32(b, f.group)
	b = binary.BigEndian.AppendUint64(b, f.epoch)
	return append(b, f.data...)
}

func appendU64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

func u64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

// reader reads messages; the payload is valid until the next call.
type reader struct {
	*bufio.Reader
	buf []byte
}

func newReader(r io.Reader) *reader { return &reader{Reader: bufio.NewReaderSize(r, 64<<10)} }

func (r *reader) next() (kind byte, payload []byte, err error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	size := int(binary.BigEndian.Uint32(header[:])) - 1
	if size < 0 || size > maxMessage {
		return 0, nil, errMalformed
	}
	if cap(r.buf) < size {
		r.buf = make([]byte, size, max(size, 4096))
	}
	payload = r.buf[:size]
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	if cap(r.buf) > 4*MaxFrame { // one large batch must not pin its memory
		r.buf = nil
	}
	return header[4], payload, nil
}
