package fsm

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash"
	"io"
)

// snapshotReader reads records and sums up what it reads.
type snapshotReader struct {
	in  *bufio.Reader
	sum hash.Hash32
	buf bytes.Buffer
}

// ReadByte serves binary.ReadUvarint.
func (r *snapshotReader) ReadByte() (byte, error) {
	b, err := r.in.ReadByte()
	if err == nil {
		r.sum.Write([]byte{b})
	}
	return b, err
}

func (r *snapshotReader) byte() (byte, error) {
	b, err := r.ReadByte()
	return b, cutOff(err)
}

// record reads a length and as many bytes, valid until the next call. Memory grows with what is there, not with what the length claims.
func (r *snapshotReader) record() ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, cutOff(err)
	}
	if n > maxRecord {
		return nil, errDamaged
	}
	return r.bytes(int(n))
}

func (r *snapshotReader) bytes(n int) ([]byte, error) {
	r.buf.Reset()
	if _, err := io.CopyN(&r.buf, r.in, int64(n)); err != nil {
		return nil, cutOff(err)
	}
	r.sum.Write(r.buf.Bytes())
	return r.buf.Bytes(), nil
}

// cutOff turns an end of the data in the middle into what an operator can act on.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errDamaged
	}
	return err
}
