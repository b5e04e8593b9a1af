package proxy

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/icholy/digest"
)

// Account is what a gateway knows us by that does not go by our address: a user's name and a password of its own (RFC 3261 §22), which is for one
// realm alone if that is given: what is behind a gateway may ask through it, and has a realm of its own.
type Account struct{ User, Password, Realm string }

// Accounts knows those of the pools' members. Safe for concurrent use; it is asked when a gateway has asked for credentials, and does not wait.
type Accounts interface {
	// Account returns a member's account; false: it has none.
	Account(pool, member string) (Account, bool)
}

// readChallenge reads a challenge as gateways may write it: folded (RFC 3261 §7.3.1), with tabs, names in any letter case (§7.3.1), and space around the values of qop.
func readChallenge(value []byte) (*digest.Challenge, error) {
	b := bytes.Clone(value)
	quoted, isValue := false, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\r' || c == '\n' || c == '\t':
			b[i] = ' '
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '=':
			isValue = true
		case c == ',':
			isValue = false
		case !isValue && 'A' <= c && c <= 'Z':
			b[i] += 'a' - 'A'
		}
	}
	c, err := digest.ParseChallenge(string(b))
	if err != nil {
		return nil, err
	}
	for i := range c.QOP {
		c.QOP[i] = strings.TrimSpace(c.QOP[i])
	}
	return c, nil
}

// canAnswer reports whether we know how to answer a challenge: the body is never part of what we answer with.
func canAnswer(c *digest.Challenge) bool {
	return digest.CanDigest(c) && c.Nonce != "" && (len(c.QOP) == 0 || c.SupportsQOP("auth"))
}

// answer makes the credentials for a challenge, whose nonce is used for the count-th time.
func (a *Account) answer(c *digest.Challenge, method, uri string, count int) (cred *digest.Credentials, ok bool) {
	o := digest.Options{Method: method, URI: uri, Count: count, Username: a.User, Password: a.Password}
	o.Cnonce = fmt.Sprintf("%08x", hash32(secret("cnonce", []byte(a.Password)), []byte(c.Nonce+"\x00"+uri)))
	cred, err := digest.Digest(c, o)
	if err != nil {
		return nil, false
	}
	return cred, len(cred.String()) <= maxCredentials
}

// maxCredentials bounds what answers the challenges of one realm, in bytes: it repeats what the gateway has written, and is kept in the call's record.
const maxCredentials = 1024
