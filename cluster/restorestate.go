package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/fsm/pb"
)

// rewrite turns the present state into the restored one. What is in both stays where it is, with its registrations and calls.
func (r *restoration) rewrite(w *rewrite) error {
	now := w.machine.Config()
	if r.backup.FeatureLevel > now.FeatureLevel {
		return api.Errorf(api.CodeRefused, "the backup is of feature level %d, this cluster of %d: upgrade it first", r.backup.FeatureLevel, now.FeatureLevel)
	}
	if domains := countDomains(now); !r.force && domains+len(now.Pools()) > 0 {
		return api.Errorf(api.CodeRefused, "this cluster has %d domains and %d pools already: restore right after `holdline init`, or repeat with --force to replace them", domains, len(now.Pools()))
	}
	r.answer = api.RestoreAnswer{Domains: countDomains(r.backup), Users: r.backup.UserCount(), Pools: len(r.backup.Pools())}
	w.apply(r.removals(now)...)
	w.apply(r.settings(now)...)
	w.apply(r.domains(now)...)
	w.apply(r.users(now)...)
	w.apply(r.pools(now)...)
	w.apply(r.certificates(now)...)
	r.backup.Routes(func(route *pb.Route) bool {
		r.answer.Routes++
		w.apply(&pb.Command{Op: &pb.Command_PutRoute{PutRoute: &pb.PutRoute{Route: route}}})
		return true
	})
	return nil
}

func countDomains(cfg *fsm.Config) (n int) {
	cfg.Domains(func(*pb.Domain) bool { n++; return true })
	return n
}

// removals takes out what the backup does not hold, and every route: routes hold pools and domains in place.
func (r *restoration) removals(now *fsm.Config) (out []*pb.Command) {
	now.Routes(func(route *pb.Route) bool {
		out = append(out, &pb.Command{Op: &pb.Command_RemoveRoute{RemoveRoute: &pb.RemoveRoute{Domain: route.Domain, Prefix: route.Prefix}}})
		return true
	})
	now.Users(func(u *fsm.User) bool {
		switch {
		case r.backup.User(u.AoR) == nil:
			out = append(out, &pb.Command{Op: &pb.Command_RemoveUser{RemoveUser: &pb.RemoveUser{Aor: u.AoR}}})
		case len(u.Aliases()) > 0: // they may be others' names in the backup
			out = append(out, changeUser(&pb.ChangeUser{Aor: u.AoR, RemoveAliases: u.Aliases(), Identity: new(string)}))
		}
		return true
	})
	now.Domains(func(d *pb.Domain) bool {
		if !hasDomain(r.backup, d.Name) {
			out = append(out, &pb.Command{Op: &pb.Command_RemoveDomain{RemoveDomain: &pb.RemoveDomain{Name: d.Name}}})
		}
		return true
	})
	for name, p := range now.Pools() {
		kept := r.backup.Pool(name)
		for _, m := range p.Members {
			if kept == nil || !slices.ContainsFunc(kept.Members, func(o *pb.Member) bool { return o.Name == m.Name }) {
				out = append(out, &pb.Command{Op: &pb.Command_RemoveMember{RemoveMember: &pb.RemoveMember{Pool: name, Name: m.Name}}})
			}
		}
		if kept == nil {
			out = append(out, &pb.Command{Op: &pb.Command_RemovePool{RemovePool: &pb.RemovePool{Name: name}}})
		}
	}
	return out
}

func hasDomain(cfg *fsm.Config, name string) bool {
	d := cfg.Domain(name)
	return d != nil && d.Name == name
}

// settings are those an operator may set; the cluster's own stay as they are.
func (r *restoration) settings(now *fsm.Config) (out []*pb.Command) {
	for _, s := range knownSettings() {
		value := r.backup.Setting(s.Name, "")
		if value != now.Setting(s.Name, "") && (value == "" || s.check(value) == nil) {
			out = append(out, putSetting(s.Name, value))
			r.answer.Settings++
		}
	}
	return out
}

// domains come without aliases first: a name may have been another domain's alias.
func (r *restoration) domains(now *fsm.Config) (out []*pb.Command) {
	r.backup.Domains(func(d *pb.Domain) bool {
		bare := &pb.Domain{Name: d.Name}
		if old := now.Domain(d.Name); old != nil && old.Name == d.Name {
			bare = proto.Clone(old).(*pb.Domain)
			bare.Aliases = nil
		}
		if old := now.Domain(d.Name); old == nil || old.Name == d.Name {
			out = append(out, putDomainRow(bare))
		}
		return true
	})
	r.backup.Domains(func(d *pb.Domain) bool { out = append(out, putDomainRow(d)); return true })
	return out
}

func putDomainRow(d *pb.Domain) *pb.Command {
	return &pb.Command{Op: &pb.Command_PutDomain{PutDomain: &pb.PutDomain{Domain: d}}}
}

// users come without aliases first: of those who are here the password alone can be put.
func (r *restoration) users(now *fsm.Config) (out []*pb.Command) {
	r.backup.Users(func(u *fsm.User) bool {
		row := &pb.User{Aor: u.AoR}
		if u.HasMD5 {
			row.Ha1Md5 = u.MD5[:]
		}
		if u.HasSHA2 {
			row.Ha1Sha256 = u.SHA256[:]
		}
		out = append(out, &pb.Command{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: row}}})
		if u.Aliases() != nil {
			identity, _, _ := cutLast(u.Identity(), '@')
			out = append(out, changeUser(&pb.ChangeUser{Aor: u.AoR, AddAliases: u.Aliases(), Identity: &identity}))
		}
		if here := now.User(u.AoR); u.MaxCalls != 0 || here != nil && here.MaxCalls != 0 {
			out = append(out, changeUser(&pb.ChangeUser{Aor: u.AoR, MaxCalls: &u.MaxCalls}))
		}
		return true
	})
	return out
}

func changeUser(c *pb.ChangeUser) *pb.Command {
	return &pb.Command{Op: &pb.Command_ChangeUser{ChangeUser: c}}
}

// certificates come back as far as this cluster's key opens theirs: a backup of another cluster has them sealed with that one's. One that is here
// stays if it is valid for longer: it was renewed after the backup.
func (r *restoration) certificates(now *fsm.Config) (out []*pb.Command) {
	here := map[string]time.Time{} // until when it is valid
	now.Certificates(func(row *pb.Certificate) bool {
		if pair, err := r.openCertificate(row); err == nil {
			here[row.Domain] = pair.Leaf.NotAfter
		}
		return true
	})
	var sealed []string
	r.backup.Certificates(func(row *pb.Certificate) bool {
		until, has := here[row.Domain]
		pair, err := r.openCertificate(row)
		switch {
		case has && (err != nil || until.After(pair.Leaf.NotAfter)):
			r.answer.Notes = append(r.answer.Notes, fmt.Sprintf("the certificate of %s stays as it is here: the backup's ends sooner, or is sealed for another cluster", row.Domain))
		case err != nil:
			sealed = append(sealed, row.Domain)
		default:
			r.answer.Certificates++
			out = append(out, &pb.Command{Op: &pb.Command_PutCertificate{PutCertificate: &pb.PutCertificate{Certificate: row}}})
		}
		return true
	})
	if len(sealed) > 0 {
		r.answer.Notes = append(r.answer.Notes, fmt.Sprintf("no certificate for %s: the backup's keys are sealed for another cluster; add each with `holdline certificate add`", strings.Join(sealed, ", ")))
	}
	return out
}

// pools name VIP groups by number, which are another cluster's: the group with the same name or address takes their place.
func (r *restoration) pools(now *fsm.Config) (out []*pb.Command) {
	for name, p := range r.backup.Pools() {
		out = append(out, &pb.Command{Op: &pb.Command_PutPool{PutPool: &pb.PutPool{Pool: &pb.Pool{Name: name, Algorithm: p.Algorithm}}}})
		for _, m := range p.Members {
			m = proto.Clone(m).(*pb.Member)
			if m.Group != 0 {
				was := r.backup.Group(m.Group)
				if m.Group = sameGroup(now, was); m.Group == 0 {
					r.answer.Notes = append(r.answer.Notes, fmt.Sprintf("member %s of pool %s is called through the call's own VIP: there is no VIP group %s here", m.Name, name, was.GetName()))
				}
				if g := now.Group(m.Group); m.Vip != "" && (g == nil || namedVIP(now, g, m.Vip) != m.Vip) {
					r.answer.Notes = append(r.answer.Notes, fmt.Sprintf("member %s of pool %s is called from the address that suits it: its VIP group has no %s here", m.Name, name, m.Vip))
					m.Vip = ""
				}
			}
			r.account(now, m)
			out = append(out, &pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: m}}})
		}
	}
	slices.Sort(r.answer.Notes)
	return out
}

func sameGroup(cfg *fsm.Config, was *pb.Group) uint32 {
	for _, g := range cfg.Groups() {
		if was != nil && g.Name == was.Name {
			return g.Number
		}
	}
	for _, v := range was.GetVips() {
		if p, err := netip.ParsePrefix(v.Prefix); err == nil {
			if g, _, ok := cfg.GroupByVIP(p.Addr()); ok {
				return g.Number
			}
		}
	}
	return 0
}
