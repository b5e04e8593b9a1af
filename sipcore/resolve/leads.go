package resolve

import (
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// Leads reports whether a host's name is known to lead to an address, itself or by one of its services, or did lately. Nobody is asked.
func (r *Resolver) Leads(host string, addr netip.Addr) bool {
	addr = addr.Unmap()
	kind := dns.TypeAAAA
	if addr.Is4() {
		kind = dns.TypeA
	}
	p := &pass{r: r, old: true}
	at := func(name string) bool {
		a, err := p.ask(name, kind)
		return err == nil && slices.Contains(a.addrs, addr)
	}
	name := canonical(host)
	if at(name) {
		return true
	}
	for _, s := range transports() {
		a, err := p.ask(s.prefix+name, dns.TypeSRV)
		if err == nil && slices.ContainsFunc(a.srv, func(s srv) bool { return at(s.target) }) {
			return true
		}
	}
	return false
}
