package domains

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"

	"holdline/fsm/pb"
)

// A nonce is stateless: key id, FSM time of issue and a MAC over both and the realm. Every node has the key and the time, so it
// is good on every node.
const (
	nonceHead = 1 + 6 // low byte of the key's id, ms of FSM time
	nonceMAC  = 16
	nonceRaw  = nonceHead + nonceMAC
)

var nonceText = base64.RawURLEncoding

// nonceState says what a nonce is worth.
type nonceState uint8

const (
	nonceForeign nonceState = iota // not made by this cluster for this realm, or with a key long gone
	nonceStale                     // ours, too old
	nonceGood
)

// appendNonce appends a fresh nonce.
func appendNonce(dst []byte, key *pb.PutKey, now int64, realm string) []byte {
	var raw [nonceRaw]byte
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], uint64(now))
	raw[0] = byte(key.Id)
	copy(raw[1:nonceHead], head[2:])
	sealNonce(&raw, key.Secret, realm)
	return nonceText.AppendEncode(dst, raw[:])
}

func sealNonce(raw *[nonceRaw]byte, secret []byte, realm string) {
	var room [512]byte
	text := append(room[:0], "holdline nonce\x00"...)
	text = append(text, raw[:nonceHead]...)
	text = append(text, realm...)
	mac := hmacSHA256(secret, text)
	copy(raw[nonceHead:], mac[:])
}

// checkNonce judges a nonce by the keys (current and previous). A nonce from the future was made by a node that is ahead: good.
func checkNonce(nonce []byte, keys []*pb.PutKey, now, lifeMs int64, realm string) nonceState {
	var raw, want [nonceRaw]byte
	if len(nonce) != nonceText.EncodedLen(nonceRaw) {
		return nonceForeign
	}
	if _, err := nonceText.Decode(raw[:], nonce); err != nil {
		return nonceForeign
	}
	for _, k := range keys {
		if byte(k.Id) != raw[0] {
			continue
		}
		want = raw
		sealNonce(&want, k.Secret, realm)
		if subtle.ConstantTimeCompare(want[:], raw[:]) != 1 {
			continue
		}
		var head [8]byte
		copy(head[2:], raw[1:nonceHead])
		if now-int64(binary.BigEndian.Uint64(head[:])) > lifeMs {
			return nonceStale
		}
		return nonceGood
	}
	return nonceForeign
}

// hmacSHA256 is RFC 2104 on the stack: crypto/hmac allocates for each use.
func hmacSHA256(key, text []byte) [sha256.Size]byte {
	var inner [sha256.BlockSize + 512]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	if len(key) > sha256.BlockSize {
		sum := sha256.Sum256(key)
		key = sum[:]
	}
	copy(inner[:], key)
	copy(outer[:], key)
	for i := range sha256.BlockSize {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	in := sha256.Sum256(append(inner[:sha256.BlockSize], text...))
	copy(outer[sha256.BlockSize:], in[:])
	return sha256.Sum256(outer[:])
}
