package fsm

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"holdline/fsm/pb"
)

// TestMemberFlow: which address of a group on several networks a gateway is called from.
func TestMemberFlow(t *testing.T) {
	m := newReplica(t)
	group := func(vips ...string) uint32 {
		g := &pb.Group{}
		for _, v := range vips {
			g.Vips = append(g.Vips, &pb.Vip{Prefix: v})
		}
		return uint32(m.must(cmd(&pb.PutGroup{Group: g})).Id)
	}
	one, border := group("10.0.1.1/24"), group("10.0.0.5/24", "192.0.2.5/26", "2001:db8::5/64")
	for _, c := range []struct {
		address    string
		group      uint32
		vip        string
		home       uint32
		homeVIP    uint8
		wantGroup  uint32
		wantVIP    uint8
		wantRemote string
	}{
		{"10.0.0.9", 0, "", border, 1, border, 0, "10.0.0.9:5060"},
		{"192.0.2.9:5080", 0, "", border, 0, border, 1, "192.0.2.9:5080"},
		{"[2001:db8::9]:5060", 0, "", border, 0, border, 2, "[2001:db8::9]:5060"},
		{"2001:db8:1::9", 0, "", border, 1, border, 2, "[2001:db8:1::9]:5060"}, // behind a router
		{"203.0.113.9", 0, "", border, 1, border, 1, "203.0.113.9:5060"},
		{"203.0.113.9", border, "", one, 0, border, 0, "203.0.113.9:5060"},
		{"203.0.113.9", border, "192.0.2.5", one, 0, border, 1, "203.0.113.9:5060"},
		{"203.0.113.9", border, "192.0.2.5", border, 0, border, 1, "203.0.113.9:5060"},
		{"10.0.0.9", border, "192.0.2.5", border, 0, border, 1, "10.0.0.9:5060"}, // as he was told
		{"trunk.example.net", border, "", one, 0, border, 0, ""},
		{"trunk.example.net", border, "192.0.2.5", one, 0, border, 1, ""},
		{"trunk.example.net", 0, "", border, 1, border, 1, ""},
		{"192.0.2.9", 0, "", one, 0, one, 0, "192.0.2.9:5060"},
	} {
		row := &pb.Member{Pool: "p", Name: "m", Address: c.address, Group: c.group, Vip: c.vip, Transport: "udp"}
		f := m.Config().MemberFlow(row, c.home, c.homeVIP)
		if f.Group != c.wantGroup || f.VIP != c.wantVIP {
			t.Errorf("%+v: called from address %d of group %d", c, f.VIP, f.Group)
		}
		target := m.st.conf.memberTarget(row, "1", c.home, uint32(c.homeVIP))
		if g := targetFromPB(target).Flow; g.Group != f.Group || g.VIP != f.VIP || g.Remote.IsValid() != (c.wantRemote != "") || c.wantRemote != "" && g.Remote.String() != c.wantRemote {
			t.Errorf("%+v: Apply says %+v", c, g)
		}
	}
	if host, at := MemberHost(&pb.Member{Address: "Trunk.Example.NET.:5080"}); host != "trunk.example.net" || at.IsValid() {
		t.Errorf("a name is read as %q, %v", host, at)
	}
	m.must(cmd(&pb.PutPool{Pool: &pb.Pool{Name: "p"}}))
	m.must(cmd(&pb.PutDomain{Domain: &pb.Domain{Name: "example.com"}}))
	m.refused(cmd(&pb.PutRoute{Route: &pb.Route{Domain: "example.com", Pool: "p", Prepend: "0@x"}}), pb.Code_REJECTED, `"0@x" is nothing to put before a number`)
	for _, c := range []struct {
		group uint32
		vip   string
		ok    bool
	}{{border, "192.0.2.5", true}, {border, "2001:DB8:0::5", true}, {border, "10.0.1.1", false}, {0, "192.0.2.5", false}, {border, "nonsense", false}} {
		r := m.do(cmd(&pb.PutMember{Member: &pb.Member{Pool: "p", Name: "m", Address: "10.0.0.9", Group: c.group, Vip: c.vip}}))
		if (r.Code == pb.Code_OK) != c.ok {
			t.Errorf("from %q of group %d: %v %s", c.vip, c.group, r.Code, r.Error)
		}
	}
}

func TestConfigRefusals(t *testing.T) {
	r := cluster(t)
	vip := func(number uint32, prefixes ...string) *pb.Command {
		g := &pb.Group{Number: number, Name: "g"}
		for _, p := range prefixes {
			g.Vips = append(g.Vips, &pb.Vip{Prefix: p})
		}
		return cmd(&pb.PutGroup{Group: g})
	}
	member := func(m *pb.Member) *pb.Command { m.Pool = "carriers"; return cmd(&pb.PutMember{Member: m}) }
	r.must(cmd(&pb.PutRoute{Route: &pb.Route{Domain: "example.com", Prefix: "49", Pool: "carriers"}}),
		member(&pb.Member{Name: "gw9", Address: "gw.example.net", Group: 2}))

	for _, c := range []struct {
		cmd  *pb.Command
		code pb.Code
		text string
	}{
		{user("eve@nowhere.org"), pb.Code_NOT_FOUND, "domain nowhere.org does not exist: add it with `holdline domain add nowhere.org`"},
		{user("eve@10.77.0.101"), pb.Code_NOT_FOUND, "10.77.0.101 is an alias: name the domain itself, example.com"},
		{user("eve"), pb.Code_REJECTED, `"eve" is not user@domain`},
		{cmd(&pb.PutUser{User: &pb.User{Aor: "eve@example.com"}}), pb.Code_REJECTED, "user eve@example.com has no password"},
		{cmd(&pb.PutUser{User: &pb.User{Aor: "eve@example.com", Ha1Md5: make([]byte, 15)}}), pb.Code_REJECTED, "user eve@example.com: a digest has the wrong length"},
		{cmd(&pb.PutUser{User: &pb.User{Aor: "user1@example.com", Ha1Md5: make([]byte, 16)}, CreateOnly: true}), pb.Code_EXISTS, "user user1@example.com exists already"},
		{cmd(&pb.RemoveUser{Aor: "eve@example.com"}), pb.Code_NOT_FOUND, "user eve@example.com does not exist"},
		{cmd(&pb.PutDomain{Domain: &pb.Domain{Name: "other.org", Aliases: []string{"10.77.0.101"}}}), pb.Code_EXISTS, "10.77.0.101 is an alias of domain example.com already"},
		{cmd(&pb.PutDomain{Domain: &pb.Domain{Name: "other.org", Aliases: []string{"Example.com"}}}), pb.Code_EXISTS, "example.com is a domain of its own"},
		{cmd(&pb.PutDomain{Domain: &pb.Domain{Name: "no spaces"}}), pb.Code_REJECTED, `"no spaces" is not a name for a domain: letters, digits and -_.:+ are`},
		{cmd(&pb.PutDomain{Domain: &pb.Domain{Name: "Example.com"}, CreateOnly: true}), pb.Code_EXISTS, "domain example.com exists already: add names to it with `holdline domain alias add`"},
		{cmd(&pb.ChangeAliases{Domain: "nowhere.org", Add: []string{"a.org"}}), pb.Code_NOT_FOUND, "domain nowhere.org does not exist: add it with `holdline domain add nowhere.org`"},
		{cmd(&pb.ChangeAliases{Domain: "10.77.0.101", Add: []string{"a.org"}}), pb.Code_NOT_FOUND, "10.77.0.101 is an alias: name the domain itself, example.com"},
		{cmd(&pb.ChangeAliases{Domain: "example.com", Add: []string{"a.org", "A.org"}}), pb.Code_EXISTS, "A.org is an alias of example.com already"},
		{cmd(&pb.ChangeAliases{Domain: "example.com", Add: []string{"10.77.0.101"}}), pb.Code_EXISTS, "10.77.0.101 is an alias of example.com already"},
		{cmd(&pb.ChangeAliases{Domain: "example.com", Remove: []string{"10.77.0.101", "b.org"}}), pb.Code_NOT_FOUND, "b.org is not an alias of example.com"},
		{cmd(&pb.RemoveDomain{Name: "example.com"}), pb.Code_REJECTED, "domain example.com has 4 users: remove them first"},
		{vip(0), pb.Code_REJECTED, "a VIP group needs at least one address"},
		{vip(0, "10.77.0.101/24"), pb.Code_EXISTS, "10.77.0.101 belongs to VIP group 10.77.0.101 already"},
		{vip(2, "10.77.0.101/24"), pb.Code_EXISTS, "10.77.0.101 belongs to VIP group 10.77.0.101 already"},
		{vip(0, "10.77.0.11/24"), pb.Code_REJECTED, "10.77.0.11 is the address node n1 listens on and can't float"},
		{vip(0, "10.77.0.103"), pb.Code_REJECTED, `"10.77.0.103" is not an address with its network, as in 192.0.2.10/24`},
		{vip(0, "10.77.0.103/24", "10.77.0.103/24"), pb.Code_REJECTED, "10.77.0.103 is given twice"},
		{vip(9, "10.77.0.103/24"), pb.Code_NOT_FOUND, "VIP group 9 does not exist"},
		{cmd(&pb.RemoveGroup{Number: 2}), pb.Code_REJECTED, "member gw9 of pool carriers is called through VIP group 10.77.0.102: change it first"},
		{cmd(&pb.PutNode{Node: &pb.Node{Uuid: "u3", Name: "n1", Listen: "10.77.0.13:7700"}}), pb.Code_EXISTS, "a node named n1 exists already: choose another --name, or remove it first if it is gone for good"},
		{cmd(&pb.PutNode{Node: &pb.Node{Uuid: "u3", Name: "n3", Listen: "10.77.0.11:7700"}}), pb.Code_EXISTS, "node n1 listens on 10.77.0.11:7700 already"},
		{cmd(&pb.PutNode{Node: &pb.Node{Uuid: "u3", Name: "n3", Listen: "10.77.0.101:7700"}}), pb.Code_REJECTED, "10.77.0.101 is a VIP of group 10.77.0.101 and can't be the address of node n3"},
		{cmd(&pb.RemoveNode{Uuid: "u1"}), pb.Code_REJECTED, "node n1 owns VIP group 10.77.0.101: move it with `holdline vip move` first"},
		{cmd(&pb.Takeover{Group: 1, Epoch: 4, Node: "u2"}), pb.Code_STALE_EPOCH, "VIP group 10.77.0.101 was taken over with epoch 5, not before 4"},
		{cmd(&pb.Takeover{Group: 1, Epoch: 5, Node: "u2"}), pb.Code_STALE_EPOCH, "VIP group 10.77.0.101 was taken over with epoch 5, not before 5"},
		{cmd(&pb.RemovePool{Name: "carriers"}), pb.Code_REJECTED, "pool carriers is used by the route of example.com with prefix '49': remove that first"},
		{cmd(&pb.PutRoute{Route: &pb.Route{Domain: "example.com", Pool: "nope"}}), pb.Code_NOT_FOUND, "pool nope does not exist: add it with `holdline pool add nope`"},
		{cmd(&pb.PutPool{Pool: &pb.Pool{Name: "p", Algorithm: "best"}}), pb.Code_REJECTED, `pool p: "best" is not an algorithm; round-robin, least-calls, weighted and hash are`},
		{member(&pb.Member{Name: "x", Address: "host:port"}), pb.Code_REJECTED, `member x: "host:port" is not an address; give host or host:port`},
		{member(&pb.Member{Name: "x", Address: "host", Sources: []string{"10.0.0.0/33"}}), pb.Code_REJECTED, `member x: source "10.0.0.0/33" is not an address or CIDR`},
		{member(&pb.Member{Name: "x", Address: "host", User: "a\"b"}), pb.Code_REJECTED, "member x: its user has characters that no account has, or more than 128"},
		{member(&pb.Member{Name: "x", Address: "host", User: strings.Repeat("a", 129)}), pb.Code_REJECTED, "member x: its user has characters that no account has, or more than 128"},
		{member(&pb.Member{Name: "x", Address: "host", User: "a", SealedPassword: make([]byte, 257)}), pb.Code_REJECTED, "member x: its password is too long"},
		{member(&pb.Member{Name: "x", Address: "host", SealedPassword: []byte("s")}), pb.Code_REJECTED, "member x: a password needs a user"},
		{member(&pb.Member{Name: "x", Address: "host", Register: true, Group: 1}), pb.Code_REJECTED, "member x: to register needs a user"},
		{member(&pb.Member{Name: "x", Address: "host", Register: true, User: "a"}), pb.Code_REJECTED, "member x: to register needs a VIP group to be called at"},
		{member(&pb.Member{Name: "x", Address: "host", Realm: "r"}), pb.Code_REJECTED, "member x: a realm needs a user"},
		{member(&pb.Member{Name: "x", Address: "host", User: "a", Realm: "r\""}), pb.Code_REJECTED, "member x: its realm has characters that no realm has, or more than 128"},
		{member(&pb.Member{Name: "x", Address: "host", Register: true, User: "a", Group: 1, RegisterS: 86401}), pb.Code_REJECTED, "member x: a registration lasts for 86400 seconds at most"},
		{cmd(&pb.SetFeatureLevel{Level: 2}), pb.Code_REJECTED, "node n1 runs a release that knows feature levels up to 1: upgrade it before raising the level to 2"},
		{cmd(&pb.PutNode{}), pb.Code_REJECTED, `node "" has no UUID`},
	} {
		before := r.bytes()
		r.refused(c.cmd, c.code, c.text)
		if after := r.bytes(); len(before) != len(after) {
			t.Errorf("%v was refused but changed something", c.cmd)
		}
	}
}

func TestConfigLookups(t *testing.T) {
	r := cluster(t)
	r.must(
		cmd(&pb.PutPool{Pool: &pb.Pool{Name: "trunks", Algorithm: Weighted}}),
		cmd(&pb.PutMember{Member: &pb.Member{Pool: "trunks", Name: "t1", Address: "trunk.example.net:5070", Sources: []string{"10.77.0.0/16", "2001:db8::/32"}}}),
		cmd(&pb.PutRoute{Route: &pb.Route{Domain: "example.com", Pool: "trunks"}}),
		cmd(&pb.PutRoute{Route: &pb.Route{Domain: "EXAMPLE.com", Prefix: "49", Pool: "carriers", Strip: 2, Prepend: "+"}}),
		cmd(&pb.PutRoute{Route: &pb.Route{Domain: "example.com", Prefix: "4930", Pool: "trunks"}}),
		cmd(&pb.PutKey{Purpose: "nonce", Id: 1, Secret: []byte("a")}),
		cmd(&pb.PutKey{Purpose: "nonce", Id: 2, Secret: []byte("b")}),
		cmd(&pb.PutKey{Purpose: "nonce", Id: 3, Secret: []byte("c")}),
		cmd(&pb.PutSetting{Name: "call.max-duration", Value: "3600"}),
		cmd(&pb.PutGroup{Group: &pb.Group{Number: 2, Name: "edge", Vips: []*pb.Vip{{Prefix: "10.77.0.102/24", Advertise: "198.51.100.9"}, {Prefix: "10.88.0.102/24"}}}}),
	)
	c := r.Config()
	for user, want := range map[string]string{"493012": "trunks", "49171": "carriers", "1": "trunks", "": "trunks"} {
		if got := c.Route("example.com", user).GetPool(); got != want {
			t.Errorf("route of %q: %s, want %s", user, got, want)
		}
	}
	if c.Route("example.net", "49") != nil || c.Domain("10.77.0.101").GetName() != "example.com" || c.Domain("example.com") == nil {
		t.Error("domain lookup")
	}
	for addr, want := range map[string]string{"10.77.0.21": "gw1", "10.77.9.9": "t1", "::ffff:10.77.0.22": "gw2", "2001:db8::5": "t1"} {
		if got := c.Sources(netip.MustParseAddr(addr)); len(got) != 1 || got[0].Name != want {
			t.Errorf("source %s: %v, want %s", addr, got, want)
		}
	}
	for addr, want := range map[string]bool{"10.77.0.21": true, "::ffff:10.77.0.22": true, "10.77.9.9": false, "192.0.2.1": false} {
		if c.MemberAt(netip.MustParseAddr(addr)) != want {
			t.Errorf("a member at %s: want %v", addr, want)
		}
	}
	if !c.MemberNamed("trunk.example.net") || c.MemberNamed("10.77.0.21") || c.MemberNamed("") {
		t.Error("names of members")
	}
	if len(c.Sources(netip.MustParseAddr("192.0.2.1"))) != 0 {
		t.Error("a stranger is no member")
	}
	for addr, want := range map[string]int{"10.77.0.102": 0, "198.51.100.9": 0, "10.88.0.102": 1} {
		if g, i, ok := c.GroupByVIP(netip.MustParseAddr(addr)); !ok || g.Number != 2 || i != want || g.Epoch != 5 || g.Owner != "u2" {
			t.Errorf("VIP %s: %v %d", addr, g, i)
		}
	}
	if k := c.Keys("nonce"); len(k) != 2 || k[0].Id != 3 || k[1].Id != 2 {
		t.Errorf("keys %v", k)
	}
	if c.SettingInt("call.max-duration", 7) != 3600 || c.SettingInt("none", 7) != 7 || c.Setting("none", "x") != "x" {
		t.Error("settings")
	}
	if c.Node(2).GetName() != "n2" || c.NodeByUUID("u1").GetNumber() != 1 || c.NodeByName("n2").GetUuid() != "u2" || c.User("user3@example.com") == nil {
		t.Error("nodes and users")
	}
	before := c
	r.must(cmd(&pb.RemoveUser{Aor: "user3@example.com"}), cmd(&pb.RemoveMember{Pool: "trunks", Name: "t1"}))
	if before.User("user3@example.com") == nil || len(before.Pool("trunks").Members) != 1 || len(before.Sources(netip.MustParseAddr("10.77.9.9"))) != 1 {
		t.Error("an old view changed")
	}
	if c := r.Config(); c.User("user3@example.com") != nil || len(c.Sources(netip.MustParseAddr("10.77.9.9"))) != 0 || c.MemberNamed("trunk.example.net") || c.Version != before.Version+2 {
		t.Error("the new view didn't")
	}
}

// Each change of aliases is made to those that there are when it is applied, whatever its author has seen.
func TestChangeAliases(t *testing.T) {
	r := cluster(t)
	for _, ch := range []*pb.ChangeAliases{{Add: []string{"a.org"}}, {Add: []string{"B.org"}}, {Remove: []string{"10.77.0.101"}}, {Add: []string{"c.org"}, Remove: []string{"A.org"}}} {
		ch.Domain = "Example.com"
		r.must(cmd(ch))
	}
	if d := r.Config().Domain("c.org"); d.GetName() != "example.com" || !slices.Equal(d.GetAliases(), []string{"b.org", "c.org"}) {
		t.Errorf("%v", d)
	}
	for _, gone := range []string{"a.org", "10.77.0.101"} {
		if d := r.Config().Domain(gone); d != nil {
			t.Errorf("%s still means %v", gone, d)
		}
	}
	checkDerived(t, r.Machine)
}

// A group is not taken away under its calls.
func TestGroupWithCallsStays(t *testing.T) {
	r := cluster(t)
	call := r.must(poolCall("k", 0)).Id
	remove := cmd(&pb.RemoveGroup{Number: 1})
	r.refused(remove, pb.Code_REJECTED, "VIP group 10.77.0.101 carries 1 calls: remove it when they have ended")
	r.must(cmd(&pb.EndCall{Call: call, Home: 1, Epoch: 5, Cause: CauseCancelled}), remove)
}

func TestNumbersAreNeverUsedAgain(t *testing.T) {
	r := cluster(t)
	node := cmd(&pb.PutNode{Node: &pb.Node{Uuid: "u3", Name: "n3", Listen: "10.77.0.13:7700"}})
	if got := r.must(node).Id; got != 3 {
		t.Fatalf("number %d", got)
	}
	if again := r.must(node); again.Id != 3 || !again.Existing {
		t.Fatalf("the same node again: %v", again)
	}
	r.must(cmd(&pb.RemoveNode{Uuid: "u3"}))
	for want := uint64(4); want <= 255; want++ {
		if got := r.must(node).Id; got != want {
			t.Fatalf("number %d, want %d", got, want)
		}
		r.must(cmd(&pb.RemoveNode{Uuid: "u3"}))
	}
	r.refused(node, pb.Code_LIMIT, "all 255 node numbers have been used")
}

// TestLimits: the group and the node that no guard would take are refused; those that are there may still be changed, and make room.
func TestLimits(t *testing.T) {
	r := cluster(t)
	group := func(i int) *pb.Command {
		return cmd(&pb.PutGroup{Group: &pb.Group{Vips: []*pb.Vip{{Prefix: fmt.Sprintf("10.78.0.%d/16", i)}}}})
	}
	node := func(i int) *pb.Command {
		return cmd(&pb.PutNode{Node: &pb.Node{Uuid: fmt.Sprint("u", i), Name: fmt.Sprint("n", i), Listen: fmt.Sprintf("10.79.0.%d:7700", i)}})
	}
	for i := 3; i <= MaxGroups; i++ { // cluster has two of each
		r.must(group(i))
	}
	for i := 3; i <= MaxNodes; i++ {
		r.must(node(i))
	}
	r.refused(group(MaxGroups+1), pb.Code_LIMIT, "there are 64 VIP groups, the most that a cluster holds: remove one first (holdline vip remove)")
	r.refused(node(MaxNodes+1), pb.Code_LIMIT, "there are 32 nodes, the most that a cluster holds: take one out first (holdline leave there, or holdline node remove)")
	r.must(cmd(&pb.PutGroup{Group: &pb.Group{Number: 3, Name: "edge", Vips: []*pb.Vip{{Prefix: "10.78.0.3/16"}}}}), node(3))
	r.must(cmd(&pb.RemoveGroup{Number: 3}), group(MaxGroups+1), cmd(&pb.RemoveNode{Uuid: "u3"}), node(MaxNodes+1))
}

func TestTokens(t *testing.T) {
	r := cluster(t)
	hash, other := []byte("0123456789abcdef"), []byte("fedcba9876543210")
	wall := int64(1_700_000_000_000) + r.time
	use := func(hash []byte, uuid, key string) *pb.Command {
		return cmd(&pb.ConsumeToken{Hash: hash, Uuid: uuid, PublicKey: []byte(key), WallMs: wall})
	}
	r.must(cmd(&pb.PutToken{Hash: hash, ExpiresWallMs: wall + 1000}), cmd(&pb.PutToken{Hash: other, ExpiresWallMs: wall + 1000}))
	r.refused(use([]byte("none"), "u3", "k"), pb.Code_NOT_FOUND, "the join token is unknown: make one with `holdline token create`")
	r.must(use(hash, "u3", "k"))
	if !r.must(use(hash, "u3", "k")).Existing {
		t.Error("the same pair may use it again")
	}
	r.refused(use(hash, "u4", "k"), pb.Code_REJECTED, "token already used: make another with `holdline token create`")
	r.refused(use(hash, "u3", "l"), pb.Code_REJECTED, "token already used: make another with `holdline token create`")
	wall += 1000
	r.refused(use(other, "u4", "k"), pb.Code_REJECTED, "the join token has expired: make another with `holdline token create`")
	if !r.must(use(hash, "u3", "k")).Existing {
		t.Error("a join that was begun in time goes on")
	}
}

func TestTakeover(t *testing.T) {
	r := cluster(t)
	var got []Event
	r.Watch(func(e Event) { got = append(got, e) })
	r.must(cmd(&pb.Takeover{Group: 1, Epoch: 8, Node: "u2"}))
	if !r.must(cmd(&pb.Takeover{Group: 1, Epoch: 8, Node: "u2"})).Existing {
		t.Error("the same takeover again is the same takeover")
	}
	if g := r.Config().Group(1); g.Owner != "u2" || g.Epoch != 8 || g.SinceWallMs == 0 {
		t.Errorf("%v", g)
	}
	if len(got) != 2 || got[0] != (TakenOver{1, 8, "u2"}) || got[1] != got[0] {
		t.Errorf("events %v", got)
	}
	r.must(cmd(&pb.RemoveNode{Uuid: "u1"})) // owns nothing now
	if g := r.Config().Group(1); g.HomeNode != "" {
		t.Errorf("home node of a group is gone: %v", g)
	}
}
