package domains

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"

	"holdline/fsm"
	"holdline/sipcore/wire"
)

// HA1 returns the hashes that are stored for a user in place of the password: over user, realm and password (RFC 7616
// §3.4.2), by MD5 and by SHA-256. The realm is the domain's name; user is the AoR's user part.
func HA1(user, realm, password string) (md5sum [md5.Size]byte, sha256sum [sha256.Size]byte) {
	text := []byte(user + ":" + realm + ":" + password)
	return md5.Sum(text), sha256.Sum256(text)
}

// algorithm is a digest algorithm of RFC 8760.
type algorithm uint8

const (
	unknownAlgorithm algorithm = iota
	algMD5
	algSHA256
)

func (a algorithm) name() string {
	if a == algSHA256 {
		return "SHA-256"
	}
	return "MD5"
}

// DefaultAlgorithms is what holds without the setting auth.algorithms: what every phone can do. Phones that do not know SHA-256 look at the first challenge
// alone, or at the last, or give up when it is offered at all, so that no order suits them all.
const DefaultAlgorithms = "md5"

// offers are the algorithms that are offered, in order, by the setting auth.algorithms.
var offers = map[string][]algorithm{
	"md5":         {algMD5},
	"sha-256,md5": {algSHA256, algMD5},
	"md5,sha-256": {algMD5, algSHA256},
	"sha-256":     {algSHA256},
}

func offered(cfg *fsm.Config) []algorithm {
	if o := offers[cfg.Setting("auth.algorithms", DefaultAlgorithms)]; o != nil {
		return o
	}
	return offers[DefaultAlgorithms] // a value that this release does not know
}

// algorithmOf reads the algorithm parameter; without one it is MD5 (RFC 7616 §3.3).
func algorithmOf(name []byte) algorithm {
	switch {
	case name == nil || wire.EqualFold(name, "MD5"):
		return algMD5
	case wire.EqualFold(name, "SHA-256"):
		return algSHA256
	default:
		return unknownAlgorithm
	}
}

// sum appends the hash of text in hex.
func (a algorithm) sum(dst, text []byte) []byte {
	if a == algSHA256 {
		h := sha256.Sum256(text)
		return hex.AppendEncode(dst, h[:])
	}
	h := md5.Sum(text)
	return hex.AppendEncode(dst, h[:])
}

// response appends what the credentials' response must be (RFC 7616 §3.4.1, without qop RFC 2617 §3.2.2.1), in hex. scratch
// is overwritten.
func (a algorithm) response(dst, scratch, ha1, method []byte, d *wire.Digest) []byte {
	var hex2 [2 * sha256.Size]byte
	b := append(scratch[:0], method...)
	b = append(b, ':')
	b = append(b, d.URI...)
	ha2 := a.sum(hex2[:0], b)

	b = hex.AppendEncode(b[:0], ha1)
	b = append(b, ':')
	b = append(b, d.Nonce...)
	if d.QOP != nil {
		for _, part := range [...][]byte{d.NC, d.CNonce, d.QOP} {
			b = append(b, ':')
			b = append(b, part...)
		}
	}
	b = append(b, ':')
	b = append(b, ha2...)
	return a.sum(dst, b)
}
