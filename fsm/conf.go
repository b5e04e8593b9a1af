package fsm

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"

	"holdline/fsm/pb"
)

// conf is the configuration as Apply changes it. Its Config is a working copy: maps, slices and rows in it are
// replaced and never changed, for published views and snapshots share them; its trees are changed in place and copied (O(1)) for
// each view.
type conf struct {
	Config
	tokens map[string]*pb.Token // by hash; not in views

	usersOf      map[string]int // users per domain
	dirty        bool           // a new view is due
	announce     bool           // and ConfigChanged with it
	sourcesDirty bool
}

func (c *conf) init() {
	c.vips = map[netip.Addr]vipRef{}
	c.domains = newTree[string, *pb.Domain]()
	c.aliases = newTree[string, *pb.Domain]()
	c.users = newListing(newTable[*User]())
	c.others = newTable[*alias]()
	c.routes = newTree[string, *domainRoutes]()
	c.pools = map[string]*Pool{}
	c.sources = new(bart.Table[[]*pb.Member])
	c.keys = map[string][]*pb.PutKey{}
	c.setting = map[string]string{}
	c.certificates = map[string]*pb.Certificate{}
	c.tokens = map[string]*pb.Token{}
	c.usersOf = map[string]int{}
}

// changed says that this entry changed the configuration.
func (c *conf) changed() {
	c.dirty, c.announce = true, true
}

// view makes the immutable view of the configuration as it is now.
func (s *state) view() *Config {
	c := &s.conf
	if c.sourcesDirty {
		c.sources = sourceTable(c.pools)
		c.hosts, c.names = memberHosts(c.pools)
		c.sourcesDirty = false
	}
	if c.dirty {
		c.Version++
		c.dirty = false
	}
	v := c.Config
	v.domains, v.aliases = c.domains.copy(), c.aliases.copy()
	v.users, v.others, v.routes = c.users.copy(), c.others.copy(), c.routes.copy()
	return &v
}

// with returns a copy of a small map with one entry set, or removed when del.
func with[K comparable, V any](m map[K]V, k K, v V, del bool) map[K]V {
	n := maps.Clone(m)
	if del {
		delete(n, k)
	} else {
		n[k] = v
	}
	return n
}

// lower puts a name into lower case. ASCII only: the tables of the Unicode package change with the Go release.
func lower(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// sameName compares without regard to case, in ASCII.
func sameName(a, b string) bool { return a == b || lower(a) == lower(b) }

// nameError says what is wrong with the name of a thing an operator makes, or "".
func nameError(what, name string) string {
	switch {
	case name == "":
		return what + " has no name"
	case len(name) > 253:
		return fmt.Sprintf("the name of the %s is longer than 253 characters", what)
	}
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("-_.:[]+", r):
		default:
			return fmt.Sprintf("%q is not a name for a %s: letters, digits and -_.:+ are", name, what)
		}
	}
	return ""
}
