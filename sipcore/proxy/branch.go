package proxy

import (
	"crypto/subtle"
	"encoding/binary"
	"net/netip"

	"github.com/dchest/siphash"

	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// A branch of ours is the cookie, a letter for its version, and 48 characters of base64url (wire.AppendBase64) over
//
//	key id 1 | home 2 | caller's group 2 | caller's VIP, transport 1 | caller's port 2 | leg, shift 1 | attempt 1 |
//	target hash 2 | server transaction 8 | loop hash 4 | MAC 12
//
// It depends on nothing but the request, the target and the cluster's key, so that any node forwards a
// retransmission under the same branch. The MAC also covers the address that the response goes to, so a response
// can be relayed without state and nobody can make us relay one elsewhere.
const (
	branchCookie = "z9hG4bKh"
	branchHead   = 24
	branchMAC    = 12
	branchRaw    = branchHead + branchMAC
	branchLen    = len(branchCookie) + branchRaw/3*4
)

// Branch is what a branch of ours says.
type Branch struct {
	Key     uint8
	Home    uint32         // VIP group that owns the transaction
	Caller  transport.Flow // Group, VIP, Proto and Port that responses leave by; Remote is in the Via below
	Leg     uint8          // below 64
	Shift   uint8          // of the CSeq number, below 4
	Attempt uint8
	Target  uint16
	Txn     uint64 // txn.Key.Lo of the server transaction
	Loop    uint32

	raw [branchRaw]byte
}

// branchKey is one key of the purpose branch.
type branchKey struct {
	id     uint8
	secret txn.Secret
}

// appendBranch appends b's text; remote is where responses go.
func (b *Branch) append(dst []byte, secret txn.Secret, remote netip.AddrPort) []byte {
	var raw [branchRaw]byte
	raw[0] = b.Key
	binary.BigEndian.PutUint16(raw[1:], uint16(b.Home))
	binary.BigEndian.PutUint16(raw[3:], uint16(b.Caller.Group))
	raw[5] = b.Caller.VIP<<3 | byte(b.Caller.Proto)&7
	binary.BigEndian.PutUint16(raw[6:], b.Caller.Port)
	raw[8], raw[9] = b.Shift<<6|b.Leg&63, b.Attempt
	binary.BigEndian.PutUint16(raw[10:], b.Target)
	binary.BigEndian.PutUint64(raw[12:], b.Txn)
	binary.BigEndian.PutUint32(raw[20:], b.Loop)
	mac := branchSum(secret, raw[:branchHead], remote)
	copy(raw[branchHead:], mac[:])
	dst = append(dst, branchCookie...)
	return wire.AppendBase64(dst, raw[:])
}

func branchSum(s txn.Secret, head []byte, remote netip.AddrPort) (mac [branchMAC]byte) {
	var in [branchHead + 18]byte
	n := copy(in[:], head)
	a := remote.Addr().As16()
	n += copy(in[n:], a[:])
	binary.BigEndian.PutUint16(in[n:], remote.Port())
	hi, lo := siphash.Hash128(s.K0, s.K1, in[:])
	binary.BigEndian.PutUint64(mac[:8], hi)
	binary.BigEndian.PutUint32(mac[8:], uint32(lo))
	return mac
}

// parseBranch reads a branch that looks like ours; whether it is, verify says.
func parseBranch(text []byte) (b Branch, ok bool) {
	if len(text) != branchLen || string(text[:len(branchCookie)]) != branchCookie {
		return b, false
	}
	if n, err := wire.DecodeBase64(b.raw[:], text[len(branchCookie):]); err != nil || n != branchRaw {
		return b, false
	}
	raw := &b.raw
	b.Key = raw[0]
	b.Home = uint32(binary.BigEndian.Uint16(raw[1:]))
	b.Caller = transport.Flow{
		Group: uint32(binary.BigEndian.Uint16(raw[3:])),
		VIP:   raw[5] >> 3,
		Proto: pb.Transport(raw[5] & 7),
		Port:  binary.BigEndian.Uint16(raw[6:]),
	}
	b.Leg, b.Shift, b.Attempt = raw[8]&63, raw[8]>>6, raw[9]
	b.Target = binary.BigEndian.Uint16(raw[10:])
	b.Txn = binary.BigEndian.Uint64(raw[12:])
	b.Loop = binary.BigEndian.Uint32(raw[20:])
	return b, true
}

// verify reports whether the branch was made by this cluster for a request whose responses go to remote.
func (b *Branch) verify(keys []branchKey, remote netip.AddrPort) bool {
	for _, k := range keys {
		if k.id != b.Key {
			continue
		}
		mac := branchSum(k.secret, b.raw[:branchHead], remote)
		if subtle.ConstantTimeCompare(mac[:], b.raw[branchHead:]) == 1 {
			return true
		}
	}
	return false
}

// hash32 is a keyed hash for the loop and target parts of a branch.
func hash32(s txn.Secret, b []byte) uint32 { return uint32(siphash.Hash(s.K1, s.K0, b)) }
