package cluster

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/fsm/pb"
)

// configChecks tells what of the configuration works against its purpose: each change by itself was right.
func configChecks(cfg *fsm.Config) []api.Check {
	return append(aliasChecks(cfg), routeChecks(cfg)...)
}

// aliasChecks tells of VIPs that no domain has as an alias, if other VIPs are: phones and gateways then call by address, and to the one that was left
// out in vain. Where all go by names no alias is needed.
func aliasChecks(cfg *fsm.Config) []api.Check {
	var bare []string
	named := ""
	for _, g := range cfg.Groups() {
		for _, v := range g.Vips {
			for _, text := range []string{v.Prefix, v.Advertise} {
				host, _, _ := strings.Cut(text, "/")
				a, err := netip.ParseAddr(host)
				if err != nil {
					continue
				}
				if d := cfg.Domain(a.String()); d != nil {
					named = d.Name
				} else if text == v.Prefix && v.Advertise == "" || text == v.Advertise {
					bare = append(bare, a.String())
				}
			}
		}
	}
	if named == "" {
		return nil
	}
	var out []api.Check
	for _, a := range bare {
		out = append(out, api.Check{
			Name: "VIP " + a, Result: api.CheckWarn, Detail: "no domain has it as an alias, as others have: calls to it by address get 404",
			Advice: fmt.Sprintf("holdline domain alias add %s %s", named, a),
		})
	}
	return out
}

// routeChecks tells of routes that lead to no gateway.
func routeChecks(cfg *fsm.Config) []api.Check {
	var out []api.Check
	cfg.Routes(func(r *pb.Route) bool {
		p := cfg.Pool(r.Pool)
		if p == nil || slices.ContainsFunc(p.Members, func(m *pb.Member) bool { return !m.Disabled }) {
			return true
		}
		c := api.Check{Name: fmt.Sprintf("route of %s to '%s…'", r.Domain, r.Prefix), Result: api.CheckWarn}
		if c.Detail, c.Advice = "pool "+r.Pool+" has no members: such calls get 503", "holdline pool member add "+r.Pool; len(p.Members) > 0 {
			c.Detail, c.Advice = "all members of pool "+r.Pool+" are disabled: such calls get 503", "holdline pool member set "+r.Pool+" NAME --disabled=false"
		}
		out = append(out, c)
		return true
	})
	slices.SortFunc(out, func(a, b api.Check) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
