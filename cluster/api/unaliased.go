package api

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// Unaliased are the addresses of VIPs, as messages name them, that no domain has as an alias, where some domain has such: phones and gateways then call
// by address, and to those in vain. domain is one that has. Where all go by names no alias is needed.
func Unaliased(domains []Domain, groups []Group) (domain string, bare []string) {
	have := map[netip.Addr]bool{}
	for _, d := range domains {
		for _, name := range append(slices.Clone(d.Aliases), d.Name) {
			if a, err := netip.ParseAddr(name); err == nil {
				domain, have[a] = d.Name, true
			}
		}
	}
	if domain == "" {
		return "", nil
	}
	for _, g := range groups {
		for _, v := range g.VIPs {
			host, _, _ := strings.Cut(cmp.Or(v.Advertise, v.Prefix), "/")
			if a, err := netip.ParseAddr(host); err == nil && !have[a] {
				bare = append(bare, a.String())
			}
		}
	}
	return domain, bare
}
