package lab

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"holdline/cluster/api"
	"holdline/deploy/lab/phone"
)

// Temporary domains. The ending can never be somebody's (RFC 2606 §2).
const (
	guestPrefix = "drill-"
	guestEnding = ".invalid"
)

// guests are the accounts of the test phones.
type guests struct {
	accounts  []Account
	temporary string   // the domain that was made for them; "": they were given
	added     []string // users of it
}

// domains lists the accounts' domains, each once.
func (g guests) domains() []string {
	var out []string
	for _, a := range g.accounts {
		if !slices.Contains(out, a.Domain) {
			out = append(out, a.Domain)
		}
	}
	return out
}

// invite makes the accounts where none were given, and the phones.
func (l *live) invite(ctx context.Context) error {
	l.guests.accounts = l.o.Accounts
	if len(l.o.Accounts) == 0 {
		if err := l.makeAccounts(ctx); err != nil {
			return err
		}
	}
	for i, a := range l.guests.accounts {
		conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.local, 0)))
		if err != nil {
			return fmt.Errorf("open a phone on %v: %w", l.local, err)
		}
		proxy := netip.AddrPortFrom(l.vips[i%len(l.vips)], sipPort)
		l.handsets.phones = append(l.handsets.phones, phone.NewPhone(phone.NewEndpoint(conn, &l.handsets.stats), a.User, a.Domain, a.Password, proxy))
	}
	return nil
}

func (l *live) makeAccounts(ctx context.Context) error {
	list, err := l.cluster.ListDomains(ctx)
	if err != nil {
		return err
	}
	for _, d := range list {
		if strings.HasPrefix(d.Name, guestPrefix) && strings.HasSuffix(d.Name, guestEnding) {
			l.warn("domain %s is there, of another drill, or of one that was killed: then `holdline domain remove %s` when its users are removed", d.Name, d.Name)
		}
	}
	domain := guestPrefix + strings.ToLower(rand.Text()[:10]) + guestEnding
	l.say("adding domain %s with %d users; both are removed at the end", domain, l.o.Phones)
	l.guests.temporary = domain // before: an answer that is lost may stand for a domain that is there
	if err := l.cluster.AddDomain(ctx, api.Domain{Name: domain}); err != nil {
		return err
	}
	for i := range l.o.Phones {
		a := Account{User: fmt.Sprintf("u%03d", i+1), Domain: domain, Password: rand.Text()}
		aor := a.User + "@" + a.Domain
		l.guests.added = append(l.guests.added, aor)
		if err := l.cluster.AddUser(ctx, api.UserRequest{AoR: aor, Password: a.Password}); err != nil {
			return err
		}
		l.guests.accounts = append(l.guests.accounts, a)
	}
	return nil
}

// unregister takes the phones' contacts back. One that gets no answer expires by itself, or goes with its user.
func (l *live) unregister(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), liveTidy/3)
	defer cancel()
	var all sync.WaitGroup
	for _, p := range l.handsets.phones {
		all.Go(func() { _, _ = p.Register(ctx, 0) })
	}
	all.Wait()
}

// tidy switches the phones off and removes what the drill has made, whatever has become of ctx.
func (l *live) tidy(ctx context.Context) error {
	errs := []error{l.handsets.close()}
	if l.guests.temporary == "" {
		return errors.Join(errs...)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), liveTidy)
	defer cancel()
	for _, aor := range l.guests.added {
		errs = append(errs, l.remove(ctx, func() error { return l.cluster.RemoveUser(ctx, aor) }))
	}
	err := l.remove(ctx, func() error { return l.cluster.RemoveDomain(ctx, l.guests.temporary) })
	if err = errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("not everything was removed: see `holdline user list` and `holdline domain remove %s`: %w", l.guests.temporary, err)
	}
	l.say("domain %s and its users are removed", l.guests.temporary)
	return nil
}

// remove tries until it is removed: the cluster may be without a leader for a moment.
func (l *live) remove(ctx context.Context, try func() error) error {
	for {
		err := try()
		var e *api.Error
		if err == nil || errors.As(err, &e) && e.Code == api.CodeNotFound {
			return nil
		}
		if sleep(ctx, time.Second) != nil {
			return err
		}
	}
}
