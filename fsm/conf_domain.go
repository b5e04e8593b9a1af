package fsm

import (
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

const maxAliases = 64

// CanonicalHost puts a host as it stands in a SIP URI into the form domains are known by: lower case, no final dot, an IP
// address in its usual text without brackets.
func CanonicalHost(host string) string {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")); err == nil {
		return a.Unmap().WithZone("").String()
	}
	return strings.TrimSuffix(lower(host), ".")
}

// putDomain adds a domain, or gives the one there is other aliases.
func (x *exec) putDomain(p *pb.PutDomain) *pb.Result {
	c := &x.st.conf
	d := p.GetDomain()
	name := CanonicalHost(d.GetName())
	if e := nameError("domain", name); e != "" {
		return rejected("%s", e)
	}
	if len(d.GetAliases()) > maxAliases {
		return fail(pb.Code_LIMIT, "domain %s: at most %d aliases", name, maxAliases)
	}
	row := &pb.Domain{Name: name}
	seen := map[string]bool{}
	for _, a := range append([]string{name}, d.GetAliases()...) {
		a = CanonicalHost(a)
		if e := nameError("domain alias", a); e != "" {
			return rejected("%s", e)
		}
		if o, taken := c.aliases.get(a); taken && o.Name != name {
			if o.Name == a {
				return fail(pb.Code_EXISTS, "%s is a domain of its own", a)
			}
			return fail(pb.Code_EXISTS, "%s is an alias of domain %s already", a, o.Name)
		}
		if !seen[a] && a != name {
			row.Aliases = append(row.Aliases, a)
		}
		seen[a] = true
	}
	old, existing := c.domains.get(name)
	switch {
	case existing && p.CreateOnly:
		return fail(pb.Code_EXISTS, "domain %s exists already: add names to it with `holdline domain alias add`", name)
	case existing && proto.Equal(old, row):
		return again(0)
	case existing:
		c.dropAliases(old)
	}
	c.setDomain(row)
	c.changed()
	return &pb.Result{Existing: existing}
}

// changeAliases works on the aliases that the domain has when it is applied: whoever asked may have seen older ones.
func (x *exec) changeAliases(ch *pb.ChangeAliases) *pb.Result {
	c := &x.st.conf
	name := CanonicalHost(ch.GetDomain())
	d, found := c.domains.get(name)
	if !found {
		return c.noDomain(name)
	}
	aliases := slices.Clone(d.Aliases)
	for _, a := range ch.Remove {
		i := slices.Index(aliases, CanonicalHost(a))
		if i < 0 {
			return notFound("%s is not an alias of %s", a, name)
		}
		aliases = slices.Delete(aliases, i, i+1)
	}
	for _, a := range ch.Add {
		if slices.Contains(aliases, CanonicalHost(a)) {
			return fail(pb.Code_EXISTS, "%s is an alias of %s already", a, name)
		}
		aliases = append(aliases, a)
	}
	return x.putDomain(&pb.PutDomain{Domain: &pb.Domain{Name: name, Aliases: aliases}})
}

func (c *conf) setDomain(d *pb.Domain) {
	c.domains.set(d.Name, d)
	c.aliases.set(d.Name, d)
	for _, a := range d.Aliases {
		c.aliases.set(a, d)
	}
}

func (c *conf) dropAliases(d *pb.Domain) {
	c.aliases.delete(d.Name)
	for _, a := range d.Aliases {
		c.aliases.delete(a)
	}
}

func (x *exec) removeDomain(r *pb.RemoveDomain) *pb.Result {
	c := &x.st.conf
	name := CanonicalHost(r.GetName())
	d, found := c.domains.get(name)
	if !found {
		return c.noDomain(name)
	}
	if n := c.usersOf[name]; n > 0 {
		return rejected("domain %s has %d users: remove them first", name, n)
	}
	if rs, has := c.routes.get(name); has {
		return rejected("domain %s has %d routes: remove them first", name, len(rs.byPrefix))
	}
	if c.certificates[name] != nil {
		c.certificates = with(c.certificates, name, nil, true)
	}
	c.dropAliases(d)
	c.domains.delete(name)
	c.changed()
	return ok()
}

// noDomain says that a domain doesn't exist, or that the name is only an alias of one.
func (c *conf) noDomain(name string) *pb.Result {
	if d := c.Domain(name); d != nil {
		return notFound("%s is an alias: name the domain itself, %s", name, d.Name)
	}
	return notFound("domain %s does not exist: add it with `holdline domain add %s`", name, name)
}
