// Package domains decides who a request is from: digest authentication of a domain's users (RFC 3261 §22, RFC 7616,
// RFC 8760). It keeps no state: see DESIGN.md.
package domains

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strconv"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/wire"
)

// KeyPurpose names the replicated key that nonces are made with.
const KeyPurpose = "nonce"

const (
	defaultLifeS   = 300 // of a nonce, unless the setting auth.nonce-life says otherwise
	maxCredentials = 8   // credentials of one request that are looked at
)

// State is what is read of the replicated state; fsm.Machine is one.
type State interface {
	Config() *fsm.Config
	Now() int64
}

// Auth checks credentials and makes challenges. Its methods are safe for concurrent use.
type Auth struct {
	state State
	own   []*pb.PutKey // used while the cluster has no key: nonces are then good on this node alone
}

// NewAuth makes one that reads users, keys and time from state.
func NewAuth(state State) *Auth {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails: crypto/rand ends the process instead
	return &Auth{state, []*pb.PutKey{{Purpose: KeyPurpose, Secret: secret}}}
}

// Verdict says what credentials are worth.
type Verdict struct {
	OK    bool
	User  *fsm.User // when OK
	Stale bool      // right but for the nonce, which is too old: the client may try again without asking its user
	Wrong string    // what is wrong with credentials of the realm, in words that are for operators alone; "" when there are none
}

// Check judges the credentials of m for a user of domain: those of Proxy-Authorization when proxy is set, else of
// Authorization. When they are good user is whose they are, else challenges are the header lines of the 401 or 407, and wrong says what is
// wrong with them; whoever sent them must not be told.
func (a *Auth) Check(m *wire.Msg, domain *pb.Domain, proxy bool) (user *fsm.User, challenges []wire.Field, wrong string, ok bool) {
	cfg, now := a.state.Config(), a.state.Now()
	v := a.Judge(cfg, now, m, domain.Name, proxy)
	if v.OK {
		return v.User, nil, "", true
	}
	return nil, a.Challenges(cfg, now, domain.Name, proxy, v.Stale), v.Wrong, false
}

// Ours reports whether credentials, the value of an Authorization or Proxy-Authorization, answer a challenge of this cluster's for a domain that it
// serves, however old it is.
func (a *Auth) Ours(credentials []byte) bool {
	var d wire.Digest
	if d.Parse(credentials) != nil {
		return false
	}
	cfg := a.state.Config()
	domain := cfg.Domain(string(d.Realm))
	if domain == nil || domain.Name != string(d.Realm) {
		return false
	}
	return checkNonce(d.Nonce, a.keys(cfg), 0, 0, domain.Name) != nonceForeign
}

// Judge looks for credentials of the realm in m. The first of a known algorithm decides: a client answers one challenge.
func (a *Auth) Judge(cfg *fsm.Config, now int64, m *wire.Msg, realm string, proxy bool) Verdict {
	id := wire.HdrAuthorization
	if proxy {
		id = wire.HdrProxyAuthorization
	}
	var d wire.Digest
	n, wrong := 0, ""
	for i := m.First(id); i >= 0 && n < maxCredentials; i = m.Next(i) {
		n++
		if d.Parse(m.Bytes(m.Header(i).Value)) != nil || string(d.Realm) != realm {
			continue
		}
		if alg := algorithmOf(d.Algorithm); slices.Contains(offered(cfg), alg) { // whoever weakens the challenge on its way must not get by with it
			return a.judge(cfg, now, m, realm, alg, &d)
		}
		wrong = "algorithm not offered"
	}
	return Verdict{Wrong: wrong}
}

// judge checks one set of credentials. An unknown user costs as much as a wrong password and looks the same.
func (a *Auth) judge(cfg *fsm.Config, now int64, m *wire.Msg, realm string, alg algorithm, d *wire.Digest) Verdict {
	if !wellFormed(alg, d) {
		return Verdict{Wrong: "incomplete credentials"}
	}
	keys := a.keys(cfg)
	var room [512]byte
	aor := append(room[:0], d.Username...)
	aor = append(aor, '@')
	aor = append(aor, realm...)
	decoy := sha256.Sum256(keys[0].Secret) // what nobody's password hashes to
	ha1 := decoy[:]
	u := cfg.User(string(aor))
	known := false
	switch {
	case u == nil:
	case alg == algSHA256 && u.HasSHA2:
		ha1, known = u.SHA256[:], true
	case alg == algMD5 && u.HasMD5:
		ha1, known = u.MD5[:], true
	}
	if !known && alg == algMD5 {
		ha1 = decoy[:16]
	}
	var want [2 * sha256.Size]byte
	var scratch [1024]byte
	w := alg.response(want[:0], scratch[:], ha1, m.Bytes(m.MethodName), d)
	var low [2 * sha256.Size]byte
	got := wire.AppendLower(low[:0], d.Response)
	right := subtle.ConstantTimeCompare(w, got) == 1
	nonce := checkNonce(d.Nonce, keys, now, 1000*cfg.SettingInt("auth.nonce-life", defaultLifeS), realm)
	switch {
	case u == nil && cfg.UserNamed(string(aor)) != nil:
		return Verdict{Wrong: "username is an alias of a user: his name belongs there"}
	case u == nil:
		return Verdict{Wrong: "unknown user"}
	case !known:
		return Verdict{Wrong: "no password for this algorithm"}
	case !right:
		return Verdict{Wrong: "wrong password"}
	}
	if nonce != nonceGood { // the client knows the password, so it may simply try again (RFC 7616 §3.3)
		return Verdict{Stale: true}
	}
	return Verdict{OK: true, User: u}
}

// wellFormed refuses credentials that lack something or are out of all proportion. Without qop, as
// old phones send them (RFC 2069), only MD5 is taken.
func wellFormed(alg algorithm, d *wire.Digest) bool {
	if len(d.Username) == 0 || len(d.Username) > 256 || len(d.URI) == 0 || len(d.URI) > 1024 ||
		len(d.Nonce) == 0 || len(d.Nonce) > 128 || len(d.Response) == 0 || len(d.Response) > 2*sha256.Size {
		return false
	}
	if d.QOP == nil {
		return alg == algMD5
	}
	return wire.EqualFold(d.QOP, "auth") && len(d.NC) == 8 && len(d.CNonce) > 0 && len(d.CNonce) <= 256
}

func (a *Auth) keys(cfg *fsm.Config) []*pb.PutKey {
	if keys := cfg.Keys(KeyPurpose); len(keys) > 0 {
		return keys
	}
	return a.own
}

// Challenges makes the challenges of a 401 or 407, one for each algorithm of the setting auth.algorithms and in its order, with one nonce. RFC 8760 §2.4
// wants the better one first; only MD5 is offered by default (DefaultAlgorithms).
func (a *Auth) Challenges(cfg *fsm.Config, now int64, realm string, proxy, stale bool) []wire.Field {
	id := wire.HdrWWWAuthenticate
	if proxy {
		id = wire.HdrProxyAuthenticate
	}
	algorithms := offered(cfg)
	b := make([]byte, 0, 384)
	fields := make([]wire.Field, 0, len(algorithms))
	for _, alg := range algorithms {
		at := len(b)
		b = a.AppendChallenge(b, cfg, now, realm, alg.name(), stale)
		fields = append(fields, wire.Field{ID: id, Value: b[at:len(b):len(b)]})
	}
	return fields
}

// AppendChallenge appends the value of one WWW-Authenticate or Proxy-Authenticate header.
func (a *Auth) AppendChallenge(dst []byte, cfg *fsm.Config, now int64, realm, algorithm string, stale bool) []byte {
	dst = append(dst, "Digest realm="...)
	dst = strconv.AppendQuote(dst, realm) // names of domains have nothing to escape
	dst = append(dst, `, nonce="`...)
	dst = appendNonce(dst, a.keys(cfg)[0], now, realm)
	dst = append(dst, `", algorithm=`...)
	dst = append(dst, algorithm...)
	dst = append(dst, `, qop="auth"`...)
	if stale {
		dst = append(dst, ", stale=true"...)
	}
	return dst
}
