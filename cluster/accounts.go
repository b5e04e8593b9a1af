package cluster

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"holdline/cluster/api"
	"holdline/cluster/pki"
	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/proxy"
)

// accountPurpose binds a sealed password to its pool member: it opens nowhere else.
func accountPurpose(pool, member string) string { return "member/" + pool + "/" + member }

// sealAccount gives a row its password: the one that is given, which leaves this function sealed, else the one that is stored; none without a user.
func (e *engine) sealAccount(row *pb.Member, password string, stored []byte) (err error) {
	switch {
	case row.User == "":
	case password == "":
		row.SealedPassword = stored
	default:
		row.SealedPassword, err = pki.Seal(e.clusterKey, accountPurpose(row.Pool, row.Name), []byte(password))
	}
	return err
}

// registersBy sees to it that a member that we register with is called from one VIP: its calls come in there. Where there is only one it is that, and is
// written down, so that another one that is added later changes nothing.
func registersBy(cfg *fsm.Config, row *pb.Member) error {
	if !row.Register {
		return nil
	}
	g := cfg.Group(row.Group)
	if groups := cfg.Groups(); g == nil && len(groups) == 1 {
		g = groups[0]
		row.Group = g.Number
		if err := sameFamily(g, row); err != nil {
			return err
		}
	}
	if g == nil {
		return api.Errorf(api.CodeInvalid, "to register with member %s a VIP group is needed, which its calls come in at: name it with --vip, see `holdline vip list`", row.Name)
	}
	if len(g.Vips) > 1 && row.Vip == "" {
		return api.Errorf(api.CodeInvalid, "VIP group %s has several addresses, and calls of member %s come in at the one that is registered: name it with --vip, one of %s", g.Name, row.Name, addressesOf(g))
	}
	return nil
}

func addressesOf(g *pb.Group) string {
	var out []string
	for _, v := range g.Vips {
		if p, err := netip.ParsePrefix(v.Prefix); err == nil {
			out = append(out, p.Addr().String())
		}
	}
	return strings.Join(out, ", ")
}

// accounts opens the passwords of pool members for the SIP core. Opened ones are kept, in this process alone, by what they were sealed as.
type accounts struct {
	machine *fsm.Machine
	key     []byte // of the cluster
	logger  *slog.Logger

	mu   sync.Mutex
	open map[[2]string]openAccount // by pool and member
}

var _ proxy.Accounts = (*accounts)(nil)

type openAccount struct {
	sealed   []byte
	password string
	bad      bool // it is sealed for another cluster, or damaged
}

// Account implements proxy.Accounts.
func (a *accounts) Account(pool, member string) (proxy.Account, bool) {
	row := memberRow(a.machine.Config(), pool, member)
	k := [2]string{pool, member}
	a.mu.Lock()
	defer a.mu.Unlock()
	if row == nil || row.User == "" || len(row.SealedPassword) == 0 {
		delete(a.open, k)
		return proxy.Account{}, false
	}
	o, ok := a.open[k]
	if !ok || !bytes.Equal(o.sealed, row.SealedPassword) {
		o = a.unseal(row)
		if a.open == nil {
			a.open = map[[2]string]openAccount{}
		}
		a.open[k] = o
	}
	return proxy.Account{User: row.User, Password: o.password, Realm: row.Realm}, !o.bad
}

func (a *accounts) unseal(row *pb.Member) openAccount {
	plain, err := pki.Unseal(a.key, accountPurpose(row.Pool, row.Name), row.SealedPassword)
	if err != nil {
		a.logger.Error("the password of a pool member cannot be opened: set it again with holdline pool member set", "pool", row.Pool, "member", row.Name, "err", err)
	}
	return openAccount{sealed: row.SealedPassword, password: string(plain), bad: err != nil}
}

// memberRow finds a pool member, nil if there is none of the name.
func memberRow(cfg *fsm.Config, pool, member string) *pb.Member {
	p := cfg.Pool(pool)
	if p == nil {
		return nil
	}
	i := slices.IndexFunc(p.Members, func(m *pb.Member) bool { return m.Name == member })
	if i < 0 {
		return nil
	}
	return p.Members[i]
}

// account makes a restored member fit this cluster: a password that is sealed for another one is left out, and a registration that has no VIP to be made
// by any more is left to the operator.
func (r *restoration) account(now *fsm.Config, m *pb.Member) {
	if len(m.SealedPassword) > 0 {
		_, err := pki.Unseal(r.clusterKey, accountPurpose(m.Pool, m.Name), m.SealedPassword)
		if here := memberRow(now, m.Pool, m.Name); err != nil && here.GetUser() == m.User && len(here.GetSealedPassword()) > 0 {
			m.SealedPassword = here.SealedPassword
		} else if err != nil {
			m.SealedPassword = nil
			r.answer.Notes = append(r.answer.Notes, fmt.Sprintf("no password for user %s of member %s of pool %s: the backup's is sealed for another cluster; give it with `holdline pool member set %s %s --password-stdin`",
				m.User, m.Name, m.Pool, m.Pool, m.Name))
		}
	}
	if m.Register && registersBy(now, m) != nil {
		m.Register, m.RegisterS = false, 0
		r.answer.Notes = append(r.answer.Notes, fmt.Sprintf("nobody registers with member %s of pool %s: it has no VIP to be called at here; name one with `holdline pool member set %s %s --register --vip VIP`",
			m.Name, m.Pool, m.Pool, m.Name))
	}
}
