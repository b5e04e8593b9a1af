package proxy

import (
	"bytes"
	"slices"
	"strings"

	"github.com/icholy/digest"

	"holdline/sipcore/dialog"
	"holdline/sipcore/wire"
)

// A request may pass several that ask for a password, each in a realm of its own: proxies (407), and who it ends at (401). What answers them comes together in one
// request (RFC 3261 §22.3), so it keeps what it has, and gets more.

// proof is what answers the challenges of one realm, of proxies or of who the request ends at.
type proof struct {
	id   wire.HeaderID
	cred *digest.Credentials
}

// proofs are those of one request, in the order in which they were asked for. They are never changed: what is added to makes new ones.
type proofs []proof

// mostRealms bounds those that one request is answered for: a proxy and a registrar, or two proxies. Each is answered once, and one of them once more, whose nonce was stale:
// branches and tokens have room for no more (this does not compile if they have less).
const (
	mostRealms = 2
	_          = uint(dialog.MaxShift - mostRealms - 1)
)

// find is the place of a realm's proof, -1 for none.
func (p proofs) find(id wire.HeaderID, realm string) int {
	return slices.IndexFunc(p, func(x proof) bool { return x.id == id && x.cred.Realm == realm })
}

// mayAdd reports whether another realm may be answered: whoever asks with 401 is the last that a request reaches, so that nobody is left who could ask.
func (p proofs) mayAdd() bool {
	return len(p) < mostRealms && !slices.ContainsFunc(p, func(x proof) bool { return x.id == wire.HdrAuthorization })
}

// hasRealm reports whether anybody has been answered for a realm.
func (p proofs) hasRealm(realm string) bool {
	return slices.ContainsFunc(p, func(x proof) bool { return x.cred.Realm == realm })
}

// lines are the headers, without the end of the last one's line: that is how they are kept in a call's record, and how an older node writes them.
func (p proofs) lines() string {
	var b []byte
	for _, x := range p {
		with, err := wire.AppendField(b, wire.Field{ID: x.id, Value: []byte(x.cred.String())})
		if err != nil {
			return ""
		}
		b = with
	}
	return string(bytes.TrimSuffix(b, []byte("\r\n")))
}

// readProofs reads what lines has written.
func readProofs(lines string) (p proofs) {
	for line := range strings.SplitSeq(lines, "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		cred, err := digest.ParseCredentials(value)
		if err != nil {
			continue
		}
		id := wire.HdrAuthorization
		if name == wire.HdrProxyAuthorization.String() {
			id = wire.HdrProxyAuthorization
		}
		p = append(p, proof{id: id, cred: cred})
	}
	return p
}

// challenge is one of those in a final that we know how to answer.
type challenge struct {
	*digest.Challenge
	id wire.HeaderID // of the header that answers it
}

// mayAnswerInCall decides on the challenges to requests of users to a gateway: each realm is answered once, and again when the nonce was stale. A realm that a proxy has had an
// answer for is not anybody else's: whoever is called could ask for it behind that, with a nonce of the proxy's that was meant for him.
func mayAnswerInCall(have proofs, c challenge) bool {
	if have.find(c.id, c.Realm) >= 0 {
		return c.Stale
	}
	return have.mayAdd() && !have.hasRealm(c.Realm)
}

// asked is a request that was challenged.
type asked struct {
	method, uri string
	have        proofs // that it carried
	answers     int    // how many challenges have been answered for it
}

// spent reports whether as many have been answered as there may be, if this one is.
func (q *asked) spent(c challenge) bool {
	realms := len(q.have)
	if q.have.find(c.id, c.Realm) < 0 {
		realms++
	}
	return q.answers > realms
}

// authorize answers the challenge of a 401 or 407 to a request of ours or of a user's to a gateway: with all that belongs in the next one. Of the challenges it takes the first that we
// can answer and may: they are in the order that it prefers (RFC 8760 §2.4). refused: there was one that we know how to answer, and may not.
//
// It comes out the same each time, so that a new owner of the call writes the same request.
func (a *Account) authorize(final *wire.Msg, q asked, may func(proofs, challenge) bool) (out proofs, refused, ok bool) {
	header, id := wire.HdrWWWAuthenticate, wire.HdrAuthorization
	if final.Status == 407 {
		header, id = wire.HdrProxyAuthenticate, wire.HdrProxyAuthorization
	}
	for i := final.First(header); i >= 0; i = final.Next(i) {
		c, err := readChallenge(final.Bytes(final.Header(i).Value))
		if err != nil || !canAnswer(c) || a.Realm != "" && c.Realm != a.Realm {
			continue
		}
		x := challenge{c, id}
		if q.spent(x) || !may(q.have, x) {
			refused = true
			continue
		}
		if out, ok = a.add(q, x); ok {
			return out, refused, true
		}
	}
	return nil, refused, false
}

// add makes the proofs of the next request: the one that c asks for, and those that the last one carried, whose nonces are used once more (RFC 7616 §3.4, nc).
func (a *Account) add(q asked, c challenge) (out proofs, ok bool) {
	at := q.have.find(c.id, c.Realm)
	for i, x := range q.have {
		ch, count := c.Challenge, 1
		switch {
		case i != at:
			ch, count = challengeOf(x.cred), x.cred.Nc+1
		case x.cred.Nonce == c.Nonce:
			count = x.cred.Nc + 1
		}
		if x.cred, ok = a.answer(ch, q.method, q.uri, count); !ok {
			return nil, false
		}
		out = append(out, x)
	}
	if at < 0 {
		x := proof{id: c.id}
		if x.cred, ok = a.answer(c.Challenge, q.method, q.uri, 1); !ok {
			return nil, false
		}
		out = append(out, x)
	}
	return out, true
}

// challengeOf is the challenge that credentials have answered.
func challengeOf(x *digest.Credentials) *digest.Challenge {
	c := &digest.Challenge{Realm: x.Realm, Nonce: x.Nonce, Algorithm: x.Algorithm, Opaque: x.Opaque, Userhash: x.Userhash}
	if x.QOP != "" {
		c.QOP = []string{x.QOP}
	}
	return c
}
