package proxy

import (
	"crypto/subtle"
	"encoding/binary"

	"github.com/dchest/siphash"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// AliveFlow is the flow of a binding whose phone needs keep-alives from us to be reached (fsm.Binding.KeptAlive).
func AliveFlow(b *fsm.Binding) (f transport.Flow, ok bool) {
	if !b.KeptAlive() {
		return f, false
	}
	f = transport.Flow(b.Flow)
	f.Remote = addrPort(f.Remote.Addr(), f.Remote.Port())
	if f.Port == 0 {
		f.Port = transport.DefaultPort
	}
	return f, true
}

// The branch of a keep-alive OPTIONS is the cookie, a letter, and 24 characters of base64url over
//
//	key id 1 | number 8 | MAC 8 | 0
//
// The MAC covers the flow, so that the answer is known by itself, on any node, and nobody else can make one.
const (
	aliveCookie = "z9hG4bKk"
	aliveHead   = 9
	aliveRaw    = 18
	aliveLen    = len(aliveCookie) + aliveRaw/3*4
)

// AppendOptions appends an OPTIONS (RFC 3261 §11) to a binding's Contact that makes a phone behind a NAT send something: its answer renews the
// NAT's mapping whatever that NAT goes by (RFC 4787 §4.3: only what comes from inside must). number is another one each time. It is sent once,
// without a transaction: the next keep-alive is its repetition. false: the flow's VIP is gone.
func (v *View) AppendOptions(dst []byte, contact string, f transport.Flow, number uint64) (out []byte, ok bool) {
	face := v.face(f)
	if face == nil {
		return dst, false
	}
	var text [aliveLen]byte
	v.alive[0].aliveBranch(&text, f, number)
	id := text[len(aliveCookie):]
	dst = append(dst, "OPTIONS "...)
	at := len(dst)
	dst = append(dst, contact...)
	dst = appendRequestURI(dst[:at], dst[at:])
	end := len(dst)
	dst = append(dst, " SIP/2.0\r\n"...)
	dst = append(dst, face.via[pb.Transport_UDP]...)
	dst = append(dst, text[:]...)
	dst = append(dst, "\r\nMax-Forwards: 70\r\nFrom: <sip:"...)
	dst = append(dst, face.at[pb.Transport_UDP]...)
	dst = append(dst, ">;tag="...)
	dst = append(dst, id...)
	dst = append(dst, "\r\nTo: <"...)
	dst = append(dst, dst[at:end]...)
	dst = append(dst, ">\r\nCall-ID: "...)
	dst = append(dst, id...)
	dst = append(dst, "\r\nCSeq: 1 OPTIONS\r\nContact: <sip:"...)
	dst = append(dst, face.at[pb.Transport_UDP]...)
	return append(dst, ">\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n"...), true
}

func (k *branchKey) aliveBranch(text *[aliveLen]byte, f transport.Flow, number uint64) {
	var raw [aliveRaw]byte
	raw[0] = k.id
	binary.BigEndian.PutUint64(raw[1:], number)
	binary.BigEndian.PutUint64(raw[aliveHead:], k.aliveSum(f, number))
	wire.AppendBase64(append(text[:0], aliveCookie...), raw[:])
}

func (k *branchKey) aliveSum(f transport.Flow, number uint64) uint64 {
	var in [33]byte
	binary.BigEndian.PutUint64(in[:], number)
	binary.BigEndian.PutUint32(in[8:], f.Group)
	in[12] = f.VIP
	binary.BigEndian.PutUint16(in[13:], f.Port)
	a := f.Remote.Addr().As16()
	copy(in[15:], a[:])
	binary.BigEndian.PutUint16(in[31:], f.Remote.Port())
	return siphash.Hash(k.secret.K0, k.secret.K1, in[:])
}

// AnswersOptions reports whether m, which came by f, is a final response to an OPTIONS of AppendOptions, of this node or of the last owner of
// the VIP. Nothing follows from its status: the phone has it, and that is all that was asked.
func (v *View) AnswersOptions(m *wire.Msg, f transport.Flow) bool {
	text := m.Bytes(m.Via1.Branch)
	if m.Request || m.Status < 200 || len(text) != aliveLen || string(text[:len(aliveCookie)]) != aliveCookie {
		return false
	}
	var raw [aliveRaw]byte
	if _, err := wire.DecodeBase64(raw[:], text[len(aliveCookie):]); err != nil {
		return false
	}
	number := binary.BigEndian.Uint64(raw[1:])
	for i := range v.alive {
		k := &v.alive[i]
		if k.id != raw[0] {
			continue
		}
		var want [8]byte
		binary.BigEndian.PutUint64(want[:], k.aliveSum(f, number))
		if subtle.ConstantTimeCompare(want[:], raw[aliveHead:aliveHead+8]) == 1 {
			return true
		}
	}
	return false
}
