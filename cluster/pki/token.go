package pki

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strings"
)

// TokenPrefix begins every join token; the digit after it is the version of the format.
const TokenPrefix = "holdline1-"

const (
	secretSize   = 20
	maxAddresses = 16
)

// Token is what `holdline join` needs: whom to ask, how to know it is really them, and the secret that lets it in once.
type Token struct {
	CA        KeyHash
	Addresses []netip.AddrPort // cluster ports of members, tried in order
	Secret    [secretSize]byte
}

// NewToken makes a token with a fresh secret.
func NewToken(ca KeyHash, addresses []netip.AddrPort) (Token, error) {
	t := Token{CA: ca, Addresses: addresses[:min(len(addresses), maxAddresses)]}
	secret, err := NewSecret(secretSize)
	if err != nil {
		return t, err
	}
	copy(t.Secret[:], secret)
	return t, nil
}

// SecretHash is what the cluster keeps of a token's secret.
func SecretHash(secret []byte) []byte {
	sum := sha256.Sum256(append([]byte("holdline join token\x00"), secret...))
	return sum[:]
}

// String is the token as one word, safe in a shell and in a chat window: prefix, then base64url of CA hash, secret,
// addresses (length byte 4 or 16, address, port) and a CRC-32 that finds a word cut short when copied.
func (t Token) String() string {
	b := append([]byte(nil), t.CA[:]...)
	b = append(b, t.Secret[:]...)
	for _, a := range t.Addresses {
		ip := a.Addr().Unmap().AsSlice()
		b = append(b, byte(len(ip)))
		b = append(b, ip...)
		b = append(b, byte(a.Port()>>8), byte(a.Port()))
	}
	sum := crc32.ChecksumIEEE(b)
	b = append(b, byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum))
	return TokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ErrToken is wrapped by every error of ParseToken.
var ErrToken = errors.New("not a valid join token; copy the whole line printed by `holdline init` or `holdline token create`")

// ParseToken reads a token; white space around it is forgiven.
func ParseToken(word string) (Token, error) {
	var t Token
	rest, ok := strings.CutPrefix(strings.TrimSpace(word), TokenPrefix)
	if !ok {
		return t, fmt.Errorf("read token: it does not begin with %s: %w", TokenPrefix, ErrToken)
	}
	b, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil || len(b) < len(t.CA)+secretSize+4 {
		return t, fmt.Errorf("read token: it is incomplete: %w", ErrToken)
	}
	sum := b[len(b)-4:]
	b = b[:len(b)-4]
	if c := crc32.ChecksumIEEE(b); sum[0] != byte(c>>24) || sum[1] != byte(c>>16) || sum[2] != byte(c>>8) || sum[3] != byte(c) {
		return t, fmt.Errorf("read token: it is incomplete or mistyped: %w", ErrToken)
	}
	b = b[copy(t.CA[:], b):]
	b = b[copy(t.Secret[:], b):]
	for len(b) > 0 {
		n := int(b[0])
		if (n != 4 && n != 16) || len(b) < 1+n+2 || len(t.Addresses) == maxAddresses {
			return t, fmt.Errorf("read token: bad address: %w", ErrToken)
		}
		ip, _ := netip.AddrFromSlice(b[1 : 1+n])
		t.Addresses = append(t.Addresses, netip.AddrPortFrom(ip, uint16(b[1+n])<<8|uint16(b[2+n])))
		b = b[1+n+2:]
	}
	if len(t.Addresses) == 0 {
		return t, fmt.Errorf("read token: no address: %w", ErrToken)
	}
	return t, nil
}
