package proxy

import (
	"maps"
	"net/netip"
	"slices"

	"holdline/fsm"
)

// GatewayNames are the hosts by which the gateways at an address are called: those that are called there, those whose requests may come from there, and
// those whose name leads there, of which leads knows. Such a host is what their certificates are for (RFC 5922 §4), while what they write into Contact and
// Record-Route is often a bare address.
//
// One that is called over TLS by this very address comes first. Then come names, those that are called over TLS before others: a server may refuse
// a name that is not its own.
func (v *View) GatewayNames(addr netip.Addr, leads func(host string, addr netip.Addr) bool) []string {
	addr = addr.Unmap()
	var same, named, others, literal []string
	sources, pools := v.sources(addr), v.Config.Pools()
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		for _, m := range pools[name].Members {
			host, at := fsm.MemberHost(m)
			tls, there := m.Transport == "tls", at.Addr() == addr
			switch {
			case !there && !slices.Contains(sources, m) && (at.IsValid() || !leads(host, addr)):
			case there && tls:
				same = append(same, host)
			case at.IsValid():
				literal = append(literal, host)
			case tls:
				named = append(named, host)
			default:
				others = append(others, host)
			}
		}
	}
	var out []string
	for _, host := range slices.Concat(same, named, others, literal) {
		if !slices.Contains(out, host) {
			out = append(out, host)
		}
	}
	return out
}
