package api

import (
	"net/netip"
	"slices"
	"strings"
)

// Validate checks the group on its own and puts it into canonical form.
func (g *GroupSpec) Validate() error {
	if g.Name != "" {
		if err := checkName("group", g.Name); err != nil {
			return err
		}
	}
	if g.HomeNode != "" {
		if err := checkName("node", g.HomeNode); err != nil {
			return err
		}
	}
	if len(g.VIPs) == 0 || len(g.VIPs) > 4 {
		return Errorf(CodeInvalid, "a VIP group has one to four addresses, not %d: give one per attached network", len(g.VIPs))
	}
	for i := range g.VIPs {
		p, err := ParseVIP(g.VIPs[i].Prefix)
		if err != nil {
			return err
		}
		g.VIPs[i].Prefix = p.String()
		if adv := g.VIPs[i].Advertise; adv != "" {
			a, err := netip.ParseAddr(adv)
			if err != nil || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" || a.Is4() != p.Addr().Is4() {
				return Errorf(CodeInvalid, "advertised address %q of VIP %s is not an address of the same family: give the public one of the 1:1 NAT", adv, p.Addr())
			}
			g.VIPs[i].Advertise = a.String()
		}
	}
	return distinct(*g)
}

// distinct refuses an address that occurs twice.
func distinct(groups ...GroupSpec) error {
	seen := map[netip.Addr]bool{}
	names := map[string]bool{}
	for _, g := range groups {
		if g.Name != "" && names[g.Name] {
			return Errorf(CodeInvalid, "group name %s is given twice: leave one out", g.Name)
		}
		names[g.Name] = true
		for _, v := range g.VIPs {
			a := netip.MustParsePrefix(v.Prefix).Addr()
			if seen[a] {
				return Errorf(CodeInvalid, "VIP %s is given twice: an address belongs to one group, once", a)
			}
			seen[a] = true
		}
	}
	return nil
}

// Validate checks the request and puts it into canonical form.
func (r *InitRequest) Validate() error {
	if err := checkName("node", r.Name); err != nil {
		return err
	}
	ap, err := ParseListen(r.Listen)
	if err != nil {
		return err
	}
	r.Listen = ap.String()
	for i := range r.Groups {
		if err := r.Groups[i].Validate(); err != nil {
			return err
		}
		for _, v := range r.Groups[i].VIPs {
			if netip.MustParsePrefix(v.Prefix).Addr() == ap.Addr() {
				return Errorf(CodeInvalid, "VIP %s is the node's own listen address: give an address that no machine has", ap.Addr())
			}
		}
	}
	return distinct(r.Groups...)
}

// Validate checks the request and puts it into canonical form.
func (r *JoinRequest) Validate() error {
	if err := checkName("node", r.Name); err != nil {
		return err
	}
	r.Token = strings.TrimSpace(r.Token)
	if r.Token == "" || len(r.Token) > 4096 || !oneLine(r.Token) {
		return Errorf(CodeInvalid, "the join token is empty or damaged: copy the whole line that `holdline init` or `holdline token create` printed")
	}
	ap, err := ParseListen(r.Listen)
	if err != nil {
		return err
	}
	r.Listen = ap.String()
	return nil
}

// Validate checks the request.
func (r *TokenRequest) Validate() error {
	if r.ValidSeconds < 0 || r.ValidSeconds > 7*24*3600 {
		return Errorf(CodeInvalid, "a token is valid for 1 second to 7 days, not %d s: choose a shorter time", r.ValidSeconds)
	}
	return nil
}

// Validate checks the domain and puts it into canonical form.
func (d *Domain) Validate() error {
	name, err := domainName("domain", d.Name)
	if err != nil {
		return err
	}
	d.Name = name
	for i, a := range d.Aliases {
		if d.Aliases[i], err = domainName("alias", a); err != nil {
			return err
		}
		if d.Aliases[i] == name || slices.Contains(d.Aliases[:i], d.Aliases[i]) {
			return Errorf(CodeInvalid, "alias %s of %s is given twice: leave one out", d.Aliases[i], name)
		}
	}
	return nil
}

// Validate checks the request and puts it into canonical form.
func (r *UserRequest) Validate() error {
	aor, _, _, err := ParseAoR(r.AoR)
	if err != nil {
		return err
	}
	r.AoR = aor
	if r.Password == "" {
		return Errorf(CodeInvalid, "the password of %s is empty: give one", aor)
	}
	if len(r.Password) > 256 || !oneLine(r.Password) {
		return Errorf(CodeInvalid, "the password of %s is longer than 256 bytes or has control characters: give one line of text", aor)
	}
	if err := checkAliases(r.Aliases); err != nil {
		return err
	}
	if err := checkMaxCalls(r.MaxCalls); err != nil {
		return err
	}
	return checkIdentity(r.Identity)
}

// onlyPassword refuses what a new user alone is given.
func (r *UserRequest) onlyPassword() error {
	if len(r.Aliases) > 0 || r.Identity != "" {
		return Errorf(CodeInvalid, "%s gets another password here, no other names: they are for `holdline user alias add`", r.AoR)
	}
	if r.MaxCalls != 0 {
		return Errorf(CodeInvalid, "%s gets another password here, no limit of calls: that is for `holdline user set`", r.AoR)
	}
	return nil
}

// Validate checks the change.
func (c *UserChange) Validate() error {
	if len(c.AddAliases)+len(c.RemoveAliases) == 0 && c.Identity == nil && c.MaxCalls == nil {
		return Errorf(CodeInvalid, "nothing is to be changed: say what, as in --identity +4930123456")
	}
	for _, aliases := range [][]string{c.AddAliases, c.RemoveAliases} {
		if err := checkAliases(aliases); err != nil {
			return err
		}
	}
	if c.MaxCalls != nil {
		if err := checkMaxCalls(*c.MaxCalls); err != nil {
			return err
		}
	}
	if c.Identity == nil {
		return nil
	}
	return checkIdentity(*c.Identity)
}

// MaxCallsOfUser bounds how many calls a user may be allowed to make at once.
const MaxCallsOfUser = 100_000

func checkMaxCalls(n uint32) error {
	if n > MaxCallsOfUser {
		return Errorf(CodeInvalid, "%d calls at once are more than anybody makes: give at most %d", n, MaxCallsOfUser)
	}
	return nil
}

func checkAliases(aliases []string) error {
	for i, a := range aliases {
		if !validUser(a) {
			return Errorf(CodeInvalid, "alias %q has characters that SIP does not allow there, is empty or longer than 128: give the part before the @, such as +4930123456", a)
		}
		if slices.Contains(aliases[:i], a) {
			return Errorf(CodeInvalid, "alias %s is given twice: leave one out", a)
		}
	}
	return nil
}

func checkIdentity(s string) error {
	if s != "" && !validUser(s) {
		return Errorf(CodeInvalid, "identity %q has characters that SIP does not allow there, or is longer than 128: give the part of an alias before the @, such as +4930123456", s)
	}
	return nil
}

// Validate checks the pool and fills in the default algorithm.
func (p *Pool) Validate() error {
	if err := checkName("pool", p.Name); err != nil {
		return err
	}
	algorithms := []string{RoundRobin, LeastCalls, Weighted, Hash}
	if p.Algorithm == "" {
		p.Algorithm = RoundRobin
	}
	if !slices.Contains(algorithms, p.Algorithm) {
		return Errorf(CodeInvalid, "algorithm %q is not known: choose one of %s", p.Algorithm, strings.Join(algorithms, ", "))
	}
	return nil
}

// ValidateNew checks a member that is to be added: a user comes with a password.
func (m *Member) ValidateNew() error {
	if err := m.Validate(); err != nil {
		return err
	}
	return m.CheckPassword(false)
}

// Validate checks the member, whose password may be given or stored, and puts it into canonical form.
func (m *Member) Validate() error {
	if err := m.check(); err != nil {
		return err
	}
	switch {
	case m.User != "":
	case m.Password != "":
		return Errorf(CodeInvalid, "a password of member %s needs a user: give both, as in --user 4930123456 --password-stdin", m.Name)
	case m.Realm != "":
		return Errorf(CodeInvalid, "a realm of member %s needs a user: give both, as in --user 4930123456 --password-stdin", m.Name)
	case m.Register:
		return Errorf(CodeInvalid, "to register with member %s needs a user: give one, as in --user 4930123456 --password-stdin", m.Name)
	}
	if m.RegisterS != 0 && !m.Register {
		return Errorf(CodeInvalid, "nobody registers with member %s: give --register too", m.Name)
	}
	return nil
}

// check looks at each value by itself.
func (m *Member) check() error {
	if err := checkName("member", m.Name); err != nil {
		return err
	}
	if err := hostPort(m.Address); err != nil {
		return err
	}
	for i, s := range m.Sources {
		var err error
		if m.Sources[i], err = source(s); err != nil {
			return err
		}
	}
	if m.Transport == "" {
		m.Transport = "udp"
	}
	if !slices.Contains([]string{"udp", "tcp", "tls"}, m.Transport) {
		return Errorf(CodeInvalid, "transport %q is not known: choose one of udp, tcp, tls", m.Transport)
	}
	if m.Weight > 1000 {
		return Errorf(CodeInvalid, "weight %d is more than 1000: weights count relative to each other, scale them down", m.Weight)
	}
	return m.checkAccount()
}

// Validate checks what is to be changed of a gateway, as far as it can be told without the gateway.
func (c *MemberChange) Validate() error {
	if *c == (MemberChange{}) {
		return Errorf(CodeInvalid, "nothing is to be changed: say what, as in --disabled or --address 10.77.0.22:5080")
	}
	m := Member{Name: "m", Address: "192.0.2.1"}
	c.Apply(&m)
	if err := m.check(); err != nil {
		return err
	}
	if c.Password != nil && *c.Password == "" {
		return Errorf(CodeInvalid, "the password is empty: give one, or take user and password away with --user ''")
	}
	if c.Sources != nil {
		*c.Sources = m.Sources
	}
	return nil
}

// Validate checks the route and puts it into canonical form.
func (r *Route) Validate() error {
	name, err := domainName("domain", r.Domain)
	if err != nil {
		return err
	}
	r.Domain = name
	if r.Prefix != "" && !validUser(strings.ReplaceAll(r.Prefix, "#", "*")) {
		return Errorf(CodeInvalid, "prefix %q has characters that a dialled number cannot have: give its first digits, or '' for all", r.Prefix)
	}
	if r.Strip > 64 {
		return Errorf(CodeInvalid, "strip %d is more than 64: no number is that long", r.Strip)
	}
	if r.Prepend != "" && (!validUser(r.Prepend) || len(r.Prepend) > 32) {
		return Errorf(CodeInvalid, "%q cannot be put before a number: give up to 32 digits or letters, such as +49", r.Prepend)
	}
	return checkName("pool", r.Pool)
}
