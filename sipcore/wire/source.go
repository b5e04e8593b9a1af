package wire

import (
	"net/netip"
	"strconv"
)

// viaChange is what the source of a request changes in its top Via value: bytes from off to end give way to text.
type viaChange struct {
	off, end uint16
	prefix   string
}

// sourceChanges says where rport and received go in the top Via of a request that came from src (RFC 3261 §18.2.1,
// RFC 3581 §4). Values that the sender put there itself are replaced.
func (m *Msg) sourceChanges(src netip.AddrPort) (rport, received viaChange, hasRPort, hasReceived bool) {
	v := &m.Via1
	if hasRPort = v.HasRPort; hasRPort {
		rport = viaChange{off: v.RPort.Off, end: v.RPort.End}
		if v.forced {
			rport.prefix = ";rport="
		} else if v.RPort.Empty() && !assigned(m.B, v.RPort.Off) {
			rport.prefix = "="
		}
	}
	hasReceived = hasRPort || !v.Received.Empty() || ParseHost(v.Host.In(m.B)) != src.Addr().WithZone("")
	received = viaChange{off: v.Received.Off, end: v.Received.End}
	if v.Received.Empty() {
		received = viaChange{off: v.Value.End, end: v.Value.End, prefix: ";received="}
	}
	return rport, received, hasRPort, hasReceived
}

// ForceRPort has the top Via of a request count as if its sender had asked for rport (RFC 3581): responses go to where it came from.
func (m *Msg) ForceRPort() {
	if v := &m.Via1; !v.HasRPort {
		v.HasRPort, v.forced, v.RPort = true, true, Span{v.Value.End, v.Value.End}
	}
}

// assigned reports whether an equals sign stands before off.
func assigned(b []byte, off uint16) bool {
	i := int(off) - 1
	for i > 0 && isSpace(b[i]) {
		i--
	}
	return i >= 0 && b[i] == '='
}

func appendPort(dst []byte, src netip.AddrPort) []byte {
	return strconv.AppendUint(dst, uint64(src.Port()), 10)
}

func appendAddr(dst []byte, src netip.AddrPort) []byte {
	return src.Addr().WithZone("").AppendTo(dst)
}

// SetSource adds received and rport to the top Via value of a request that came from src (RFC 3261 §18.2.1, RFC 3581 §4).
// Values that the sender put there itself are replaced.
func (e *Edit) SetSource(src netip.AddrPort) {
	if e.m.Via1.Value.Empty() || !src.IsValid() {
		return
	}
	rport, received, hasRPort, hasReceived := e.m.sourceChanges(src)
	if hasRPort {
		n := e.begin(rport.prefix)
		e.text = appendPort(e.text, src)
		e.put(rport, n)
	}
	if hasReceived {
		n := e.begin(received.prefix)
		e.text = appendAddr(e.text, src)
		e.put(received, n)
	}
}

func (e *Edit) begin(prefix string) int {
	n := len(e.text)
	e.text = append(e.text, prefix...)
	return n
}

func (e *Edit) put(c viaChange, text int) {
	kind := opReplace
	if c.off == c.end {
		kind = opInsert
	}
	e.add(op{kind: kind, off: int32(c.off), end: int32(c.end)}, text)
}

// appendTopVia appends the top Via value with the source noted in it.
func appendTopVia(dst []byte, m *Msg, src netip.AddrPort) []byte {
	rport, received, hasRPort, hasReceived := m.sourceChanges(src)
	first, second := rport, received
	writeFirst, writeSecond := appendPort, appendAddr
	has1, has2 := hasRPort, hasReceived
	if has1 && has2 && received.off < rport.off {
		first, second = second, first
		writeFirst, writeSecond = writeSecond, writeFirst
	}
	pos := m.Via1.Value.Off
	if has1 {
		dst = appendUnfolded(dst, m.B[pos:first.off])
		dst = writeFirst(append(dst, first.prefix...), src)
		pos = first.end
	}
	if has2 {
		dst = appendUnfolded(dst, m.B[pos:second.off])
		dst = writeSecond(append(dst, second.prefix...), src)
		pos = second.end
	}
	return appendUnfolded(dst, m.B[pos:m.Via1.Value.End])
}

// ReplyAddr returns where responses with this Via on top go (RFC 3261 §18.2.2, RFC 3581 §4): maddr, else received with
// rport or the sent-by port, else sent-by. It is not valid when that is a name that must be resolved first.
func (m *Msg) ReplyAddr(v *Via) netip.AddrPort {
	port := v.Port
	if port == 0 {
		port = 5060
		if t := v.Transport.In(m.B); equalFold(t, "TLS") || equalFold(t, "WSS") {
			port = 5061
		}
	}
	host := v.Host
	switch {
	case !v.MAddr.Empty():
		host = v.MAddr
	case !v.Received.Empty():
		host = v.Received
		if n, ok := number(v.RPort.In(m.B), 65535); ok && n > 0 {
			port = uint16(n)
		}
	}
	a := ParseHost(host.In(m.B))
	if !a.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Unmap(), port)
}
