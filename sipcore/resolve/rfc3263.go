package resolve

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"holdline/fsm/pb"
)

// service is a transport as NAPTR and SRV name it (RFC 3263 §4.1, RFC 7118 §7).
type service struct {
	proto  pb.Transport
	naptr  string
	prefix string
}

func transports() [3]service {
	return [...]service{
		{pb.Transport_UDP, "SIP+D2U", "_sip._udp."},
		{pb.Transport_TCP, "SIP+D2T", "_sip._tcp."},
		{pb.Transport_TLS, "SIPS+D2T", "_sips._tcp."},
	}
}

// find goes the way of RFC 3263 §4: the transport from NAPTR, the port from SRV, unless the URI has them. What cannot be had, or is not
// known yet, is passed over; there is an error only when nothing was found.
func find(q Query, p *pass) ([]Target, error) {
	name := canonical(q.Host)
	if q.SIPS {
		q.Proto, q.Fixed = pb.Transport_TLS, true
	}
	if q.Port != 0 {
		return addresses(q, name, q.Port, q.Proto, p)
	}
	var failure error
	if !q.Fixed {
		t, found, err := byNAPTR(q, name, p)
		if found {
			return t, err
		}
		failure = err
	}
	services := false // some are there, or may be there
	for _, s := range transports() {
		if q.Fixed && s.proto != q.Proto {
			continue
		}
		t, found, err := bySRV(q, s.prefix+name, s.proto, p)
		if len(t) > 0 {
			return t, nil
		}
		services, failure = services || found, graver(failure, err)
	}
	if services { // whatever is at the name itself need not be SIP
		return nil, failure
	}
	t, err := addresses(q, name, defaultPort(q.Proto), q.Proto, p)
	if len(t) > 0 {
		return t, nil
	}
	return nil, graver(failure, err)
}

// graver is the first of two errors that says more than that there is nothing.
func graver(a, b error) error {
	if a == nil || a == ErrNone && b != nil {
		return b
	}
	return a
}

func defaultPort(p pb.Transport) uint16 {
	switch p {
	case pb.Transport_TLS:
		return 5061
	case pb.Transport_WS:
		return 80
	case pb.Transport_WSS:
		return 443
	}
	return 5060
}

// byNAPTR follows the domain's own order of transports. found is false if no rule leads to SRV records, or the rules cannot be had.
func byNAPTR(q Query, name string, p *pass) (out []Target, found bool, failure error) {
	a, err := p.ask(name, dns.TypeNAPTR)
	if err != nil {
		return nil, false, err
	}
	for _, rule := range a.naptr {
		t, has, err := bySRV(q, rule.name, rule.proto, p)
		found, failure = found || has, graver(failure, err)
		if out = append(out, t...); len(out) >= maxTargets {
			return out[:maxTargets], true, nil
		}
	}
	if len(out) > 0 {
		return out, true, nil
	}
	return nil, found, failure
}

// bySRV finds the addresses of a service, by priority and weight. found is false if there are no SRV records for certain.
func bySRV(q Query, name string, proto pb.Transport, p *pass) (out []Target, found bool, failure error) {
	a, err := p.ask(name, dns.TypeSRV)
	if err != nil {
		return nil, true, err
	}
	if len(a.srv) == 0 {
		return nil, false, nil
	}
	if len(a.srv) == 1 && a.srv[0].target == "." {
		return nil, true, ErrNone // RFC 2782: the service is decidedly not available
	}
	for _, s := range weighted(a.srv, q.Seed) {
		t, err := addresses(q, s.target, s.port, proto, p)
		failure = graver(failure, err)
		if out = append(out, t...); len(out) >= maxTargets {
			return out[:maxTargets], true, nil
		}
	}
	if len(out) > 0 {
		return out, true, nil
	}
	return nil, true, failure
}

// weighted orders SRV records as RFC 2782 says: by priority, within one by chance in proportion to the weights. The chance
// follows from seed. It runs under a shard's lock and its time grows with the square of the list, which maxRecords bounds.
func weighted(list []srv, seed uint64) []srv {
	list = slices.Clone(list)
	chance := rand.New(rand.NewPCG(seed, 0))
	for i := range list {
		sum, end := 0, i
		for end < len(list) && list[end].priority == list[i].priority {
			sum += int(list[end].weight)
			end++
		}
		pick, n := i, chance.IntN(sum+1)
		for n -= int(list[pick].weight); n > 0 && pick+1 < end; n -= int(list[pick].weight) {
			pick++
		}
		chosen := list[pick]
		copy(list[i+1:pick+1], list[i:pick])
		list[i] = chosen
	}
	return list
}

// addresses finds a host's addresses of the VIP's family.
func addresses(q Query, name string, port uint16, proto pb.Transport, p *pass) ([]Target, error) {
	kind := dns.TypeA
	if q.Six {
		kind = dns.TypeAAAA
	}
	a, err := p.ask(name, kind)
	if err != nil {
		return nil, err
	}
	if len(a.addrs) == 0 {
		return nil, ErrNone
	}
	var out []Target
	for _, addr := range a.addrs[:min(len(a.addrs), maxTargets)] {
		out = append(out, Target{netip.AddrPortFrom(addr, port), proto})
	}
	return out, nil
}
