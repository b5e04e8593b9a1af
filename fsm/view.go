package fsm

import (
	"net/netip"
	"strconv"

	"github.com/gaissmai/bart"

	"holdline/fsm/pb"
)

// Config is an immutable view of nodes, groups, domains, users, pools, routes, keys and settings, with the indexes that
// routing a call needs. Everything it returns is shared and must not be modified.
type Config struct {
	Version      uint64 // rises with each change
	FeatureLevel uint32

	nodes   []*pb.Node  // by number
	groups  []*pb.Group // by number
	vips    map[netip.Addr]vipRef
	domains tree[string, *pb.Domain]
	aliases tree[string, *pb.Domain] // names and aliases
	users   listing[*User]
	others  table[*alias] // users by their aliases
	pools   map[string]*Pool
	sources *bart.Table[[]*pb.Member]
	hosts   map[netip.Addr]bool // addresses of pool members
	names   map[string]bool     // and host names, of those with sources
	routes  tree[string, *domainRoutes]
	keys    map[string][]*pb.PutKey
	setting map[string]string

	certificates map[string]*pb.Certificate // by domain
}

// User is one account. HA1s are hashes over user, realm and password; passwords themselves are not stored.
type User struct {
	AoR     string
	MD5     [16]byte
	SHA256  [32]byte
	HasMD5  bool
	HasSHA2 bool

	MaxCalls uint32 // that he may make at once; 0: as many as SettingMaxPerUser says

	other *otherNames // nil for most
}

func (u *User) name() string { return u.AoR }

// Pool is a pool with its members, sorted by name.
type Pool struct {
	Name      string
	Algorithm string
	Members   []*pb.Member
}

type vipRef struct {
	group *pb.Group
	index int
}

type domainRoutes struct {
	byPrefix map[string]*pb.Route
	longest  int
}

// Nodes returns the nodes by number.
func (c *Config) Nodes() []*pb.Node { return c.nodes }

// Node returns the node with this number, or nil.
func (c *Config) Node(number uint32) *pb.Node {
	for _, n := range c.nodes {
		if n.Number == number {
			return n
		}
	}
	return nil
}

// NodeByUUID returns the node with this UUID, or nil.
func (c *Config) NodeByUUID(uuid string) *pb.Node {
	for _, n := range c.nodes {
		if n.Uuid == uuid {
			return n
		}
	}
	return nil
}

// NodeByName returns the node with this name, or nil.
func (c *Config) NodeByName(name string) *pb.Node {
	for _, n := range c.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Groups returns the VIP groups by number.
func (c *Config) Groups() []*pb.Group { return c.groups }

// Group returns the VIP group with this number, or nil.
func (c *Config) Group(number uint32) *pb.Group {
	for _, g := range c.groups {
		if g.Number == number {
			return g
		}
	}
	return nil
}

// GroupByVIP returns the group that holds this address and the address's index in it. An advertised address counts too.
func (c *Config) GroupByVIP(addr netip.Addr) (g *pb.Group, index int, ok bool) {
	r, ok := c.vips[addr.Unmap()]
	return r.group, r.index, ok
}

// Domain returns the domain with this name or alias (an IP address may be one), or nil. Names are in lower case.
func (c *Config) Domain(name string) *pb.Domain {
	d, _ := c.aliases.get(name)
	return d
}

// Domains calls fn for each domain by name until it returns false.
func (c *Config) Domains(fn func(*pb.Domain) bool) {
	c.domains.scan(func(_ string, d *pb.Domain) bool { return fn(d) })
}

// User returns the user with this AoR (user@domain, the domain's own name, not an alias), or nil.
func (c *Config) User(aor string) *User {
	u, _ := c.users.get(aor)
	return u
}

// Users calls fn for each user by AoR until it returns false.
func (c *Config) Users(fn func(*User) bool) {
	c.users.scan(fn)
}

// UserCount is the number of users.
func (c *Config) UserCount() int { return c.users.len() }

// Pool returns the pool with this name, or nil.
func (c *Config) Pool(name string) *Pool { return c.pools[name] }

// Pools returns the pools by name, in no order.
func (c *Config) Pools() map[string]*Pool { return c.pools }

// Sources returns the pool members whose requests may come from this address: those of the longest matching prefix.
func (c *Config) Sources(addr netip.Addr) []*pb.Member {
	m, _ := c.sources.Lookup(addr.Unmap())
	return m
}

// MemberAt reports whether a pool member is called at this address. It may not be among the member's sources.
func (c *Config) MemberAt(addr netip.Addr) bool { return c.hosts[addr.Unmap()] }

// MemberNamed reports whether a pool member with sources is called by this host name, in lower case.
func (c *Config) MemberNamed(host string) bool { return c.names[host] }

// Route returns the domain's route with the longest prefix of user, or nil.
func (c *Config) Route(domain, user string) *pb.Route {
	d, ok := c.routes.get(domain)
	if !ok {
		return nil
	}
	for n := min(len(user), d.longest); n >= 0; n-- {
		if r := d.byPrefix[user[:n]]; r != nil {
			return r
		}
	}
	return nil
}

// Routes calls fn for each route, by domain, until it returns false.
func (c *Config) Routes(fn func(*pb.Route) bool) {
	c.routes.scan(func(_ string, d *domainRoutes) bool {
		for _, p := range sortedKeys(d.byPrefix) {
			if !fn(d.byPrefix[p]) {
				return false
			}
		}
		return true
	})
}

// Keys returns the keys of a purpose: the current one first, then the one before it if there is one.
func (c *Config) Keys(purpose string) []*pb.PutKey { return c.keys[purpose] }

// Setting returns a setting's value, or def when it isn't set.
func (c *Config) Setting(name, def string) string {
	if v, ok := c.setting[name]; ok {
		return v
	}
	return def
}

// SettingInt returns a setting as a number, or def when it isn't set or isn't one.
func (c *Config) SettingInt(name string, def int64) int64 {
	text, set := c.setting[name]
	if !set {
		return def // without the error that ParseInt would allocate: this is asked for with every message
	}
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		return v
	}
	return def
}

// Settings returns all settings.
func (c *Config) Settings() map[string]string { return c.setting }
