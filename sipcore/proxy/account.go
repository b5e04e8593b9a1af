package proxy

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/icholy/digest"

	"holdline/sipcore/wire"
)

// Account is what a gateway knows us by that does not go by our address: a user's name and a password of its own (RFC 3261 §22), which is for one
// realm alone if that is given: what is behind a gateway may ask through it, and has a realm of its own.
type Account struct{ User, Password, Realm string }

// Accounts knows those of the pools' members. Safe for concurrent use; it is asked when a gateway has asked for credentials, and does not wait.
type Accounts interface {
	// Account returns a member's account; false: it has none.
	Account(pool, member string) (Account, bool)
}

// authorize answers the challenge of a 401 or 407 to a request of ours or of a user's to a gateway: with the header that belongs in the next one. count is how many
// requests its nonce has been used for, this one included. false: there is no challenge that we know how to answer.
//
// It comes out the same each time, so that a new owner of the call writes the same request.
func (a *Account) authorize(final *wire.Msg, method, uri string, count int) (f wire.Field, ok bool) {
	challenge, credentials := wire.HdrWWWAuthenticate, wire.HdrAuthorization
	if final.Status == 407 {
		challenge, credentials = wire.HdrProxyAuthenticate, wire.HdrProxyAuthorization
	}
	for i := final.First(challenge); i >= 0; i = final.Next(i) { // the first that we can: they are in the order that it prefers (RFC 8760 §2.4)
		c, err := readChallenge(final.Bytes(final.Header(i).Value))
		if err != nil || !canAnswer(c) || a.Realm != "" && c.Realm != a.Realm {
			continue
		}
		if f.Value, ok = a.answer(c, method, uri, count); ok {
			f.ID = credentials
			return f, true
		}
	}
	return f, false
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

func (a *Account) answer(c *digest.Challenge, method, uri string, count int) (value []byte, ok bool) {
	o := digest.Options{Method: method, URI: uri, Count: count, Username: a.User, Password: a.Password}
	o.Cnonce = fmt.Sprintf("%08x", hash32(secret("cnonce", []byte(a.Password)), []byte(c.Nonce+"\x00"+uri)))
	cred, err := digest.Digest(c, o)
	if err != nil {
		return nil, false
	}
	value = []byte(cred.String())
	return value, len(value) <= maxCredentials
}

// maxCredentials bounds what answers a challenge, in bytes: it repeats what the gateway has written, and is kept in the call's record.
const maxCredentials = 1024
