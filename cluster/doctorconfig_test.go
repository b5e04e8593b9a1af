package cluster

import (
	"slices"
	"testing"

	"holdline/cluster/api"
)

// TestConfigChecks: what doctor says of a configuration whose parts do not fit.
func TestConfigChecks(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	n, ctx := l.nodes[0], t.Context()
	must := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	vip := func(g api.GroupSpec) error { _, err := n.AddVIP(ctx, g); return err }
	said := func(want ...string) {
		t.Helper()
		var got []string
		checks, err := n.doctorConfig(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range checks {
			got = append(got, c.Result+" "+c.Name+": "+c.Detail+" -> "+c.Advice)
		}
		if !slices.Equal(got, want) {
			t.Errorf("doctor says %q\nwant %q", got, want)
		}
	}
	must(vip(api.GroupSpec{VIPs: []api.VIP{{Prefix: "10.77.0.101/24"}}}), n.AddDomain(ctx, api.Domain{Name: "example.com"}))
	said() // all go by the name
	must(n.AddAlias(ctx, "example.com", "10.77.0.101"))
	said()
	must(vip(api.GroupSpec{VIPs: []api.VIP{{Prefix: "10.77.0.102/24"}, {Prefix: "10.77.1.102/24", Advertise: "203.0.113.2"}}}))
	inner := "warn VIP 10.77.0.102: no domain has it as an alias, as others have: calls to it by address get 404 -> holdline domain alias add example.com 10.77.0.102"
	said(inner, "warn VIP 203.0.113.2: no domain has it as an alias, as others have: calls to it by address get 404 -> holdline domain alias add example.com 203.0.113.2")
	must(n.AddAlias(ctx, "example.com", "203.0.113.2"))
	said(inner)
	must(n.AddAlias(ctx, "example.com", "10.77.0.102"))
	said()
	must(n.AddPool(ctx, api.Pool{Name: "carriers"}), n.AddRoute(ctx, api.Route{Domain: "example.com", Prefix: "0", Pool: "carriers"}))
	said("warn route of example.com to '0…': pool carriers has no members: such calls get 503 -> holdline pool member add carriers")
	on, off := false, true
	must(n.AddMember(ctx, "carriers", api.Member{Name: "gw1", Address: "192.0.2.1"}))
	said()
	must(n.SetMember(ctx, "carriers", "gw1", api.MemberChange{Disabled: &off}))
	said("warn route of example.com to '0…': all members of pool carriers are disabled: such calls get 503 -> holdline pool member set carriers NAME --disabled=false")
	must(n.SetMember(ctx, "carriers", "gw1", api.MemberChange{Disabled: &on}))
	said()
}
