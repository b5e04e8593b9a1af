package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"holdline/cluster/api"
	"holdline/deploy/lab"
)

// liveFlags are those of `drill --live`.
type liveFlags struct {
	live     bool
	node     string
	accounts string
	local    string
	wait     time.Duration
}

// Flags that mean something with --live alone, and those that mean something without it alone.
var (
	onlyLive = []string{"node", "accounts", "local", "wait"}
	onlyLab  = []string{"nodes", "fault", "repeat", "suite", "soak", "transport", "keep"}
)

func (f *liveFlags) add(fs *pflag.FlagSet) {
	fs.BoolVar(&f.live, "live", false, "on the real boxes: guide the operator through it")
	fs.StringVar(&f.node, "node", "", "live: whose cable is pulled (default: the leader, if it owns a VIP and is not this machine)")
	fs.StringVar(&f.accounts, "accounts", "", "live: file with a `user@domain password` a line for the test phones (default: users made for the drill)")
	fs.StringVar(&f.local, "local", "", "live: address of this machine that the test phones use")
	fs.DurationVar(&f.wait, "wait", 10*time.Minute, "live: how long to wait for the cable to be pulled, and to be plugged in again")
}

// check refuses flags that would be passed over.
func (f *liveFlags) check(fs *pflag.FlagSet) error {
	wrong, what := onlyLive, "without"
	if f.live {
		wrong, what = onlyLab, "with"
	}
	for _, name := range wrong {
		if fs.Changed(name) {
			return &usageError{fmt.Sprintf("--%s means nothing %s --live", name, what)}
		}
	}
	return nil
}

// drillLive is `drill --live`. o has the flags that it shares with the lab's drill; those that were not given have defaults of their own.
func (a *app) drillLive(c *cobra.Command, f liveFlags, o lab.Options) (rep lab.Report, err error) {
	l := lab.LiveOptions{Node: f.node, Wait: f.wait, Seed: o.Seed}
	for name, set := range map[string]func(){
		"calls": func() { l.Calls = o.Calls }, "cps": func() { l.CPS = o.CPS }, "phones": func() { l.Phones = o.Phones },
	} {
		if c.Flags().Changed(name) {
			set()
		}
	}
	if f.local != "" {
		if l.Local, err = netip.ParseAddr(f.local); err != nil || !l.Local.Is4() {
			return rep, &usageError{fmt.Sprintf("--local: %q is no IPv4 address", f.local)}
		}
	}
	if f.accounts != "" {
		if l.Accounts, err = readAccounts(f.accounts); err != nil {
			return rep, err
		}
	}
	err = a.with(c, func(ctx context.Context, cl *api.Client) error {
		rep, err = lab.Live(ctx, l, cl, a.out)
		return err
	})
	return rep, err
}

// readAccounts reads a file of accounts; blank lines and those that begin with # do not count.
func readAccounts(path string) (out []lab.Account, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the accounts: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		aor, password, ok := strings.Cut(line, " ")
		user, domain, named := strings.Cut(aor, "@")
		account := lab.Account{User: user, Domain: domain, Password: strings.TrimSpace(password)}
		if !ok || !named || user == "" || domain == "" || account.Password == "" {
			return nil, fmt.Errorf("read the accounts: %s:%d: write `user@domain password`", path, n)
		}
		if slices.ContainsFunc(out, func(a lab.Account) bool { return a.User == user && a.Domain == domain }) {
			return nil, fmt.Errorf("read the accounts: %s:%d: %s is there already", path, n, aor)
		}
		out = append(out, account)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the accounts: %w", err)
	}
	return out, nil
}
