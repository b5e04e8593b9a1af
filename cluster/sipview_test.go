package cluster

import (
	"testing"

	"holdline/cluster/api"
)

// TestListedByAlias: listings take aliases of domains and users, and refuse what does not exist instead of showing nothing.
func TestListedByAlias(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	l.vip()
	n, ctx := l.nodes[0], t.Context()
	for _, err := range []error{
		n.AddDomain(ctx, api.Domain{Name: "example.com", Aliases: []string{"10.77.0.101"}}),
		n.AddUser(ctx, api.UserRequest{AoR: "alice@example.com", Password: "wonderland", Aliases: []string{"+4930123456"}}),
		register(n, "alice@example.com"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for f, want := range map[api.RegistrationFilter]int{
		{}: 1, {AoR: "alice@example.com"}: 1, {AoR: "alice@10.77.0.101"}: 1, {AoR: "+4930123456@10.77.0.101"}: 1, {Domain: "10.77.0.101"}: 1,
		{AoR: "bob@example.com"}: -1, {AoR: "alice@nope.example"}: -1, {Domain: "nope.example"}: -1,
	} {
		got, err := n.ListRegistrations(ctx, f)
		if want < 0 && api.CodeOf(err) != api.CodeNotFound || want >= 0 && (err != nil || got.Total != want) {
			t.Errorf("%+v: %d, %v", f, got.Total, err)
		}
	}
	for f, code := range map[api.CallFilter]string{{Domain: "10.77.0.101"}: "", {Domain: "nope.example"}: string(api.CodeNotFound)} {
		if _, err := n.ListCalls(ctx, f); err == nil && code != "" || err != nil && string(api.CodeOf(err)) != code {
			t.Errorf("calls of %+v: %v", f, err)
		}
	}
}
