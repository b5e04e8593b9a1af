package main

import (
	"net/netip"
	"strings"

	"holdline/cluster/api"
)

// groupsOf turns --vip A,B … and --advertise A=PUBLIC … into groups: one per --vip.
func groupsOf(vips, advertise []string) ([]api.GroupSpec, error) {
	public := map[netip.Addr]string{}
	for _, s := range advertise {
		inside, outside, ok := strings.Cut(s, "=")
		a, err := netip.ParseAddr(strings.TrimSpace(inside))
		if !ok || err != nil {
			return nil, &usageError{"--advertise " + s + " is not VIP=PUBLIC: write it as 10.77.0.101=203.0.113.9"}
		}
		public[a] = strings.TrimSpace(outside)
	}
	groups := make([]api.GroupSpec, 0, len(vips))
	for _, s := range vips {
		var g api.GroupSpec
		for part := range strings.SplitSeq(s, ",") {
			p, err := api.ParseVIP(strings.TrimSpace(part))
			if err != nil {
				return nil, err
			}
			g.VIPs = append(g.VIPs, api.VIP{Prefix: p.String(), Advertise: public[p.Addr()]})
			delete(public, p.Addr())
		}
		groups = append(groups, g)
	}
	for a := range public {
		return nil, &usageError{"--advertise names " + a.String() + ", which is no --vip here: name one of the VIPs"}
	}
	return groups, nil
}

// addresses shows what moves as one.
func addresses(vips []api.VIP) string {
	parts := make([]string, len(vips))
	for i, v := range vips {
		parts[i] = v.Prefix
		if v.Advertise != "" {
			parts[i] += " as " + v.Advertise
		}
	}
	return strings.Join(parts, " + ")
}
