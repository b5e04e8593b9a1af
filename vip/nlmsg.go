package vip

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// nlBuilder writes netlink messages into one buffer that is used again and again: the guard's renewals allocate
// nothing.
type nlBuilder struct{ b []byte }

func (m *nlBuilder) reset() { m.b = m.b[:0] }

// begin opens a message and returns its start for end.
func (m *nlBuilder) begin(typ, flags uint16, seq uint32) int {
	at := len(m.b)
	m.b = append(m.b, make([]byte, unix.SizeofNlMsghdr)...)
	binary.NativeEndian.PutUint16(m.b[at+4:], typ)
	binary.NativeEndian.PutUint16(m.b[at+6:], flags)
	binary.NativeEndian.PutUint32(m.b[at+8:], seq)
	return at
}

func (m *nlBuilder) end(at int) {
	m.pad()
	binary.NativeEndian.PutUint32(m.b[at:], uint32(len(m.b)-at))
}

func (m *nlBuilder) pad() {
	for len(m.b)%unix.NLMSG_ALIGNTO != 0 {
		m.b = append(m.b, 0)
	}
}

// nfgen writes the nfnetlink header.
func (m *nlBuilder) nfgen(family uint8, resource uint16) {
	m.b = append(m.b, family, unix.NFNETLINK_V0)
	m.b = binary.BigEndian.AppendUint16(m.b, resource)
}

func (m *nlBuilder) attrHeader(typ uint16, size int) {
	m.b = binary.NativeEndian.AppendUint16(m.b, uint16(unix.SizeofNlAttr+size))
	m.b = binary.NativeEndian.AppendUint16(m.b, typ)
}

func (m *nlBuilder) bytes(typ uint16, v []byte) {
	m.attrHeader(typ, len(v))
	m.b = append(m.b, v...)
	m.pad()
}

// str writes a NUL-terminated string.
func (m *nlBuilder) str(typ uint16, v string) {
	m.attrHeader(typ, len(v)+1)
	m.b = append(append(m.b, v...), 0)
	m.pad()
}

func (m *nlBuilder) be64(typ uint16, v uint64) {
	m.attrHeader(typ, 8)
	m.b = binary.BigEndian.AppendUint64(m.b, v)
}

// nest opens a nested attribute and returns its start for unnest.
func (m *nlBuilder) nest(typ uint16) int {
	at := len(m.b)
	m.attrHeader(typ|unix.NLA_F_NESTED, 0)
	return at
}

func (m *nlBuilder) unnest(at int) {
	binary.NativeEndian.PutUint16(m.b[at:], uint16(len(m.b)-at))
}
