package fsm

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/gaissmai/bart"
	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// Algorithms of pools.
const (
	RoundRobin = "round-robin"
	LeastCalls = "least-calls"
	Weighted   = "weighted"
	ByHash     = "hash"
)

const (
	maxMembers   = 256 // of a pool
	maxSources   = 64  // of a member
	maxWeight    = 1000
	maxAccount   = 128       // of a member's user, octets
	maxSealed    = 256       // of a member's password as it is stored
	maxRegister  = 24 * 3600 // seconds
	defaultPort  = 5060
	defaultsPort = 5061
)

func (x *exec) putPool(p *pb.Pool) *pb.Result {
	c := &x.st.conf
	if e := nameError("pool", p.GetName()); e != "" {
		return rejected("%s", e)
	}
	algorithm := cmp.Or(p.Algorithm, RoundRobin)
	switch algorithm {
	case RoundRobin, LeastCalls, Weighted, ByHash:
	default:
		return rejected("pool %s: %q is not an algorithm; round-robin, least-calls, weighted and hash are", p.Name, p.Algorithm)
	}
	old := c.Pool(p.Name)
	row := &Pool{Name: p.Name, Algorithm: algorithm}
	if old != nil {
		if old.Algorithm == algorithm {
			return again(0)
		}
		row.Members = old.Members
	}
	c.setPool(row)
	return &pb.Result{Existing: old != nil}
}

// removePool removes a pool with its members. Calls that go through it keep going.
func (x *exec) removePool(r *pb.RemovePool) *pb.Result {
	c := &x.st.conf
	if c.Pool(r.GetName()) == nil {
		return noPool(r.GetName())
	}
	var used *pb.Route
	c.Routes(func(rt *pb.Route) bool {
		if rt.Pool == r.Name {
			used = rt
		}
		return used == nil
	})
	if used != nil {
		return rejected("pool %s is used by the route of %s with prefix '%s': remove that first", r.Name, used.Domain, used.Prefix)
	}
	c.pools = with(c.pools, r.Name, nil, true)
	delete(x.st.calls.rotation, r.Name)
	c.sourcesDirty = true
	c.changed()
	return ok()
}

func noPool(name string) *pb.Result {
	return notFound("pool %s does not exist: add it with `holdline pool add %s`", name, name)
}

func (c *conf) setPool(p *Pool) {
	c.pools = with(c.pools, p.Name, p, false)
	c.sourcesDirty = true
	c.changed()
}

func (x *exec) putMember(m *pb.Member) *pb.Result {
	c := &x.st.conf
	pool := c.Pool(m.GetPool())
	if pool == nil {
		return noPool(m.GetPool())
	}
	if e := nameError("pool member", m.Name); e != "" {
		return rejected("%s", e)
	}
	row := proto.Clone(m).(*pb.Member)
	row.Weight = cmp.Or(row.Weight, 1)
	row.Transport = cmp.Or(row.Transport, "udp")
	if r := c.checkMember(row); r != nil {
		return r
	}
	i, existing := slices.BinarySearchFunc(pool.Members, m.Name, func(o *pb.Member, n string) int { return cmp.Compare(o.Name, n) })
	if existing && proto.Equal(pool.Members[i], row) {
		return again(0)
	}
	if !existing && len(pool.Members) >= maxMembers {
		return fail(pb.Code_LIMIT, "pool %s has %d members already", pool.Name, maxMembers)
	}
	c.setPool(&Pool{pool.Name, pool.Algorithm, replaced(pool.Members, row, func(o *pb.Member) string { return o.Name })})
	return &pb.Result{Existing: existing}
}

// checkMember refuses what can't work and puts sources into canonical form.
func (c *conf) checkMember(m *pb.Member) *pb.Result {
	if _, _, ok := splitHostPort(m.Address); !ok {
		return rejected("member %s: %q is not an address; give host or host:port", m.Name, m.Address)
	}
	switch m.Transport {
	case "udp", "tcp", "tls":
	default:
		return rejected("member %s: transport %q is not udp, tcp or tls", m.Name, m.Transport)
	}
	if m.Weight > maxWeight {
		return rejected("member %s: weight %d is above %d", m.Name, m.Weight, maxWeight)
	}
	g := c.Group(m.Group)
	if m.Group != 0 && g == nil {
		return notFound("member %s: VIP group %d does not exist", m.Name, m.Group)
	}
	if m.Vip != "" {
		a, err := netip.ParseAddr(m.Vip)
		if _, i, found := c.GroupByVIP(a); err != nil || g == nil || !found || !sameVIP(g, i, a) {
			return rejected("member %s: %s is no address of VIP group %s", m.Name, m.Vip, g.GetName())
		}
		m.Vip = a.String()
	}
	if r := checkAccount(m); r != nil {
		return r
	}
	if len(m.Sources) > maxSources {
		return fail(pb.Code_LIMIT, "member %s: at most %d sources", m.Name, maxSources)
	}
	for i, s := range m.Sources {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return rejected("member %s: source %q is not an address or CIDR", m.Name, s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p.Addr().Is4In6() || p.Addr().Zone() != "" {
			return rejected("member %s: source %q is not a plain IPv4 or IPv6 prefix", m.Name, s)
		}
		m.Sources[i] = p.Masked().String()
	}
	return nil
}

// checkAccount refuses an account that could not be written into a request. One without a password may be there: it has come from another cluster, which
// alone can read it.
func checkAccount(m *pb.Member) *pb.Result {
	switch {
	case !accountName(m.User):
		return rejected("member %s: its user has characters that no account has, or more than %d", m.Name, maxAccount)
	case !accountName(strings.ReplaceAll(m.Realm, " ", "_")):
		return rejected("member %s: its realm has characters that no realm has, or more than %d", m.Name, maxAccount)
	case m.User == "" && m.Realm != "":
		return rejected("member %s: a realm needs a user", m.Name)
	case len(m.SealedPassword) > maxSealed:
		return rejected("member %s: its password is too long", m.Name)
	case m.User == "" && len(m.SealedPassword) > 0:
		return rejected("member %s: a password needs a user", m.Name)
	case m.Register && m.User == "":
		return rejected("member %s: to register needs a user", m.Name)
	case m.Register && m.Group == 0:
		return rejected("member %s: to register needs a VIP group to be called at", m.Name)
	case m.RegisterS > maxRegister:
		return rejected("member %s: a registration lasts for %d seconds at most", m.Name, maxRegister)
	}
	return nil
}

// accountName reports whether s may be the user of an account: printable ASCII that needs no escape in a quoted string (RFC 3261 §25.1).
func accountName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return len(s) <= maxAccount
}

// sameVIP reports whether a is the address of g with this index, and not merely one that it advertises.
func sameVIP(g *pb.Group, i int, a netip.Addr) bool {
	if i >= len(g.Vips) {
		return false
	}
	p, err := netip.ParsePrefix(g.Vips[i].Prefix)
	return err == nil && p.Addr() == a
}

func (x *exec) removeMember(r *pb.RemoveMember) *pb.Result {
	c := &x.st.conf
	pool := c.Pool(r.GetPool())
	if pool == nil {
		return noPool(r.GetPool())
	}
	i := slices.IndexFunc(pool.Members, func(m *pb.Member) bool { return m.Name == r.Name })
	if i < 0 {
		return notFound("pool %s has no member %s", pool.Name, r.Name)
	}
	c.setPool(&Pool{pool.Name, pool.Algorithm, slices.Delete(slices.Clone(pool.Members), i, i+1)})
	x.st.calls.forgetMember(pool.Name, r.Name)
	return ok()
}

func (x *exec) putRoute(rt *pb.Route) *pb.Result {
	c := &x.st.conf
	row := &pb.Route{Domain: CanonicalHost(rt.GetDomain()), Prefix: rt.GetPrefix(), Pool: rt.GetPool(), Strip: rt.GetStrip(), Prepend: rt.GetPrepend()}
	if _, found := c.domains.get(row.Domain); !found {
		return c.noDomain(row.Domain)
	}
	if c.Pool(row.Pool) == nil {
		return noPool(row.Pool)
	}
	if len(row.Prefix) > 64 || strings.ContainsAny(row.Prefix, " \t\r\n@<>\"") {
		return rejected("%q is not the beginning of a user part", row.Prefix)
	}
	if row.Strip > 64 {
		return rejected("strip %d is above 64", row.Strip)
	}
	if !prependable(row.Prepend) {
		return rejected("%q is nothing to put before a number", row.Prepend)
	}
	var have map[string]*pb.Route
	if d, found := c.routes.get(row.Domain); found {
		have = d.byPrefix
	}
	old := have[row.Prefix]
	if old != nil && proto.Equal(old, row) {
		return again(0)
	}
	if have == nil {
		have = map[string]*pb.Route{}
	}
	c.setRoutes(row.Domain, with(have, row.Prefix, row, false))
	return &pb.Result{Existing: old != nil}
}

// prependable reports whether a route may put s before the number that it sends to a gateway: up to 32 characters that stand in the user part of a
// URI as they are (RFC 3261 §25.1).
func prependable(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', strings.IndexByte("-_.!~*'()&=+$,;?/", c) >= 0:
		default:
			return false
		}
	}
	return len(s) <= 32
}

func (x *exec) removeRoute(r *pb.RemoveRoute) *pb.Result {
	c := &x.st.conf
	domain := CanonicalHost(r.GetDomain())
	d, found := c.routes.get(domain)
	if !found || d.byPrefix[r.GetPrefix()] == nil {
		return notFound("domain %s has no route with prefix '%s'", domain, r.GetPrefix())
	}
	c.setRoutes(domain, with(d.byPrefix, r.Prefix, nil, true))
	return ok()
}

func (c *conf) setRoutes(domain string, all map[string]*pb.Route) {
	if len(all) == 0 {
		c.routes.delete(domain)
	} else {
		d := &domainRoutes{byPrefix: all}
		for p := range all {
			d.longest = max(d.longest, len(p))
		}
		c.routes.set(domain, d)
	}
	c.changed()
}

// sourceTable indexes members by where their requests come from; one without sources is known by its own address.
func sourceTable(pools map[string]*Pool) *bart.Table[[]*pb.Member] {
	t := new(bart.Table[[]*pb.Member])
	for _, name := range sortedKeys(pools) {
		for _, m := range pools[name].Members {
			for _, p := range memberSources(m) {
				have, _ := t.Get(p)
				t.Insert(p, append(have[:len(have):len(have)], m))
			}
		}
	}
	return t
}

func memberSources(m *pb.Member) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range m.Sources {
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p)
		}
	}
	if len(m.Sources) > 0 {
		return out
	}
	if _, at := MemberHost(m); at.IsValid() {
		return []netip.Prefix{netip.PrefixFrom(at.Addr(), at.Addr().BitLen())}
	}
	return nil
}

// memberHosts indexes where members are called: addresses, and the names of those that have sources. One that is called by a name and has
// none cannot be told from a stranger when it calls.
func memberHosts(pools map[string]*Pool) (addrs map[netip.Addr]bool, names map[string]bool) {
	addrs, names = map[netip.Addr]bool{}, map[string]bool{}
	for _, p := range pools {
		for _, m := range p.Members {
			if host, at := MemberHost(m); at.IsValid() {
				addrs[at.Addr()] = true
			} else if len(m.Sources) > 0 {
				names[host] = true
			}
		}
	}
	return addrs, names
}

// splitHostPort reads host, host:port, [v6] or [v6]:port; port 0 when none is given. The host is returned without brackets.
func splitHostPort(s string) (host string, port uint16, ok bool) {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return a.String(), 0, a.Zone() == ""
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().String(), ap.Port(), ap.Addr().Zone() == "" && ap.Port() != 0
	}
	host, p, found := strings.Cut(s, ":")
	if nameError("host", host) != "" || strings.ContainsAny(host, ":[]+") {
		return "", 0, false
	}
	if found {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return "", 0, false
		}
		port = uint16(n)
	}
	return lower(host), port, true
}
