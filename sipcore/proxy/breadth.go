package proxy

import (
	"bytes"
	"strconv"

	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// Max-Breadth (RFC 5393 §5.3) bounds how many branches of a request are under way anywhere at a time. A template has it
// in its first header line, so that each leg can have a share of its own.
const (
	defaultBreadth = 60
	maxBreadth     = 1 << 16
	breadthPrefix  = "Max-Breadth: "
)

// checkBreadth refuses a request whose breadth is used up.
func checkBreadth(m *wire.Msg) *wire.Response {
	if !m.Has(wire.HdrMaxBreadth) {
		return nil
	}
	v := m.Value(wire.HdrMaxBreadth)
	switch {
	case len(v) == 0 || v[0] < '0' || v[0] > '9':
		return &wire.Response{Status: 400, Reason: "Bad Max-Breadth"}
	case leadingNumber(v) == 0:
		return &wire.Response{Status: 440}
	}
	return nil
}

// putBreadth puts Max-Breadth below the request line of a template that does not have it any more.
func putBreadth(template []byte, m *wire.Msg) []byte {
	n := uint32(defaultBreadth)
	if m.Has(wire.HdrMaxBreadth) {
		n = min(leadingNumber(m.Value(wire.HdrMaxBreadth)), maxBreadth)
	}
	var line [32]byte
	l := append(line[:0], breadthPrefix...)
	l = strconv.AppendUint(l, uint64(n), 10)
	l = append(l, "\r\n"...)
	at, end := bytes.IndexByte(template, '\n')+1, len(template)
	template = append(template, l...)
	copy(template[at+len(l):], template[at:end])
	copy(template[at:], l)
	return template
}

// breadth is the Max-Breadth of a cell's template; what is below its line in rest.
func breadth(c *txn.Cell, u *call) (n int, rest []byte) {
	rest = c.Request.B[u.lineEnd:]
	if !bytes.HasPrefix(rest, []byte(breadthPrefix)) {
		return defaultBreadth, rest
	}
	return int(leadingNumber(rest[len(breadthPrefix):])), rest[bytes.IndexByte(rest, '\n')+1:]
}

// appendBody appends the template below its request line, with the leg's share of Max-Breadth.
func appendBody(out []byte, c *txn.Cell, u *call, l *txn.Leg) []byte {
	if l.Breadth == 0 {
		return append(out, c.Request.B[u.lineEnd:]...)
	}
	_, rest := breadth(c, u)
	out = append(out, breadthPrefix...)
	out = strconv.AppendUint(out, uint64(l.Breadth), 10)
	out = append(out, "\r\n"...)
	return append(out, rest...)
}

// parallel is how many of the next targets are started at once: those of one q, as far as the breadth allows; the rest
// of them take their turn after these (§5.3.3). One gateway at a time.
func (u *call) parallel(limit int) int {
	if u.serial {
		limit = 1
	}
	n := 0
	var q uint32
	for _, t := range u.targets[u.next:] {
		if t == nil {
			continue
		}
		if n == limit || n > 0 && t.Q != q {
			break
		}
		n, q = n+1, t.Q
	}
	return n
}
