// Package dialog makes and reads the token that our Record-Route carries: all that is needed to route a
// request of an established dialog without the call's record, on any node.
package dialog

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/dchest/siphash"

	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// Param is the name of the URI parameter that holds the token.
const Param = "hl"

// Side is how one side of a dialog is reached.
type Side struct {
	// Flow names the VIP, port and transport towards this side. Remote and Conn are kept in the token only
	// with Pinned.
	Flow transport.Flow
	// Pinned: requests go to Flow.Remote whatever the remote target says: the peer is behind NAT, or on a
	// stream connection.
	Pinned bool
	// Bars are what requests to this side may not be sent to.
	Bars Bars
}

// Bars are the addresses of gateways that the requests to a side that is none are kept from. A token says what is barred, not what is
// allowed: one that was made before there were bars has none, and who knows of none passes over them.
type Bars uint8

// The bars, as their bits stand in a token's flags.
const (
	BarMembers Bars = 1 << 6 // addresses of pool members
	BarSources Bars = 1 << 7 // networks that pool members' requests come from
)

// Token is the content of the parameter.
type Token struct {
	Home    uint32 // VIP group that owns the call
	Call    uint64 // call number, 0 when the call is not replicated
	TagHash uint32 // of the caller's From tag: tells the direction of a request
	Caller  Side
	Callee  Side
	Shift   uint8 // of the callee's CSeq numbers for what the caller sends; at most MaxShift
	// Diverted: the caller's side is another call of ours, which was sent on to the callee; its requests come by way of that one.
	Diverted bool
}

// MaxShift is the largest Shift.
const MaxShift = 3

// Key is one key of the purpose record-route.
type Key struct {
	ID     uint8
	Secret txn.Secret
}

const (
	version    = 1
	macLen     = 12
	maxRaw     = 2 + 5 + 10 + 4 + 2*(2+5+2+16+2+10) + 1 + macLen
	flagPinned = 1 << 3
	flagV6     = 1 << 4
	flagConn   = 1 << 5
	barsMask   = BarMembers | BarSources
)

// ErrToken says that a token is not one of ours, or has been tampered with.
var ErrToken = errors.New("read route token: not made by this cluster")

// TagHash is the hash of a tag that a Token keeps.
func (k Key) TagHash(tag []byte) uint32 {
	return uint32(siphash.Hash(k.Secret.K0, k.Secret.K1, tag))
}

// Append appends the token's text to dst. It does not allocate when dst has room.
func (t *Token) Append(dst []byte, k Key) []byte {
	var raw [maxRaw]byte
	b := append(raw[:0], version, k.ID)
	b = binary.AppendUvarint(b, uint64(t.Home))
	b = binary.AppendUvarint(b, t.Call)
	b = binary.BigEndian.AppendUint32(b, t.TagHash)
	b = t.Caller.append(b)
	b = t.Callee.append(b)
	if more := t.more(); more != 0 {
		b = append(b, more)
	}
	mac := sum(k.Secret, b)
	b = append(b, mac[:]...)
	return wire.AppendBase64(dst, b)
}

// flagDiverted is the bit above Shift in the last byte, which is there when it says something.
const flagDiverted = 1 << 2

func (t *Token) more() byte {
	more := t.Shift
	if t.Diverted {
		more |= flagDiverted
	}
	return more
}

func (s *Side) append(b []byte) []byte {
	flags := byte(s.Flow.Proto)&7 | byte(s.Bars&barsMask)
	addr := s.Flow.Remote.Addr()
	if s.Pinned {
		flags |= flagPinned
		if !addr.Is4() {
			flags |= flagV6
		}
		if s.Flow.Conn != 0 {
			flags |= flagConn
		}
	}
	b = append(b, flags, s.Flow.VIP)
	b = binary.AppendUvarint(b, uint64(s.Flow.Group))
	b = binary.BigEndian.AppendUint16(b, s.Flow.Port)
	if !s.Pinned {
		return b
	}
	if addr.Is4() {
		a := addr.As4()
		b = append(b, a[:]...)
	} else {
		a := addr.As16()
		b = append(b, a[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, s.Flow.Remote.Port())
	if s.Flow.Conn != 0 {
		b = binary.AppendUvarint(b, s.Flow.Conn)
	}
	return b
}

func sum(s txn.Secret, b []byte) (mac [macLen]byte) {
	hi, lo := siphash.Hash128(s.K0, s.K1, b)
	binary.BigEndian.PutUint64(mac[:8], hi)
	binary.BigEndian.PutUint32(mac[8:], uint32(lo))
	return mac
}

// Parse reads a token; keys are tried by their ID. The key that fitted is returned for TagHash.
func Parse(text []byte, keys []Key) (Token, Key, error) {
	var raw [maxRaw]byte
	if len(text) > base64.RawURLEncoding.EncodedLen(maxRaw) {
		return Token{}, Key{}, ErrToken
	}
	n, err := wire.DecodeBase64(raw[:], text)
	if err != nil || n < 2+macLen || raw[0] != version {
		return Token{}, Key{}, ErrToken
	}
	for _, k := range keys {
		if k.ID != raw[1] {
			continue
		}
		body := raw[:n-macLen]
		mac := sum(k.Secret, body)
		if subtle.ConstantTimeCompare(mac[:], raw[n-macLen:n]) != 1 {
			continue
		}
		t, err := decode(body[2:])
		return t, k, err
	}
	return Token{}, Key{}, ErrToken
}

// reader takes fields off the front of b; after a shortage it stays empty and bad.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.bad, r.b = true, nil
		return make([]byte, n)
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func decode(b []byte) (Token, error) {
	r := reader{b: b}
	t := Token{Home: uint32(r.uvarint()), Call: r.uvarint()}
	t.TagHash = binary.BigEndian.Uint32(r.take(4))
	t.Caller, t.Callee = r.side(), r.side()
	if len(r.b) == 1 {
		more := r.take(1)[0]
		t.Shift, t.Diverted = more&MaxShift, more&flagDiverted != 0
		r.bad = r.bad || more == 0 || more > MaxShift|flagDiverted
	}
	if r.bad || len(r.b) > 0 {
		return Token{}, ErrToken
	}
	return t, nil
}

func (r *reader) side() Side {
	var s Side
	h := r.take(2)
	flags := h[0]
	s.Flow.Proto, s.Flow.VIP = pb.Transport(flags&7), h[1]
	s.Flow.Group = uint32(r.uvarint())
	s.Flow.Port = binary.BigEndian.Uint16(r.take(2))
	s.Pinned, s.Bars = flags&flagPinned != 0, Bars(flags)&barsMask
	if !s.Pinned {
		return s
	}
	var a netip.Addr
	if flags&flagV6 != 0 {
		a = netip.AddrFrom16([16]byte(r.take(16)))
	} else {
		a = netip.AddrFrom4([4]byte(r.take(4)))
	}
	s.Flow.Remote = netip.AddrPortFrom(a, binary.BigEndian.Uint16(r.take(2)))
	if flags&flagConn != 0 {
		s.Flow.Conn = r.uvarint()
	}
	return s
}
