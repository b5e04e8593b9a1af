package cluster

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"holdline/cluster/api"
	"holdline/domains"
	"holdline/fsm"
	"holdline/fsm/pb"
)

// ListDomains implements api.Backend.
func (n *Node) ListDomains(context.Context) ([]api.Domain, error) {
	e, err := n.member()
	if err != nil {
		return nil, err
	}
	var out []api.Domain
	e.machine.Config().Domains(func(d *pb.Domain) bool {
		out = append(out, api.Domain{Name: d.Name, Aliases: d.Aliases})
		return true
	})
	return out, nil
}

// AddDomain implements api.Backend.
func (n *Node) AddDomain(ctx context.Context, d api.Domain) error {
	put := &pb.PutDomain{Domain: &pb.Domain{Name: d.Name, Aliases: d.Aliases}, CreateOnly: true}
	return n.do(ctx, &pb.Command{Op: &pb.Command_PutDomain{PutDomain: put}})
}

// RemoveDomain implements api.Backend.
func (n *Node) RemoveDomain(ctx context.Context, name string) error {
	return n.do(ctx, &pb.Command{Op: &pb.Command_RemoveDomain{RemoveDomain: &pb.RemoveDomain{Name: name}}})
}

// AddAlias implements api.Backend.
func (n *Node) AddAlias(ctx context.Context, domain, alias string) error {
	return n.do(ctx, &pb.Command{Op: &pb.Command_ChangeAliases{ChangeAliases: &pb.ChangeAliases{Domain: domain, Add: []string{alias}}}})
}

// RemoveAlias implements api.Backend.
func (n *Node) RemoveAlias(ctx context.Context, domain, alias string) error {
	return n.do(ctx, &pb.Command{Op: &pb.Command_ChangeAliases{ChangeAliases: &pb.ChangeAliases{Domain: domain, Remove: []string{alias}}}})
}

// ListUsers implements api.Backend.
func (n *Node) ListUsers(_ context.Context, f api.UserFilter) ([]api.User, error) {
	e, err := n.member()
	if err != nil {
		return nil, err
	}
	var out []api.User
	var bindings []fsm.Binding
	if f.Domain, err = domainNamed(e.machine.Config(), f.Domain); err != nil {
		return nil, err
	}
	suffix := "@" + f.Domain
	e.machine.Config().Users(func(u *fsm.User) bool {
		if f.Domain == "" || strings.HasSuffix(u.AoR, suffix) {
			bindings = e.machine.Bindings(u.AoR, bindings[:0])
			out = append(out, userRow(u, len(bindings), e.machine.CallsMade(u.AoR)))
		}
		return f.Limit == 0 || len(out) < f.Limit
	})
	return out, nil
}

func userRow(u *fsm.User, registered, calls int) api.User {
	row := api.User{AoR: u.AoR, Registered: registered, Aliases: u.Aliases(), Calls: calls, MaxCalls: u.MaxCalls}
	if id := u.Identity(); id != u.AoR {
		row.Identity, _, _ = cutLast(id, '@')
	}
	return row
}

// AddUser implements api.Backend. The password itself goes no further than this function.
func (n *Node) AddUser(ctx context.Context, r api.UserRequest) error {
	e, err := n.member()
	if err != nil {
		return err
	}
	aor := fsm.CanonicalAoR(r.AoR)
	if u := e.machine.Config().User(aor); u != nil {
		return api.Errorf(api.CodeExists, "user %s exists already: change his password with `holdline user passwd %s`", aor, aor)
	}
	return n.putUser(ctx, r, true)
}

// ChangeUser implements api.Backend.
func (n *Node) ChangeUser(ctx context.Context, aor string, c api.UserChange) error {
	change := &pb.ChangeUser{Aor: aor, AddAliases: c.AddAliases, RemoveAliases: c.RemoveAliases, Identity: c.Identity, MaxCalls: c.MaxCalls}
	return n.do(ctx, &pb.Command{Op: &pb.Command_ChangeUser{ChangeUser: change}})
}

// SetPassword implements api.Backend.
func (n *Node) SetPassword(ctx context.Context, r api.UserRequest) error {
	e, err := n.member()
	if err != nil {
		return err
	}
	switch u := e.machine.Config().UserNamed(fsm.CanonicalAoR(r.AoR)); {
	case u != nil && u.AoR != fsm.CanonicalAoR(r.AoR): // digests are over the name
		return api.Errorf(api.CodeNotFound, "%s is an alias: name the user himself, %s", r.AoR, u.AoR)
	case u == nil:
		return api.Errorf(api.CodeNotFound, "user %s does not exist: add it with `holdline user add %s`", r.AoR, r.AoR)
	}
	return n.putUser(ctx, r, false)
}

func (n *Node) putUser(ctx context.Context, r api.UserRequest, create bool) error {
	aor := fsm.CanonicalAoR(r.AoR)
	user, realm, ok := cutLast(aor, '@')
	if !ok {
		return api.Errorf(api.CodeInvalid, "%q is not user@domain", r.AoR)
	}
	weak, strong := domains.HA1(user, realm, r.Password)
	row := &pb.User{Aor: aor, Ha1Md5: weak[:], Ha1Sha256: strong[:], Aliases: r.Aliases, Identity: r.Identity, MaxCalls: r.MaxCalls}
	return n.do(ctx, &pb.Command{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: row, CreateOnly: create}}})
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// RemoveUser implements api.Backend.
func (n *Node) RemoveUser(ctx context.Context, aor string) error {
	return n.do(ctx, &pb.Command{Op: &pb.Command_RemoveUser{RemoveUser: &pb.RemoveUser{Aor: aor}}})
}

// ListPools implements api.Backend.
func (n *Node) ListPools(context.Context) ([]api.Pool, error) {
	e, err := n.member()
	if err != nil {
		return nil, err
	}
	cfg := e.machine.Config()
	var out []api.Pool
	for _, p := range cfg.Pools() {
		row := api.Pool{Name: p.Name, Algorithm: p.Algorithm}
		for _, m := range p.Members {
			member := memberOf(cfg, m)
			member.Calls = e.machine.MemberCalls(p.Name, m.Name)
			member.State, member.AnswerMs = e.gatewayState(p.Name, m.Name)
			member.Registration = e.registration(m)
			row.Members = append(row.Members, member)
		}
		out = append(out, row)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out, nil
}

// AddPool implements api.Backend.
func (n *Node) AddPool(ctx context.Context, p api.Pool) error {
	e, err := n.member()
	if err != nil {
		return err
	}
	if e.machine.Config().Pool(p.Name) != nil {
		return api.Errorf(api.CodeExists, "pool %s exists already", p.Name)
	}
	return e.write(ctx, &pb.Command{Op: &pb.Command_PutPool{PutPool: &pb.PutPool{Pool: &pb.Pool{Name: p.Name, Algorithm: p.Algorithm}}}})
}

// RemovePool implements api.Backend.
func (n *Node) RemovePool(ctx context.Context, name string) error {
	return n.do(ctx, &pb.Command{Op: &pb.Command_RemovePool{RemovePool: &pb.RemovePool{Name: name}}})
}

// AddMember implements api.Backend.
func (n *Node) AddMember(ctx context.Context, pool string, m api.Member) error {
	e, err := n.member()
	if err != nil {
		return err
	}
	cfg := e.machine.Config()
	if p := cfg.Pool(pool); p != nil && slices.ContainsFunc(p.Members, func(o *pb.Member) bool { return o.Name == m.Name }) {
		return api.Errorf(api.CodeExists, "pool %s has a member %s already: change it with `holdline pool member set %s %s`", pool, m.Name, pool, m.Name)
	}
	return e.putMember(ctx, cfg, pool, m, nil)
}

// SetMember implements api.Backend. It begins from what had been committed when it was called; of two changes at once the later holds.
func (n *Node) SetMember(ctx context.Context, pool, member string, c api.MemberChange) error {
	e, err := n.member()
	if err != nil {
		return err
	}
	if err := e.fresh(ctx); err != nil { // what is not changed is written again, an older password too
		return err
	}
	cfg := e.machine.Config()
	p := cfg.Pool(pool)
	if p == nil {
		return api.Errorf(api.CodeNotFound, "pool %s does not exist: see `holdline pool list`", pool)
	}
	i := slices.IndexFunc(p.Members, func(o *pb.Member) bool { return o.Name == member })
	if i < 0 {
		return api.Errorf(api.CodeNotFound, "pool %s has no member %s: see `holdline pool member list %s`", pool, member, pool)
	}
	old := p.Members[i]
	m := memberOf(cfg, old)
	c.Apply(&m)
	if err := m.Validate(); err != nil {
		return err
	}
	if err := m.CheckPassword(len(old.SealedPassword) > 0); err != nil && (c.User != nil || old.User == "") { // of one that was restored elsewhere all else can be changed
		return err
	}
	return e.putMember(ctx, cfg, pool, m, old.SealedPassword)
}

// memberOf is a pool member as the API shows it.
func memberOf(cfg *fsm.Config, m *pb.Member) api.Member {
	out := api.Member{
		Name: m.Name, Address: m.Address, Sources: m.Sources, Weight: m.Weight, MaxCalls: m.MaxCalls, Transport: m.Transport,
		LargeOverTCP: m.LargeOverTcp, Disabled: m.Disabled, User: m.User, Realm: m.Realm, Register: m.Register, RegisterS: m.RegisterS,
	}
	if g := cfg.Group(m.Group); g != nil {
		out.Group = cmp.Or(m.Vip, g.Name)
	}
	return out
}

// putMember writes a pool member; sealed is its password as it is stored, if m gives no other.
func (e *engine) putMember(ctx context.Context, cfg *fsm.Config, pool string, m api.Member, sealed []byte) error {
	row := &pb.Member{
		Pool: pool, Name: m.Name, Address: m.Address, Sources: m.Sources, Weight: m.Weight, MaxCalls: m.MaxCalls, Transport: m.Transport,
		LargeOverTcp: m.LargeOverTCP, Disabled: m.Disabled, User: m.User, Realm: m.Realm, Register: m.Register, RegisterS: m.RegisterS,
	}
	if _, at := fsm.MemberHost(row); at.IsValid() {
		if g, _, ours := cfg.GroupByVIP(at.Addr()); ours {
			return api.Errorf(api.CodeInvalid, "%s is an address of VIP group %s: calls to it would come back here; give the gateway's own address", at.Addr(), g.Name)
		}
	}
	if err := e.sealAccount(row, m.Password, sealed); err != nil {
		return err
	}
	if m.Group != "" {
		g, err := findGroup(cfg, m.Group)
		if err != nil {
			return err
		}
		row.Group, row.Vip = g.Number, namedVIP(cfg, g, m.Group)
		if err := sameFamily(g, row); err != nil {
			return err
		}
	}
	if err := registersBy(cfg, row); err != nil {
		return err
	}
	return e.write(ctx, &pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: row}}})
}

// sameFamily refuses a gateway whose address none of the VIPs that it is to be called from can reach.
func sameFamily(g *pb.Group, m *pb.Member) error {
	_, at := fsm.MemberHost(m)
	if !at.IsValid() {
		return nil // a host name
	}
	for _, v := range g.Vips {
		p, err := netip.ParsePrefix(v.Prefix)
		if err == nil && p.Addr().Is4() == at.Addr().Is4() && (m.Vip == "" || p.Addr().String() == m.Vip) {
			return nil
		}
	}
	return api.Errorf(api.CodeInvalid, "%s cannot be called from VIP group %s: it has no address of that family there", m.Address, cmp.Or(m.Vip, g.Name))
}

// namedVIP is the address of a group of several that name names, "" when it names the group.
func namedVIP(cfg *fsm.Config, g *pb.Group, name string) string {
	a, err := netip.ParseAddr(name)
	if p, bad := netip.ParsePrefix(name); bad == nil { // as VIPs are written elsewhere
		a, err = p.Addr(), nil
	}
	if err != nil || len(g.Vips) < 2 {
		return ""
	}
	_, i, ok := cfg.GroupByVIP(a)
	if !ok {
		return ""
	}
	p, err := netip.ParsePrefix(g.Vips[i].Prefix)
	if err != nil {
		return ""
	}
	return p.Addr().String()
}

// RemoveMember implements api.Backend.
func (n *Node) RemoveMember(ctx context.Context, pool, member string) error {
	return n.do(ctx, &pb.Command{Op: &pb.Command_RemoveMember{RemoveMember: &pb.RemoveMember{Pool: pool, Name: member}}})
}

// ListRoutes implements api.Backend.
func (n *Node) ListRoutes(context.Context) ([]api.Route, error) {
	e, err := n.member()
	if err != nil {
		return nil, err
	}
	var out []api.Route
	e.machine.Config().Routes(func(r *pb.Route) bool {
		out = append(out, api.Route{Domain: r.Domain, Prefix: r.Prefix, Pool: r.Pool, Strip: r.Strip, Prepend: r.Prepend})
		return true
	})
	return out, nil
}

// AddRoute implements api.Backend.
func (n *Node) AddRoute(ctx context.Context, r api.Route) error {
	row := &pb.Route{Domain: r.Domain, Prefix: r.Prefix, Pool: r.Pool, Strip: r.Strip, Prepend: r.Prepend}
	return n.do(ctx, &pb.Command{Op: &pb.Command_PutRoute{PutRoute: &pb.PutRoute{Route: row}}})
}

// RemoveRoute implements api.Backend.
func (n *Node) RemoveRoute(ctx context.Context, domain, prefix string) error {
	return n.do(ctx, &pb.Command{Op: &pb.Command_RemoveRoute{RemoveRoute: &pb.RemoveRoute{Domain: domain, Prefix: prefix}}})
}
