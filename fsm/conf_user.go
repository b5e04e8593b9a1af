package fsm

import (
	"slices"
	"strings"

	"holdline/fsm/pb"
)

// MaxUserAliases bounds a user's aliases.
const MaxUserAliases = 32

// otherNames are what few users have. Like a row it is never changed, but replaced.
type otherNames struct {
	aliases  []string // AoRs, in the order in which they came
	identity string   // the one of them that gateways are told; "": the user's name
}

// alias is a row of the table that finds users by their aliases.
type alias struct {
	aor  string
	user *User
}

func (a *alias) name() string { return a.aor }

// Named reports whether an AoR is the user's name or an alias of his.
func (u *User) Named(aor string) bool { return u.AoR == aor || slices.Contains(u.aliases(), aor) }

// Identity is the AoR that gateways are told: the user's name, unless he has an alias that was chosen for it.
func (u *User) Identity() string {
	if u.other != nil && u.other.identity != "" {
		return u.other.identity
	}
	return u.AoR
}

// Aliases returns the user parts of the user's aliases, in the order in which they came.
func (u *User) Aliases() (out []string) {
	for _, a := range u.aliases() {
		out = append(out, userOf(a))
	}
	return out
}

func (u *User) aliases() []string {
	if u.other == nil {
		return nil
	}
	return u.other.aliases
}

// UserNamed returns the user whose name or alias an AoR is (with the domain's own name, not an alias of it), or nil. No AoR is the name or
// alias of two.
func (c *Config) UserNamed(aor string) *User {
	if u := c.User(aor); u != nil {
		return u
	}
	return c.aliasOf(aor)
}

// aliasOf returns the user who has this alias, or nil.
func (c *Config) aliasOf(aor string) *User {
	if c.others.len() == 0 {
		return nil
	}
	a, found := c.others.get(aor)
	if !found {
		return nil
	}
	return a.user
}

// CanonicalAoR puts user@domain into the form users are known by: the domain in lower case. The user's part keeps its case.
func CanonicalAoR(aor string) string {
	i := strings.LastIndexByte(aor, '@')
	if i < 0 {
		return aor
	}
	return aor[:i+1] + CanonicalHost(aor[i+1:])
}

func domainOf(aor string) string { return aor[strings.LastIndexByte(aor, '@')+1:] }

func userOf(aor string) string { return aor[:strings.LastIndexByte(aor, '@')] }

// usableAoR reports whether a canonical AoR may be the name of a user, or an alias.
func usableAoR(aor string) bool {
	i := strings.LastIndexByte(aor, '@')
	return i >= 1 && len(aor) <= 512 && !strings.ContainsAny(aor[:i], " \t\r\n<>\"@")
}

// putUser adds a user, or gives the one there is another password: he keeps his other names and his limit of calls.
func (x *exec) putUser(p *pb.PutUser) *pb.Result {
	c := &x.st.conf
	in := p.GetUser()
	aor := CanonicalAoR(in.GetAor())
	if !usableAoR(aor) {
		return rejected("%q is not user@domain", in.GetAor())
	}
	domain := domainOf(aor)
	if _, found := c.domains.get(domain); !found {
		return c.noDomain(domain)
	}
	row := &User{AoR: aor, HasMD5: len(in.Ha1Md5) > 0, HasSHA2: len(in.Ha1Sha256) > 0, MaxCalls: in.MaxCalls}
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
	case existing && (len(in.Aliases) > 0 || in.Identity != ""):
		return rejected("user %s exists already: his aliases are changed with `holdline user alias add %s`", aor, aor)
	case existing && in.MaxCalls > 0:
		return rejected("user %s exists already: his limit of calls is changed with `holdline user set %s --max-calls`", aor, aor)
	case existing:
		if row.other, row.MaxCalls = old.other, old.MaxCalls; *old == *row {
			return again(0)
		}
	default:
		if u := c.aliasOf(aor); u != nil {
			return fail(pb.Code_EXISTS, "%s is an alias of user %s: take it from him first with `holdline user alias remove`", aor, u.AoR)
		}
		if r := c.rename(row, in.Aliases, nil, &in.Identity); r != nil {
			return r
		}
	}
	c.setUser(row)
	c.changed()
	return &pb.Result{Existing: existing}
}

// changeUser works on what the user has when it is applied: whoever asked may have seen older ones.
func (x *exec) changeUser(ch *pb.ChangeUser) *pb.Result {
	c := &x.st.conf
	aor := CanonicalAoR(ch.GetAor())
	old, found := c.users.get(aor)
	if !found {
		return c.noUser(aor)
	}
	row := *old
	if r := c.rename(&row, ch.AddAliases, ch.RemoveAliases, ch.Identity); r != nil {
		return r
	}
	if ch.MaxCalls != nil {
		row.MaxCalls = *ch.MaxCalls
	}
	if row.MaxCalls == old.MaxCalls && row.Identity() == old.Identity() && slices.Equal(row.aliases(), old.aliases()) {
		return again(0)
	}
	c.dropOthers(old)
	c.setUser(&row)
	c.changed()
	return ok()
}

// rename gives a row that is in no table yet other aliases: first those in remove go, then those in add come. identity is which of all his names
// gateways are told, nil: the same as before. All of them are user parts. The result is nil, or why it may not be.
func (c *conf) rename(u *User, add, remove []string, identity *string) *pb.Result {
	at := "@" + domainOf(u.AoR)
	var n otherNames
	if u.other != nil {
		n = otherNames{slices.Clone(u.other.aliases), u.other.identity}
	}
	for _, a := range remove {
		i := slices.Index(n.aliases, a+at)
		if i < 0 {
			return notFound("%s is not an alias of %s", a, u.AoR)
		}
		n.aliases = slices.Delete(n.aliases, i, i+1)
	}
	for _, a := range add {
		if r := c.mayHave(u, n.aliases, a+at); r != nil {
			return r
		}
		n.aliases = append(n.aliases, a+at)
	}
	if identity != nil {
		if n.identity = *identity + at; n.identity == at || n.identity == u.AoR {
			n.identity = ""
		}
	}
	switch {
	case n.identity == "" || slices.Contains(n.aliases, n.identity):
	case identity != nil:
		return rejected("%s is neither the name nor an alias of %s: gateways are told one of those", *identity, u.AoR)
	default:
		return rejected("%s is what gateways are told of %s: give him another identity first, with `holdline user set %s`", userOf(n.identity), u.AoR, u.AoR)
	}
	if u.other = nil; len(n.aliases) > 0 {
		u.other = &n
	}
	return nil
}

// mayHave refuses a name that somebody has already. have are the aliases that the user has by now.
func (c *conf) mayHave(u *User, have []string, aor string) *pb.Result {
	whose := c.UserNamed(aor)
	switch {
	case !usableAoR(aor):
		return rejected("%q is not an alias: the part of an address before the @ is", userOf(aor))
	case aor == u.AoR:
		return fail(pb.Code_EXISTS, "%s is the name of %s itself", userOf(aor), u.AoR)
	case slices.Contains(have, aor):
		return fail(pb.Code_EXISTS, "%s is an alias of %s already", userOf(aor), u.AoR)
	case whose != nil && whose.AoR == aor:
		return fail(pb.Code_EXISTS, "%s is a user himself", aor)
	case whose != nil && whose.AoR != u.AoR:
		return fail(pb.Code_EXISTS, "%s is an alias of user %s already", aor, whose.AoR)
	case len(have) >= MaxUserAliases:
		return fail(pb.Code_LIMIT, "user %s: at most %d aliases", u.AoR, MaxUserAliases)
	}
	return nil
}

// setUser puts a row into the tables. Aliases that its former version had and it has not are dropOthers's to remove before.
func (c *conf) setUser(u *User) {
	if !c.users.set(u) {
		c.usersOf[domainOf(u.AoR)]++
	}
	for _, a := range u.aliases() {
		c.others.set(&alias{a, u})
	}
}

func (c *conf) dropOthers(u *User) {
	for _, a := range u.aliases() {
		c.others.delete(a)
	}
}

// removeUser removes an account, its aliases and what it has registered.
func (x *exec) removeUser(r *pb.RemoveUser) *pb.Result {
	c := &x.st.conf
	aor := CanonicalAoR(r.GetAor())
	u, existed := c.users.delete(aor)
	if !existed {
		return c.noUser(aor)
	}
	c.dropOthers(u)
	d := domainOf(aor)
	if c.usersOf[d]--; c.usersOf[d] == 0 {
		delete(c.usersOf, d)
	}
	x.st.regs.drop(aor)
	c.changed()
	return ok()
}

// noUser says that a user doesn't exist, or that the name is only an alias of one.
func (c *conf) noUser(aor string) *pb.Result {
	if u := c.aliasOf(aor); u != nil {
		return notFound("%s is an alias: name the user himself, %s", aor, u.AoR)
	}
	return notFound("user %s does not exist", aor)
}
