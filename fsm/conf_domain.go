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

// CanonicalAoR puts user@domain into the form users are known by: the domain in lower case. The user's part keeps its case.
func CanonicalAoR(aor string) string {
	i := strings.LastIndexByte(aor, '@')
	if i < 0 {
		return aor
	}
	return aor[:i+1] + CanonicalHost(aor[i+1:])
}

func (x *exec) putUser(p *pb.PutUser) *pb.Result {
	c := &x.st.conf
	in := p.GetUser()
	aor := CanonicalAoR(in.GetAor())
	i := strings.LastIndexByte(aor, '@')
	if i < 1 || len(aor) > 512 || strings.ContainsAny(aor[:i], " \t\r\n<>\"@") {
		return rejected("%q is not user@domain", in.GetAor())
	}
	domain := aor[i+1:]
	if _, found := c.domains.get(domain); !found {
		return c.noDomain(domain)
	}
	row := &User{AoR: aor, HasMD5: len(in.Ha1Md5) > 0, HasSHA2: len(in.Ha1Sha256) > 0}
	switch {
	case row.HasMD5 && len(in.Ha1Md5) != len(row.MD5), row.HasSHA2 && len(in.Ha1Sha256) != len(row.SHA256):
		return rejected("user %s: a digest has the wrong length", aor)
	case !row.HasMD5 && !row.HasSHA2:
		return rejected("user %s has no password", aor)
	}
	copy(row.MD5[:], in.Ha1Md5)
	copy(row.SHA256[:], in.Ha1Sha256)
	old, existing := c.users.get(aor)
	switch {
	case existing && p.CreateOnly:
		return fail(pb.Code_EXISTS, "user %s exists already", aor)
	case existing && *old == *row:
		return again(0)
	}
	c.setUser(row)
	c.changed()
	return &pb.Result{Existing: existing}
}

func (c *conf) setUser(u *User) {
	if !c.users.set(u) {
		c.usersOf[domainOf(u.AoR)]++
	}
}

// removeUser removes an account and what it has registered.
func (x *exec) removeUser(r *pb.RemoveUser) *pb.Result {
	c := &x.st.conf
	aor := CanonicalAoR(r.GetAor())
	if _, existed := c.users.delete(aor); !existed {
		return notFound("user %s does not exist", aor)
	}
	d := domainOf(aor)
	if c.usersOf[d]--; c.usersOf[d] == 0 {
		delete(c.usersOf, d)
	}
	x.st.regs.drop(aor)
	c.changed()
	return ok()
}

func domainOf(aor string) string { return aor[strings.LastIndexByte(aor, '@')+1:] }
