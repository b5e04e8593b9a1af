package proxy

import (
	"bytes"
	"net/netip"
	"slices"
	"sort"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// destination is where a request outside a dialog goes: targets, or a pool whose member is chosen in Apply.
type destination struct {
	domain  *pb.Domain
	targets []*pb.Target
	several bool // a phone among the targets has more than one flow
	pool    string
	user    string // user part towards the gateway
}

// SettingStrangers says whether those who are neither users nor trusted sources reach the users.
const (
	SettingStrangers = "call.strangers"
	StrangersUsers   = "users"
	StrangersRefuse  = "refuse"
)

// route finds the destination of a request outside a dialog (RFC 3261 §16.5): the bindings of a registered user, else the
// pool of the longest route prefix. refusal is the answer when there is none.
func (s *Shard) route(in *Inbound, w *sender) (d destination, refusal *wire.Response) {
	m := in.Msg
	u, err := wire.ParseURI(m.Bytes(m.URI))
	if err != nil {
		return d, &wire.Response{Status: 400, Reason: "Bad Request-URI"}
	}
	if d.domain = s.view.domain(u.Host); d.domain == nil && u.Scheme == wire.SchemeTel {
		d.domain = w.domain // a tel URI is dialled in the caller's domain
		if d.domain == nil && len(w.members) > 0 {
			d.domain = s.view.only
		}
	}
	if d.domain == nil {
		if s.toContact(in, w, &d) {
			return d, nil
		}
		return d, &wire.Response{Status: 404, Reason: "Domain Not Served Here"}
	}
	if w.user == nil && len(w.members) == 0 && s.view.closed {
		return d, s.mayNot(in, w, d.domain, "Calls Are Taken From Users And Trusted Sources Alone")
	}
	aor, known := s.callee(&u, d.domain)
	if len(s.bindings) > 0 {
		d.targets, d.several = s.phoneTargets(aor)
		return d, nil
	}
	var user [64]byte
	number := string(wire.AppendUnescaped(user[:0], u.User))
	if r := s.view.Config.Route(d.domain.Name, number); r != nil && !known {
		if !w.mayDialOut() {
			return d, s.mayNot(in, w, d.domain, "Calling Out Needs A User Or A Trusted Source")
		}
		if w.user != nil && w.domain.Name != d.domain.Name { // gateways are the domain's that they are for
			return d, &wire.Response{Status: 403, Reason: "Numbers Are Dialled In One's Own Domain"}
		}
		if len(w.members) > 0 && s.isMember(r.Pool, in.Flow.Remote) {
			return d, &wire.Response{Status: 404, Reason: "That Number Leads Back To The Pool It Comes From"}
		}
		d.pool, d.user = r.Pool, r.Prepend+text(wire.SkipUser(u.User, int(r.Strip))) // escapes stay: what they stand for may not be written bare (§19.1.2)
		return d, nil
	}
	if known {
		return d, &wire.Response{Status: 480}
	}
	return d, &wire.Response{Status: 404}
}

// maxDomains bounds in how many domains a user is looked for by a Contact that names him.
const maxDomains = 64

// toContact finds the phone whose Contact a Request-URI names: what a phone learnt in a dialog, to which it has another one sent (RFC 5589 §7.3, an attended transfer), is
// an address behind us that only we can reach. It is there for those whom we know, and for phones that are registered.
func (s *Shard) toContact(in *Inbound, w *sender, d *destination) bool {
	if !w.mayDialOut() {
		return false
	}
	uri, aor := string(in.Msg.Bytes(in.Msg.URI)), ""
	find := func(domain string) bool {
		aor, s.bindings = s.opt.State.ByContact(uri, domain, s.bindings[:0])
		return aor != ""
	}
	if near := w.domain.GetName(); !find(near) { // it names a user of another domain, or the sender has none
		n := 0
		s.view.Config.Domains(func(d *pb.Domain) bool {
			n++
			return (d.Name == near || !find(d.Name)) && n < maxDomains
		})
	}
	if aor == "" {
		return false
	}
	d.domain = s.view.Config.Domain(hostOf(aor))
	d.targets, d.several = s.phoneTargets(aor)
	return true
}

// callee is whom a Request-URI names in a domain: a user, if known is set. His bindings are in s.bindings then. Most calls are to names that phones have
// registered under: for those no user is looked for.
func (s *Shard) callee(u *wire.URI, d *pb.Domain) (aor string, known bool) {
	aor = s.aor(u, d)
	if s.bindings = s.opt.State.Bindings(aor, s.bindings[:0]); len(s.bindings) > 0 {
		return aor, true
	}
	user := s.called(aor, u, d)
	if user == nil {
		return aor, false
	}
	if user.AoR != aor {
		s.bindings = s.opt.State.Bindings(user.AoR, s.bindings[:0])
	}
	return user.AoR, true
}

// called is the user whom a Request-URI names, by his name or an alias of his; nil: nobody. A number that nobody has may bear parameters that carriers add
// (npdi and rn of RFC 4694, isub): they are in the user part, and nobody is called by them. aor is what s.aor makes of u.
func (s *Shard) called(aor string, u *wire.URI, d *pb.Domain) *fsm.User {
	i := bytes.IndexByte(u.User, ';')
	if user := s.view.Config.UserNamed(aor); user != nil || i <= 0 || u.User[0] != '+' && (u.User[0] < '0' || u.User[0] > '9') {
		return user
	}
	plain := *u
	plain.User = u.User[:i]
	return s.view.Config.UserNamed(s.aor(&plain, d))
}

// isMember reports whether a member of the pool is called at addr. What comes from there is not sent back: the carrier would send it here again, as another
// call, until it has no channel left.
func (s *Shard) isMember(pool string, addr netip.AddrPort) bool {
	p := s.view.Config.Pool(pool)
	return p != nil && s.view.Config.MemberAt(addr.Addr()) && slices.ContainsFunc(p.Members, func(m *pb.Member) bool {
		_, at := fsm.MemberHost(m)
		return at == addr
	})
}

// phoneTargets makes targets of s.bindings, highest q first; several: a phone has more flows than the one that is a target.
func (s *Shard) phoneTargets(aor string) (targets []*pb.Target, several bool) {
	b := s.bindings
	if len(b) > 1 {
		sort.SliceStable(b, func(i, j int) bool { return b[i].Q > b[j].Q })
	}
	b, several = oneFlowEach(b)
	targets = s.targets[:0]
	for i := range b {
		if len(targets) == s.opt.MaxLegs {
			break
		}
		targets = append(targets, bindingTarget(&b[i], aor))
	}
	s.targets = targets
	return targets, several
}

// poolTargets makes targets of a pool's members without asking the replicated state: for requests that make no call, and
// for calls while nothing can be committed.
func (s *Shard) poolTargets(c *txn.Cell, u *call, pool, user string) []*pb.Target {
	p := s.view.Config.Pool(pool)
	if p == nil || len(p.Members) == 0 {
		return nil
	}
	first := int(c.Key.Hi % uint64(len(p.Members)))
	targets := s.targets[:0]
	for i := range 2 * len(p.Members) { // those that are up first
		m := p.Members[(first+i)%len(p.Members)]
		if len(targets) == s.opt.MaxLegs {
			break
		}
		if m.Disabled {
			continue
		}
		if down := s.opt.Health.isDown(m.Pool, m.Name, s.now); down != (i >= len(p.Members)) {
			continue
		}
		targets = append(targets, &pb.Target{
			Uri: memberURI(m, user), Pool: m.Pool, Member: m.Name,
			Flow: s.memberFlow(m, c.Home, u.source.VIP),
		})
	}
	s.targets = targets
	return targets
}

// memberFlow is how a gateway is called, but for its address.
func (s *Shard) memberFlow(m *pb.Member, home uint32, vip uint8) *pb.Flow {
	f := s.view.Config.MemberFlow(m, home, vip)
	return &pb.Flow{Group: f.Group, Vip: uint32(f.VIP), Transport: f.Proto}
}

// startNext starts the next targets: all of the same q at once for phones, one gateway. It reports whether
// there were any.
func (s *Shard) startNext(c *txn.Cell, u *call) bool {
	if u.noMore || c.Request == nil {
		return false
	}
	limit, _ := breadth(c, u)
	n := u.parallel(limit)
	for i := 0; i < n && u.next < len(u.targets) && c.Request != nil; { // without a request a leg failed at once and ended it all
		u.next++
		if u.targets[u.next-1] == nil {
			continue
		}
		share := 0
		if n > 1 {
			share = limit / n
			if i < limit%n {
				share++
			}
		}
		i++
		s.startTarget(c, u, u.next-1, share)
	}
	return n > 0
}
