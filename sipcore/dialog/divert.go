package dialog

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"

	"github.com/dchest/siphash"

	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// DivertParam is the name of the URI parameter that holds a Diversion.
const DivertParam = "hd"

// Diversion says that a user's phone has sent a call on to somebody else. It is for ourselves: in the Route of a request that we send to
// one of our VIPs, for which the user answers from there on, as if he had sent it.
type Diversion struct {
	AoR    string // of the user
	Reason Reason
	// Trusted: who calls has been told by a gateway (RFC 3325), and phones may go by it.
	Trusted bool
}

// Reason is why a call was diverted, as RFC 5806 §4 names it.
type Reason uint8

// The reasons by their number in a Diversion.
const (
	Unknown Reason = iota
	UserBusy
	NoAnswer
	Unavailable
	Unconditional
	TimeOfDay
	DoNotDisturb
	Deflection
	FollowMe
	OutOfService
	Away
)

var reasons = [...]string{
	"unknown", "user-busy", "no-answer", "unavailable", "unconditional", "time-of-day", "do-not-disturb", "deflection", "follow-me", "out-of-service", "away",
}

// String is the reason as a Diversion header field has it.
func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return reasons[Unknown]
}

// ReasonOf reads a reason; one that RFC 5806 does not name is Unknown.
func ReasonOf(text []byte) Reason {
	for i, r := range reasons {
		if wire.EqualFold(text, r) {
			return Reason(i)
		}
	}
	return Unknown
}

const (
	divertHead  = 3      // bytes before the user's name
	flagTrusted = 1 << 7 // beside the reason
	maxAoR      = 512    // bytes; names are shorter
)

// Append appends the text of d for the call that callID and fromTag name and the Request-URI uri: it is good for no other.
func (d *Diversion) Append(dst []byte, k Key, callID, fromTag, uri []byte) []byte {
	b := make([]byte, 0, divertHead+len(d.AoR)+macLen)
	b = append(b, version, k.ID, byte(d.Reason))
	if d.Trusted {
		b[2] |= flagTrusted
	}
	b = append(b, d.AoR...)
	mac := divertSum(k.Secret, b, callID, fromTag, uri)
	return wire.AppendBase64(dst, append(b, mac[:]...))
}

// ParseDiversion reads the text of a Diversion; keys are tried by their ID. It fails with ErrToken when it was not made by this cluster, or for another call.
func ParseDiversion(text []byte, keys []Key, callID, fromTag, uri []byte) (Diversion, error) {
	var raw [divertHead + maxAoR + macLen]byte
	if len(text) > base64.RawURLEncoding.EncodedLen(len(raw)) {
		return Diversion{}, ErrToken
	}
	n, err := wire.DecodeBase64(raw[:], text)
	if err != nil || n < divertHead+macLen || raw[0] != version {
		return Diversion{}, ErrToken
	}
	body := raw[:n-macLen]
	for _, k := range keys {
		if k.ID != raw[1] {
			continue
		}
		mac := divertSum(k.Secret, body, callID, fromTag, uri)
		if subtle.ConstantTimeCompare(mac[:], raw[n-macLen:n]) == 1 {
			return Diversion{AoR: string(body[divertHead:]), Reason: Reason(body[2] &^ flagTrusted), Trusted: body[2]&flagTrusted != 0}, nil
		}
	}
	return Diversion{}, ErrToken
}

// divertSum is the MAC over a Diversion and the call it is for; each part with its length, so that none can pass for another.
func divertSum(s txn.Secret, parts ...[]byte) [macLen]byte {
	var b []byte
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	var mac [macLen]byte
	hi, lo := siphash.Hash128(s.K0, s.K1, b)
	binary.BigEndian.PutUint64(mac[:8], hi)
	binary.BigEndian.PutUint32(mac[8:], uint32(lo))
	return mac
}
