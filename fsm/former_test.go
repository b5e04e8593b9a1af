package fsm

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdline/fsm/pb"
)

// bound is a contact as a phone registers it.
type bound struct {
	uri      string
	expires  uint32
	proto    pb.Transport
	from     string
	instance string
	regID    uint32
	path     []string
}

func (b bound) change() *pb.BindingChange {
	if b.from == "" {
		b.from = "192.0.2.7"
	}
	flow := Flow{Group: 1, Proto: b.proto, Remote: netip.AddrPortFrom(netip.MustParseAddr(b.from), 40000)}.PB()
	return &pb.BindingChange{ExpiresS: b.expires, Binding: &pb.Binding{
		Contact: "sip:" + b.uri, Flow: flow, Instance: b.instance, RegId: b.regID, Path: b.path, Q: 1000,
	}}
}

// TestFormerFlows: three contacts are the most here. For a fourth that goes which its phone plainly left behind; nothing else does.
func TestFormerFlows(t *testing.T) {
	const tcp, tls, udp, id = pb.Transport_TCP, pb.Transport_TLS, pb.Transport_UDP, "urn:uuid:0a"
	edge := []string{"<sip:edge;lr>"}
	other := bound{"z@10.0.0.9", 50, udp, "", "", 0, nil}
	for _, c := range []struct {
		say  string
		had  []bound
		now  []bound
		then string // "": refused
	}{
		{
			"connections, the first to expire goes",
			[]bound{{"a@10.0.0.5:1", 300, tcp, "", "", 0, nil}, {"a@10.0.0.5:2;transport=tcp", 100, tcp, "", "", 0, nil}, {"a@10.0.0.5:3", 200, tcp, "", "", 0, nil}},
			[]bound{{"a@10.0.0.5:4", 90, tcp, "", "", 0, nil}},
			"a@10.0.0.5:1/300 a@10.0.0.5:3/200 a@10.0.0.5:4/90",
		},
		{
			"of one moment the oldest",
			[]bound{{"a@10.0.0.5:1", 100, tcp, "", "", 0, nil}, {"a@10.0.0.5", 100, tls, "", "", 0, nil}, other},
			[]bound{{"a@10.0.0.5:4", 90, tls, "", "", 0, nil}},
			"a@10.0.0.5/100 z@10.0.0.9/50 a@10.0.0.5:4/90",
		},
		{
			"IPv6, the address written otherwise",
			[]bound{{"[2001:DB8::5]:1", 100, tcp, "::ffff:192.0.2.7", "", 0, nil}, other, {"b@h", 90, tcp, "", "", 0, nil}},
			[]bound{{"[2001:db8::5]:2", 90, tcp, "", "", 0, nil}},
			"z@10.0.0.9/50 b@h/90 [2001:db8::5]:2/90",
		},
		{
			"an instance, from anywhere, over whatever",
			[]bound{{"a@10.0.0.5:1", 300, udp, "", id, 0, nil}, {"b@h", 100, tcp, "198.51.100.1", strings.ToUpper(id), 0, edge}, other},
			[]bound{{"a@10.0.0.5:4", 90, udp, "", id, 0, nil}},
			"a@10.0.0.5:1/300 z@10.0.0.9/50 a@10.0.0.5:4/90",
		},
		{
			"as many as must",
			[]bound{{"a@10.0.0.5:1", 300, tcp, "", "", 0, nil}, {"a@10.0.0.5:2", 100, tcp, "", "", 0, nil}, {"a@10.0.0.5:3", 200, tcp, "", "", 0, nil}},
			[]bound{{"a@10.0.0.5:4", 60, tcp, "", "", 0, nil}, {"a@10.0.0.5:5", 60, tcp, "", "", 0, nil}},
			"a@10.0.0.5:1/300 a@10.0.0.5:4/60 a@10.0.0.5:5/60",
		},
		{
			"what it refreshes stays",
			[]bound{{"a@10.0.0.5:1", 60, tcp, "", "", 0, nil}, {"a@10.0.0.5:2", 100, tcp, "", "", 0, nil}, other},
			[]bound{{"a@10.0.0.5:1", 60, tcp, "", "", 0, nil}, {"a@10.0.0.5:3", 60, tcp, "", "", 0, nil}},
			"a@10.0.0.5:1/60 z@10.0.0.9/50 a@10.0.0.5:3/60",
		},
		{
			"too few",
			[]bound{{"a@10.0.0.5:1", 300, tcp, "", "", 0, nil}, {"b@10.0.0.5:2", 100, tcp, "", "", 0, nil}, other},
			[]bound{{"a@10.0.0.5:4", 60, tcp, "", "", 0, nil}, {"a@10.0.0.5:5", 60, tcp, "", "", 0, nil}},
			"",
		},
		{
			"other users, hosts, addresses, no connections, an edge's",
			[]bound{{"b@10.0.0.5:1", 100, tcp, "", "", 0, nil}, {"a@10.0.0.6:1", 100, tcp, "", "", 0, nil}, {"a@10.0.0.5:1", 100, tcp, "198.51.100.1", "", 0, nil}},
			[]bound{{"a@10.0.0.5:4", 90, tcp, "", "", 0, nil}},
			"",
		},
		{
			"datagrams, an edge's, an instance's",
			[]bound{{"a@10.0.0.5:1", 100, udp, "", "", 0, nil}, {"a@10.0.0.5:2", 100, tcp, "", "", 0, edge}, {"a@10.0.0.5:3", 100, tcp, "", id, 0, nil}},
			[]bound{{"a@10.0.0.5:4", 90, tcp, "", "", 0, nil}},
			"",
		},
		{
			"datagrams, and what came over connections",
			[]bound{{"a@10.0.0.5:1", 100, tcp, "", "", 0, nil}, {"a@10.0.0.5:2", 100, tls, "", "", 0, nil}, other},
			[]bound{{"a@10.0.0.5:4", 90, udp, "", "", 0, nil}},
			"",
		},
		{
			"another instance, a flow of the same, none",
			[]bound{{"a@10.0.0.5:1", 100, tcp, "", "urn:uuid:0b", 0, nil}, {"a@10.0.0.5:2", 100, tcp, "", id, 1, nil}, {"a@10.0.0.5:3", 100, tcp, "", "", 0, nil}},
			[]bound{{"a@10.0.0.5:4", 90, tcp, "", id, 0, nil}},
			"",
		},
		{
			"a flow leaves alone what has no reg-id",
			[]bound{{"a@10.0.0.5:1", 100, tcp, "", id, 0, nil}, {"a@10.0.0.5:2", 100, tcp, "", id, 1, nil}, other},
			[]bound{{"a@10.0.0.5:4", 90, tcp, "", id, 2, nil}},
			"",
		},
	} {
		t.Run(c.say, func(t *testing.T) {
			const aor = "user1@example.com"
			r := cluster(t)
			for i, b := range c.had {
				r.must(register(aor, fmt.Sprint("before", i), 1, "t", b.change()))
			}
			before := r.bindingsOf(aor)
			var changes []*pb.BindingChange
			for _, b := range c.now {
				changes = append(changes, b.change())
			}
			res := r.do(register(aor, "now", 1, "t", changes...))
			if c.then == "" {
				if res.Code != pb.Code_LIMIT {
					t.Errorf("%v %q", res.Code, res.Error)
				}
				c.then = before
			} else if res.Code != pb.Code_OK {
				t.Errorf("%v %q", res.Code, res.Error)
			}
			if got := r.bindingsOf(aor); got != c.then {
				t.Errorf("bound\n %s, want\n %s", got, c.then)
			}
			checkDerived(t, r.Machine)
		})
	}
}

// TestFormerFlowsAlone registers phones of all sorts over one AoR, over and over: nothing goes that the command does not name but what its own
// phone left behind, only as much as must, the first to expire first; a command is refused only when that is too little, and then changes nothing.
func TestFormerFlowsAlone(t *testing.T) {
	const aor = "user1@example.com"
	phones := []struct {
		bound
		leaves bool // plainly, when it comes from another port
	}{
		{bound{uri: "a@10.0.0.5", proto: pb.Transport_TCP}, true},
		{bound{uri: "b@10.0.0.5", proto: pb.Transport_TLS}, true},
		{bound{uri: "c@10.0.0.6", proto: pb.Transport_UDP, instance: "urn:uuid:0c"}, true},
		{bound{uri: "d@10.0.0.5", proto: pb.Transport_UDP}, false},
		{bound{uri: "e@10.0.0.5", proto: pb.Transport_TCP, path: []string{"<sip:edge;lr>"}}, false},
	}
	phoneOf := func(b Binding) int { return int(b.Contact[len("sip:")] - 'a') }
	rapid.Check(t, func(t *rapid.T) {
		r := cluster(t)
		for cseq := range rapid.IntRange(1, 60).Draw(t, "commands") {
			r.time += int64(rapid.IntRange(0, 3).Draw(t, "ms"))
			who := rapid.IntRange(0, len(phones)-1).Draw(t, "phone")
			ports := rapid.SliceOfNDistinct(rapid.IntRange(1, 9), 1, 2, rapid.ID).Draw(t, "ports")
			named, removed := map[string]bool{}, map[string]bool{}
			c := register(aor, fmt.Sprint("phone", who), uint32(cseq+1), fmt.Sprint("t", cseq))
			for _, port := range ports {
				b := phones[who].bound
				b.uri, b.expires = fmt.Sprint(b.uri, ":", port), rapid.SampledFrom([]uint32{0, 60, 90, 120}).Draw(t, "expires")
				named["sip:"+b.uri], removed["sip:"+b.uri] = true, b.expires == 0
				c.GetRegister().Changes = append(c.GetRegister().Changes, b.change())
			}
			c.GetRegister().MaxBindings = uint32(rapid.IntRange(2, 6).Draw(t, "most"))

			before := r.Bindings(aor, nil)
			size, own := 0, 0 // as it would be; of these, what could go
			for _, b := range before {
				if !named[b.Contact] {
					size++
					if phoneOf(b) == who && phones[who].leaves {
						own++
					}
				}
			}
			binds := 0
			for uri := range named {
				if !removed[uri] {
					binds++
				}
			}
			if size += binds; binds == 0 {
				own = 0
			}
			over := max(0, size-max(int(c.GetRegister().MaxBindings), len(before)))

			res := r.do(c)
			after := r.Bindings(aor, nil)
			if over > own {
				if res.Code != pb.Code_LIMIT || !slices.EqualFunc(before, after, func(a, b Binding) bool { return a.Contact == b.Contact && a.ExpiresMs == b.ExpiresMs }) {
					t.Fatalf("%v with %d too many of which %d may go", res.Code, over, own)
				}
				continue
			}
			if res.Code != pb.Code_OK || len(after) != size-over {
				t.Fatalf("%v, %d bound; %d were to be, %d too many of which %d may go", res.Code, len(after), size, over, own)
			}
			there := map[string]bool{}
			for _, b := range after {
				there[b.Contact] = true
			}
			for uri := range named {
				if there[uri] == removed[uri] {
					t.Fatalf("%s is bound: %v", uri, there[uri])
				}
			}
			latest, earliest := int64(0), int64(1<<62) // of what went, of what could have
			for _, b := range before {
				switch {
				case named[b.Contact]:
				case phoneOf(b) == who && there[b.Contact]:
					earliest = min(earliest, b.ExpiresMs)
				case phoneOf(b) == who:
					latest = max(latest, b.ExpiresMs)
				case !there[b.Contact]:
					t.Fatalf("%s went for phone %d", b.Contact, who)
				}
			}
			if latest > earliest {
				t.Fatalf("what expires at %d went before what does at %d", latest, earliest)
			}
			checkDerived(t, r.Machine)
		}
	})
}
