package resolve

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"holdline/fsm/pb"
)

const (
	maxRecords = 32 // of an answer: whose zone it is decides how many it has, and each message goes through them under a shard's lock
	maxRules   = 8  // of NAPTR, for transports that we speak
)

// answer is what a name has of one kind, as much as is used of it; without records it is a negative one, with err none at all: the
// servers failed. It is not changed once it is in the cache.
type answer struct {
	addrs []netip.Addr // of A and AAAA, in order: servers rotate them, and every node must begin with the same
	srv   []srv        // in order of compare, as weighted wants them
	naptr []naptr
	ttl   time.Duration
	err   error

	till time.Time // in the cache: it serves until then
	over time.Time // when its TTL was over; till is later when servers were silent. Zero with err
}

// srv is an SRV record; its target is in lower case and "." if the service is decidedly not available (RFC 2782).
type srv struct {
	priority, weight, port uint16
	target                 string
}

func (s srv) compare(o srv) int {
	return cmp.Or(cmp.Compare(s.priority, o.priority), cmp.Compare(s.weight, o.weight), cmp.Compare(s.target, o.target), cmp.Compare(s.port, o.port))
}

// naptr is a NAPTR record that names a transport of ours, and where its SRV records are.
type naptr struct {
	order, preference uint16
	proto             pb.Transport
	name              string
}

// read takes the records that answer the question, through aliases, and how long they may be kept.
func read(in *dns.Msg, name string, kind uint16) *answer {
	a := &answer{ttl: maxTTL}
	found := false
	for range maxAliases {
		alias := ""
		for _, rr := range in.Answer {
			h := rr.Header()
			if !strings.EqualFold(h.Name, name) {
				continue
			}
			if cname, ok := rr.(*dns.CNAME); ok && kind != dns.TypeCNAME {
				alias = cname.Target
				a.ttl = min(a.ttl, time.Duration(h.Ttl)*time.Second)
			}
			if h.Rrtype == kind {
				found = true
				a.add(rr)
				a.ttl = min(a.ttl, time.Duration(h.Ttl)*time.Second)
			}
		}
		if found || alias == "" {
			break
		}
		name = alias
	}
	a.settle()
	if found {
		a.ttl = clamp(a.ttl, minTTL, maxTTL)
		return a
	}
	a.ttl = minNegative // RFC 2308 §5
	for _, rr := range in.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			a.ttl = clamp(time.Duration(min(soa.Minttl, soa.Hdr.Ttl))*time.Second, minNegative, maxNegative)
		}
	}
	return a
}

// add takes what is used of a record.
func (a *answer) add(rr dns.RR) {
	switch rr := rr.(type) {
	case *dns.A:
		a.addAddr(rr.A)
	case *dns.AAAA:
		a.addAddr(rr.AAAA)
	case *dns.SRV:
		a.srv = append(a.srv, srv{rr.Priority, rr.Weight, rr.Port, canonical(rr.Target)})
	case *dns.NAPTR:
		for _, s := range transports() {
			if strings.EqualFold(rr.Flags, "s") && strings.EqualFold(rr.Service, s.naptr) {
				a.naptr = append(a.naptr, naptr{rr.Order, rr.Preference, s.proto, canonical(rr.Replacement)})
			}
		}
	}
}

func (a *answer) addAddr(b []byte) {
	if addr, ok := netip.AddrFromSlice(b); ok {
		a.addrs = append(a.addrs, addr.Unmap())
	}
}

func canonical(name string) string { return dns.Fqdn(strings.ToLower(name)) }

// settle brings the records in order and lets go of those that are too many: the same on every node, whatever order they came in.
func (a *answer) settle() {
	slices.SortFunc(a.addrs, netip.Addr.Compare)
	a.addrs = first(a.addrs, maxRecords)
	if len(a.srv) > maxRecords { // the heavy ones of a priority stay
		slices.SortFunc(a.srv, func(a, b srv) int {
			return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(b.weight, a.weight), a.compare(b))
		})
		a.srv = first(a.srv, maxRecords)
	}
	slices.SortFunc(a.srv, srv.compare)
	slices.SortFunc(a.naptr, func(a, b naptr) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.preference, b.preference), cmp.Compare(a.proto, b.proto), cmp.Compare(a.name, b.name))
	})
	a.naptr = first(a.naptr, maxRules)
}

// first returns at most n of a list, and no more memory than they need.
func first[T any](list []T, n int) []T { return slices.Clone(list[:min(len(list), n)]) }

// size is roughly what an answer takes in the cache, in bytes.
func (a *answer) size(q question) int {
	n := 300 + len(q.name) + 24*len(a.addrs)
	for _, s := range a.srv {
		n += 24 + len(s.target)
	}
	for _, r := range a.naptr {
		n += 24 + len(r.name)
	}
	return n
}
