package fsm

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"holdline/fsm/pb"
)

// rotation is where a pool's turn is. It is replicated: the next call gets the next member, whichever node asks.
type rotation struct {
	cursor  uint64
	current map[string]int64 // weighted: smooth weighted round-robin
}

func (r *rotation) clone() *rotation { return &rotation{r.cursor, maps.Clone(r.current)} }

// choose orders a pool's members for a call, the first to be tried first, without those that are full or disabled, and moves the pool's turn on.
// Those to avoid come last and don't get the turn, unless there are no others.
func (t *callTable) choose(p *Pool, callID string, avoid []string) []*pb.Member {
	free := make([]*pb.Member, 0, len(p.Members))
	var last []*pb.Member
	for _, m := range p.Members {
		switch {
		case m.Disabled, !t.hasRoom(m):
		case slices.Contains(avoid, m.Name):
			last = append(last, m)
		default:
			free = append(free, m)
		}
	}
	if len(free) == 0 {
		free, last = last, nil
	}
	if len(free) == 0 {
		return nil
	}
	r := t.rotation[p.Name]
	if r == nil {
		r = &rotation{}
		t.rotation[p.Name] = r
	}
	switch p.Algorithm {
	case LeastCalls:
		first := int(r.cursor % uint64(len(free)))
		free = append(free[first:len(free):len(free)], free[:first]...) // equals take turns
		slices.SortStableFunc(free, func(a, b *pb.Member) int { return t.load(a) - t.load(b) })
		r.cursor++
	case Weighted:
		first := r.weigh(free)
		free = append(free[first:len(free):len(free)], free[:first]...)
	case ByHash:
		score := make(map[string]uint64, len(free)) // rendezvous: a member that goes moves only its own calls
		for _, m := range free {
			score[m.Name] = xxhash.Sum64String(m.Name + "\x00" + callID)
		}
		slices.SortStableFunc(free, func(a, b *pb.Member) int {
			if score[a.Name] > score[b.Name] {
				return -1
			}
			return 1
		})
	default: // RoundRobin
		free = rotate(free, r.next(p, free))
	}
	return append(free, last...)
}

// next gives the turn to the next member that is free: others are passed over, and the one after them does not get it twice.
func (r *rotation) next(p *Pool, free []*pb.Member) *pb.Member {
	n := uint64(len(p.Members))
	for range n {
		m := p.Members[r.cursor%n]
		r.cursor++
		if slices.Contains(free, m) {
			return m
		}
	}
	return free[0]
}

func rotate(list []*pb.Member, first *pb.Member) []*pb.Member {
	i := max(slices.Index(list, first), 0)
	return append(list[i:len(list):len(list)], list[:i]...)
}

// weigh picks by smooth weighted round-robin: each gains its weight, the highest pays the sum.
func (r *rotation) weigh(free []*pb.Member) int {
	if r.current == nil {
		r.current = map[string]int64{}
	}
	best, sum := 0, int64(0)
	for i, m := range free {
		sum += int64(m.Weight)
		r.current[m.Name] += int64(m.Weight)
		if r.current[m.Name] > r.current[free[best].Name] {
			best = i
		}
	}
	r.current[free[best].Name] -= sum
	return best
}

// load is a member's active calls in relation to its weight.
func (t *callTable) load(m *pb.Member) int {
	return t.byMember[memberKey{m.Pool, m.Name}] * maxWeight / int(max(m.Weight, 1))
}

func (t *callTable) hasRoom(m *pb.Member) bool {
	return m.MaxCalls == 0 || t.byMember[memberKey{m.Pool, m.Name}] < int(m.MaxCalls)
}

// memberTarget is where a call goes through this member.
func (c *conf) memberTarget(m *pb.Member, user string, home, homeVIP uint32) *pb.Target {
	t := &pb.Target{Pool: m.Pool, Member: m.Name}
	var uri strings.Builder
	uri.WriteString("sip:")
	if user != "" {
		uri.WriteString(user + "@")
	}
	uri.WriteString(uriHost(m.Address))
	if m.Transport != "udp" {
		uri.WriteString(";transport=" + m.Transport)
	}
	t.Uri = uri.String()
	f := c.MemberFlow(m, home, uint8(homeVIP))
	_, f.Remote = MemberHost(m)
	t.Flow = f.PB()
	return t
}

// MemberHost is where a member is called: its host in lower case, an IPv6 address without brackets, and, if it is an address, at with the port; else at is not valid.
func MemberHost(m *pb.Member) (host string, at netip.AddrPort) {
	host, port, _ := splitHostPort(m.Address)
	a, err := netip.ParseAddr(host)
	if err != nil {
		return strings.TrimSuffix(host, "."), at
	}
	switch {
	case port != 0:
	case m.Transport == "tls":
		port = defaultsPort
	default:
		port = defaultPort
	}
	a = a.Unmap()
	return a.String(), netip.AddrPortFrom(a, port)
}

// MemberFlow is how a gateway is called in a call of the group home that came in on its address homeVIP: from which address of which group, and
// by which transport. Of several the one is taken that the operator has named; else one in the gateway's network, and if there is none the call's own,
// or the first, of the gateway's family. Where a gateway's name leads is not known here.
func (c *Config) MemberFlow(m *pb.Member, home uint32, homeVIP uint8) Flow {
	f := Flow{Group: home, VIP: homeVIP, Proto: protoOf(m.Transport)}
	if m.Group != 0 && m.Group != home {
		f.Group, f.VIP = m.Group, 0
	}
	if g := c.Group(f.Group); len(g.GetVips()) > 1 {
		f.VIP = memberVIP(g, m, f.VIP)
	}
	return f
}

func memberVIP(g *pb.Group, m *pb.Member, given uint8) uint8 {
	_, at := MemberHost(m)
	best, rank := given, 0
	for i, v := range g.Vips {
		p, bad := netip.ParsePrefix(v.Prefix)
		if bad != nil {
			continue
		}
		n := 0
		switch {
		case m.Vip != "" && p.Addr().String() == m.Vip:
			n = 5
		case !at.IsValid():
		case p.Contains(at.Addr()):
			n = 3
		case p.Addr().Is4() == at.Addr().Is4():
			n = 1
		}
		if n > 0 && uint8(i) == given {
			n++
		}
		if n > rank {
			best, rank = uint8(i), n
		}
	}
	return best
}

// uriHost is a member's address as a URI writes it: a bare IPv6 address gets its brackets.
func uriHost(address string) string {
	if a, err := netip.ParseAddr(address); err == nil && a.Is6() {
		return "[" + address + "]"
	}
	return address
}

func protoOf(transport string) pb.Transport {
	switch transport {
	case "tcp":
		return pb.Transport_TCP
	case "tls":
		return pb.Transport_TLS
	default:
		return pb.Transport_UDP
	}
}
