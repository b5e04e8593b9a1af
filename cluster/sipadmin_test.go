package cluster

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"holdline/cluster/api"
)

// Changes of one domain's aliases on all nodes at once: each that was acknowledged holds.
func TestAliasesAtOnce(t *testing.T) {
	l := newLab(t, 3).formed()
	if err := l.nodes[0].AddDomain(t.Context(), api.Domain{Name: "example.com", Aliases: []string{"old0.example", "old1.example", "old2.example"}}); err != nil {
		t.Fatal(err)
	}
	want := []string{}
	var wg sync.WaitGroup
	for i, n := range l.nodes {
		for k := range 4 {
			alias := fmt.Sprintf("n%d-%d.example", i, k)
			want = append(want, alias)
			wg.Go(func() {
				if err := n.AddAlias(t.Context(), "example.com", alias); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			if err := n.RemoveAlias(t.Context(), "example.com", fmt.Sprintf("old%d.example", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, n := range l.nodes {
		e := n.engine.Load()
		if err := e.ReadIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(slices.Values(e.machine.Config().Domain("example.com").Aliases)); !slices.Equal(got, want) {
			t.Errorf("n%d: %v, want %v", i+1, got, want)
		}
	}
}

// Changes of one user's aliases on all nodes at once: each that was acknowledged holds, and of several users who want one name one gets it.
func TestUserAliasesAtOnce(t *testing.T) {
	l := newLab(t, 3).formed()
	ctx := t.Context()
	if err := l.nodes[0].AddDomain(ctx, api.Domain{Name: "example.com"}); err != nil {
		t.Fatal(err)
	}
	for i := range l.nodes {
		if err := l.nodes[0].AddUser(ctx, api.UserRequest{AoR: fmt.Sprintf("10%d@example.com", i), Password: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	var want []string
	var wg sync.WaitGroup
	var got atomic.Int32
	for i, n := range l.nodes {
		for k := range 4 {
			alias := fmt.Sprintf("+49%d%d", i, k)
			want = append(want, alias)
			wg.Go(func() {
				if err := n.ChangeUser(ctx, "100@example.com", api.UserChange{AddAliases: []string{alias}}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			switch err := n.ChangeUser(ctx, fmt.Sprintf("10%d@example.com", i), api.UserChange{AddAliases: []string{"alice"}}); {
			case err == nil:
				got.Add(1)
			case api.CodeOf(err) != api.CodeExists || !strings.Contains(err.Error(), "alice@example.com is an alias of user 10"):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got.Load() != 1 {
		t.Errorf("%d users have one name", got.Load())
	}
	for i, n := range l.nodes {
		if err := n.engine.Load().ReadIndex(ctx); err != nil {
			t.Fatal(err)
		}
		users, err := n.ListUsers(ctx, api.UserFilter{})
		if err != nil || len(users) != 3 {
			t.Fatal(users, err)
		}
		aliases := slices.DeleteFunc(slices.Sorted(slices.Values(users[0].Aliases)), func(a string) bool { return a == "alice" })
		if !slices.Equal(aliases, want) {
			t.Errorf("n%d: %v, want %v", i+1, aliases, want)
		}
	}
	alias := l.nodes[0].SetPassword(ctx, api.UserRequest{AoR: "+4900@example.com", Password: "x"})
	if api.CodeOf(alias) != api.CodeNotFound || alias.Error() != "+4900@example.com is an alias: name the user himself, 100@example.com" {
		t.Errorf("the password of an alias: %v", alias)
	}
}

// Of several who add the same domain at once one has, and its aliases stand; the others are told.
func TestDomainAddedTwiceAtOnce(t *testing.T) {
	l := newLab(t, 3).formed()
	var wg sync.WaitGroup
	var added atomic.Pointer[string]
	for i, n := range l.nodes {
		wg.Go(func() {
			alias := fmt.Sprintf("n%d.example", i)
			switch err := n.AddDomain(t.Context(), api.Domain{Name: "example.com", Aliases: []string{alias}}); {
			case err == nil && added.Swap(&alias) != nil:
				t.Error("it was added twice")
			case err != nil && api.CodeOf(err) != api.CodeExists:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	e := l.nodes[0].engine.Load()
	if err := e.ReadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := e.machine.Config().Domain("example.com"); added.Load() == nil || !slices.Equal(d.GetAliases(), []string{*added.Load()}) {
		t.Errorf("%v", d)
	}
}

// A gateway can be called through one address of a group on several networks; a backup keeps that where the group has the address.
func TestMemberFrom(t *testing.T) {
	border := func(outside string) *Node {
		l := newLab(t, 1)
		l.init()
		group := api.GroupSpec{Name: "border", VIPs: []api.VIP{{Prefix: "10.77.0.105/24"}, {Prefix: outside, Advertise: "203.0.113.5"}}}
		if _, err := l.nodes[0].AddVIP(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		return l.nodes[0]
	}
	through := func(n *Node) (got []string) {
		pools, err := n.ListPools(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range pools[0].Members {
			got = append(got, m.Group)
		}
		return got
	}
	n, ctx := border("192.0.2.5/26"), t.Context()
	if err := n.AddPool(ctx, api.Pool{Name: "carriers"}); err != nil {
		t.Fatal(err)
	}
	for i, group := range []string{"border", "192.0.2.5", "203.0.113.5", "10.77.0.105", ""} {
		if err := n.AddMember(ctx, "carriers", api.Member{Name: fmt.Sprint("gw", i), Address: "198.51.100.9", Group: group}); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.AddMember(ctx, "carriers", api.Member{Name: "six", Address: "2001:db8::9", Group: "border"}); api.CodeOf(err) != api.CodeInvalid {
		t.Errorf("an IPv6 gateway through IPv4 addresses: %v", err)
	}
	want := []string{"border", "192.0.2.5", "192.0.2.5", "10.77.0.105", ""}
	if got := through(n); !slices.Equal(got, want) {
		t.Errorf("through %q, want %q", got, want)
	}
	var file bytes.Buffer
	if err := n.Backup(ctx, &file); err != nil {
		t.Fatal(err)
	}
	for outside, c := range map[string]struct {
		want  []string
		notes int
	}{
		"192.0.2.5/26": {want, 0},
		"192.0.2.6/26": {[]string{"border", "border", "border", "10.77.0.105", ""}, 2},
	} {
		n := border(outside)
		ans, err := n.Restore(ctx, bytes.NewReader(file.Bytes()), api.RestoreRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if got := through(n); !slices.Equal(got, c.want) || len(ans.Notes) != c.notes {
			t.Errorf("restored where it is %s: through %q, want %q; %q", outside, got, c.want, ans.Notes)
		}
	}
}
