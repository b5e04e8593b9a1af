package proxy

import (
	"strings"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/dialog"
	"holdline/sipcore/wire"
)

// Auth tells who sent a request by its digest credentials.
type Auth interface {
	// Check judges the credentials of m for a user of domain: those of Proxy-Authorization when proxy is set, else of
	// Authorization. user is whose they are. Else challenges are the header lines of the 401 or 407 to answer, and wrong is what is wrong with the
	// credentials, for the operator alone; "": there are none, or all that they need is a new nonce.
	Check(m *wire.Msg, domain *pb.Domain, proxy bool) (user *fsm.User, challenges []wire.Field, wrong string, ok bool)
	// Ours reports whether credentials, the value of an Authorization or Proxy-Authorization, answer a challenge of this cluster's, however old.
	Ours(credentials []byte) bool
}

// Registrar answers REGISTERs.
type Registrar interface {
	// Register judges a REGISTER for domain. Either cmd is to be committed, and Answer makes the response from its result;
	// or resp is the response.
	Register(in *Inbound, domain *pb.Domain, txnKey []byte) (cmd *pb.Command, resp *wire.Response)
	// Answer makes the response from the result of the command; a result of code OK gives the 200 with all bindings.
	// err means that nothing could be committed. in has the REGISTER's message and flow; alive is how often the phone is told to
	// keep that alive, 0 if it is not.
	Answer(in *Inbound, r *pb.Result, err error) (resp *wire.Response, alive time.Duration)
}

// sender is who a request comes from, as far as we trust it.
type sender struct {
	user    *fsm.User         // authenticated; nil: none
	domain  *pb.Domain        // of the user, or of none
	members []*pb.Member      // pool members with this source; not empty: trusted
	hidden  bool              // From is anonymous: it does not say whose credentials are to be asked for
	divert  *dialog.Diversion // the user has not called, his phone has diverted the call
}

// aor is the address-of-record of the user who was authenticated, "" for none.
func (w *sender) aor() string {
	if w.user == nil {
		return ""
	}
	return w.user.AoR
}

// origin is who calls, as records of calls name it: the user, or pool/member.
func (w *sender) origin() string {
	if w.user == nil && len(w.members) > 0 {
		return w.members[0].Pool + "/" + w.members[0].Name
	}
	return w.aor()
}

// may reports whether the sender may use gateways.
func (w *sender) mayDialOut() bool { return w.user != nil || len(w.members) > 0 }

// identify finds out who sent a request outside a dialog: a pool member by its source address, a user of a domain
// of ours by digest. done tells that the request has been answered with a challenge.
func (s *Shard) identify(in *Inbound) (w sender, challenge *wire.Response) {
	m := in.Msg
	if d, ok := s.diverted(in); ok {
		return s.diverter(d)
	}
	w.members = s.view.sources(in.Flow.Remote.Addr())
	if len(w.members) > 0 {
		return w, nil
	}
	from, err := wire.ParseURI(m.Bytes(m.From.URI))
	if err != nil {
		return w, nil
	}
	w.domain = s.view.domain(from.Host)
	w.hidden = s.anonymous(&from, w.domain)
	if w.domain == nil && w.hidden {
		w.domain = s.credentialsFor(m)
	}
	if w.domain == nil || s.opt.Auth == nil {
		return w, nil
	}
	user, challenges, wrong, ok := s.opt.Auth.Check(m, w.domain, true)
	if !ok {
		return w, &wire.Response{Status: 407, Fields: challenges, Note: wrong}
	}
	w.user = user
	if !w.hidden && !user.Named(s.aor(&from, w.domain)) {
		return w, &wire.Response{Status: 403, Reason: "From Names Another User"}
	}
	return w, nil
}

// anonymous reports whether a From withholds who calls (RFC 3323 §4.1.1.3), in a domain of ours, d, or in none.
func (s *Shard) anonymous(from *wire.URI, d *pb.Domain) bool {
	switch {
	case d == nil:
		return wire.EqualFold(from.Host, "anonymous.invalid")
	case !wire.EqualFold(from.User, "anonymous"):
		return false
	}
	return s.view.Config.UserNamed(s.aor(from, d)) == nil
}

// credentialsFor is the first domain of ours that m has credentials for, nil when there is none.
func (s *Shard) credentialsFor(m *wire.Msg) *pb.Domain {
	var c wire.Digest
	for i := m.First(wire.HdrProxyAuthorization); i >= 0; i = m.Next(i) {
		if c.Parse(m.Bytes(m.Header(i).Value)) != nil {
			continue
		}
		if d := s.view.Config.Domain(string(c.Realm)); d != nil && d.Name == string(c.Realm) {
			return d
		}
	}
	return nil
}

// mayNot answers a stranger who asked for what users and trusted sources may: with a challenge if he may be a user who withholds his
// name, else with 403. d is the domain that the request is about, or nil.
func (s *Shard) mayNot(in *Inbound, w *sender, d *pb.Domain, reason string) *wire.Response {
	if w.hidden && d != nil && s.opt.Auth != nil {
		if _, challenges, _, ok := s.opt.Auth.Check(in.Msg, d, true); !ok { // there are no credentials of ours: identify has looked
			return &wire.Response{Status: 407, Fields: challenges}
		}
	}
	return &wire.Response{Status: 403, Reason: reason}
}

// aor is the address-of-record that a URI names in a domain, under the domain's own name.
func (s *Shard) aor(u *wire.URI, d *pb.Domain) string {
	var buf [128]byte
	b := wire.AppendUnescaped(buf[:0], u.User)
	b = append(b, '@')
	b = append(b, d.Name...)
	return string(b)
}

// hostOf is the domain of an address-of-record.
func hostOf(aor string) string { return aor[strings.LastIndexByte(aor, '@')+1:] }
