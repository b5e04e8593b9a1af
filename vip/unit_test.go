package vip

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdline/vip/lease"
)

func testConfig() Config {
	return Config{
		Cluster: "c", Epoch: 1, Self: 1, Keys: []Key{{ID: 1, Secret: make([]byte, 16)}},
		Nodes: []Node{
			{Number: 1, Name: "n1", Addr: netip.MustParseAddr("10.77.0.11"), Voter: true},
			{Number: 2, Name: "n2", Addr: netip.MustParseAddr("10.77.0.12"), Voter: true},
		},
		Groups: []Group{{Number: 1, VIPs: []netip.Prefix{netip.MustParsePrefix("10.77.0.101/24")}, Candidates: []uint32{1, 2}}},
	}
}

func TestConfigValidate(t *testing.T) {
	good := testConfig()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	vip := func(s string) func(*Config) {
		return func(c *Config) { c.Groups[0].VIPs = []netip.Prefix{netip.MustParsePrefix(s)} }
	}
	for want, spoil := range map[string]func(*Config){
		"epoch is 0":              func(c *Config) { c.Epoch = 0 },
		"not among the nodes":     func(c *Config) { c.Self = 3 },
		"no heartbeat key":        func(c *Config) { c.Keys = nil },
		"shorter than 16":         func(c *Config) { c.Keys[0].Secret = []byte("short") },
		"key 1 appears twice":     func(c *Config) { c.Keys = append(c.Keys, c.Keys[0]) },
		"unknown profile":         func(c *Config) { c.Profile = "slow" },
		"voters":                  func(c *Config) { c.Nodes[0].Voter, c.Nodes[1].Voter = false, false },
		"same number or address":  func(c *Config) { c.Nodes[1].Addr = c.Nodes[0].Addr },
		"no usable address":       func(c *Config) { c.Nodes[1].Addr = netip.IPv4Unspecified() },
		"has no address":          func(c *Config) { c.Groups[0].VIPs = nil },
		"0 or appears twice":      func(c *Config) { c.Groups = append(c.Groups, c.Groups[0]) },
		"is in group 1":           func(c *Config) { g := c.Groups[0]; g.Number = 2; c.Groups = append(c.Groups, g) },
		"candidate 9":             func(c *Config) { c.Groups[0].Candidates = []uint32{9} },
		"address of node n2":      vip("10.77.0.12/24"),
		"cannot be a virtual":     vip("127.0.0.1/8"),
		"is link-local":           vip("fe80::1/64"),
		"plain IPv4 or IPv6":      vip("::ffff:10.77.0.101/120"),
		"not an address with a p": func(c *Config) { c.Groups[0].VIPs = []netip.Prefix{{}} },
	} {
		c := testConfig()
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestEpochsAdmitted(t *testing.T) {
	dir := t.TempDir()
	s, err := loadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	take := func(change func(*Config)) error {
		c := testConfig()
		change(&c)
		next, changed, err := s.admit(&c)
		if err != nil {
			return err
		}
		if changed {
			if err := next.save(dir); err != nil {
				t.Fatal(err)
			}
		}
		s, err = loadState(dir) // as after a restart
		return err
	}
	for _, step := range []struct {
		what   string
		change func(*Config)
		ok     bool
	}{
		{"the first one", func(c *Config) { c.Epoch = 3 }, true},
		{"the same again", func(c *Config) { c.Epoch = 3 }, true},
		{"an older one", func(c *Config) { c.Epoch = 2 }, false},
		{"other voters for the same epoch", func(c *Config) { c.Epoch = 3; c.Nodes[1].Voter = false }, false},
		{"other voters for a new epoch", func(c *Config) { c.Epoch = 4; c.Nodes[1].Voter = false }, true},
		{"another cluster", func(c *Config) { c.Cluster = "d" }, true},
		{"the old cluster's epoch, older in this one", func(c *Config) { c.Cluster = "d"; c.Epoch = 0 }, false},
	} {
		if err := take(step.change); (err == nil) != step.ok {
			t.Errorf("%s: %v", step.what, err)
		}
	}
	if err := take(func(c *Config) { c.Cluster, c.Epoch = "d", 0 }); !errors.Is(err, ErrOldEpoch) {
		t.Errorf("older epoch: %v, want ErrOldEpoch", err)
	}
	if err := os.WriteFile(filepath.Join(dir, guardFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadState(dir); err == nil {
		t.Error("a damaged guard.json was taken")
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("files left: %v, %v", left, err)
	}
}

// A guard that stops in the middle of a write leaves a group that is not held, and its successor mends the slot.
func TestSharedMemoryTorn(t *testing.T) {
	dir := t.TempDir()
	guard, err := createShared(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer guard.close()
	core, err := openShared(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer core.close()
	clock := NewClock()
	c := &Client{clock: clock}
	c.shm.Store(core)
	hold := groupView{ballot: 9, since: clock.Now(), until: clock.Now() + int64(time.Hour), owner: 1, ownerBallot: 9}
	// 7, 71 and 135 want the same slot.
	for _, n := range []uint32{7, 71, 135} {
		guard.claim(n).write(hold)
	}
	for _, n := range []uint32{7, 71, 135} {
		if b, _, _, ok := c.Lease(n); !ok || b != 9 {
			t.Errorf("group %d is not held", n)
		}
	}
	if _, _, _, ok := c.Lease(199); ok {
		t.Error("an unknown group is held")
	}
	slot := guard.slot(71)
	slot.seq.Add(1)
	slot.ballot.Store(10)
	if _, _, _, ok := c.Lease(71); ok {
		t.Error("a half-written group is held")
	}
	again, err := createShared(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	if again.inode != guard.inode {
		t.Error("the file was replaced: a core would look at the old one")
	}
	for _, n := range []uint32{7, 71, 135} {
		if _, _, _, ok := c.Lease(n); ok {
			t.Errorf("group %d is held after a restart of the guard", n)
		}
		again.claim(n).write(hold)
		if _, _, _, ok := c.Lease(n); !ok {
			t.Errorf("group %d cannot be held again", n)
		}
	}
	for n := range uint32(MaxGroups - 3) {
		if again.claim(1000+n) == nil {
			t.Fatalf("no slot for group %d", 1000+n)
		}
	}
	if again.claim(5000) != nil {
		t.Error("more groups than slots")
	}
	past := hold
	past.until = clock.Now()
	again.slot(7).write(past)
	if _, _, _, ok := c.Lease(7); ok {
		t.Error("a lease is held after its end")
	}
}

// With all groups that there can be, one configuration takes some out and puts others in: each has its slot.
func TestFullSlotsAreFreedFirst(t *testing.T) {
	shm, err := createShared(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer shm.close()
	g := &guard{shm: shm}
	cfg := testConfig()
	cfg.Groups = nil
	for n := range uint32(MaxGroups) {
		cfg.Groups = append(cfg.Groups, Group{Number: n + 1, VIPs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 1, byte(n)}), 16)}})
	}
	g.setGroups(&cfg)
	next := cfg
	next.Groups = append(slices.Clone(cfg.Groups[:10]), cfg.Groups[12:]...)
	for _, n := range []uint32{MaxGroups + 1, MaxGroups + 2} {
		next.Groups = append(next.Groups, Group{Number: n, VIPs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 2, byte(n)}), 16)}})
	}
	g.setGroups(&next)
	for _, gr := range g.groups {
		if gr.slot == nil || gr.slot != shm.slot(gr.number) {
			t.Errorf("group %d has not the slot %p that is found for it, but %p", gr.number, shm.slot(gr.number), gr.slot)
		}
	}
	for _, n := range []uint32{11, 12} {
		if shm.slot(n) != nil {
			t.Errorf("group %d is gone and has a slot", n)
		}
	}
}

func TestClaims(t *testing.T) {
	mac := macAddr{2, 0, 0, 0, 0, 1}
	v4, v6 := vip4(), vip6()
	for _, c := range []struct {
		name  string
		frame []byte
		want  claim
	}{
		{"gratuitous ARP", appendARP(nil, arpRequest, mac, v4, macAddr{}, v4), claim{addr: v4, mac: mac}},
		{"ARP probe", appendARP(nil, arpRequest, mac, netip.IPv4Unspecified(), macAddr{}, v4), claim{addr: netip.IPv4Unspecified(), mac: mac, probed: v4}},
		{"neighbour advertisement", appendNA(nil, mac, v6), claim{addr: v6, mac: mac}},
		{"DAD solicitation", appendNS(nil, mac, v6), claim{addr: netip.IPv6Unspecified(), mac: mac, probed: v6}},
	} {
		got, ok := parseClaim(c.frame)
		if !ok || got != c.want {
			t.Errorf("%s: %+v, %v", c.name, got, ok)
		}
		for n := range c.frame { // a cut frame is nothing, and nothing breaks
			if _, ok := parseClaim(c.frame[:n]); ok && n < 42 {
				t.Errorf("%s cut to %d bytes is taken", c.name, n)
			}
		}
	}
	if n := len(appendARP(nil, arpReply, mac, v4, mac, v4)); n != 42 {
		t.Errorf("ARP frame of %d bytes", n)
	}
	// RFC 4861 §4.4, computed by hand: override flag, hop limit 255, all-nodes group.
	na := appendNA(nil, mac, v6)
	if !bytes.Equal(na[:6], []byte{0x33, 0x33, 0, 0, 0, 1}) || na[21] != 255 || na[54] != 136 || na[58] != 0x20 {
		t.Errorf("neighbour advertisement: % x", na)
	}
	var sum uint32 = 32 + 58
	for i := 22; i < len(na); i += 2 {
		sum += uint32(na[i])<<8 | uint32(na[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	if sum != 0xffff {
		t.Errorf("checksum does not add up: %#x", sum)
	}
}

func FuzzParseClaim(f *testing.F) {
	mac := macAddr{2}
	f.Add(appendARP(nil, arpRequest, mac, vip4(), macAddr{}, vip4()))
	f.Add(appendNA(nil, mac, vip6()))
	f.Fuzz(func(_ *testing.T, b []byte) { parseClaim(b) })
}

func TestInterfaceChoice(t *testing.T) {
	addrs := []hostAddr{
		{2, netip.MustParsePrefix("10.0.0.1/8")},
		{3, netip.MustParsePrefix("10.77.0.11/24")},
		{4, netip.MustParsePrefix("10.77.0.12/16")},
		{5, netip.MustParsePrefix("10.77.0.101/32")}, // the VIP itself
		{6, netip.MustParsePrefix("fd77::11/64")},
	}
	for vip, want := range map[string]int{
		"10.77.0.101/24": 3, "10.77.0.101/16": 4, "10.77.0.101/20": 3, "10.9.9.9/24": 2,
		"192.0.2.1/24": 0, "fd77::101/64": 6, "fd78::1/64": 0,
	} {
		if got := ifaceOf(netip.MustParsePrefix(vip), addrs); got != want {
			t.Errorf("%s: interface %d, want %d", vip, got, want)
		}
	}
}

func TestAlarmsAreBounded(t *testing.T) {
	var l alarmLog
	now := time.Now()
	if !l.add("a", now) || l.add("a", now.Add(time.Second)) || !l.add("a", now.Add(alarmRepeat)) {
		t.Error("an alarm must be told once, and again after a while")
	}
	if l.list[0].Count != 3 {
		t.Errorf("count %d", l.list[0].Count)
	}
	for i := range 3 * alarmMax {
		l.add(strings.Repeat("x", i+1), now)
	}
	if len(l.list) != alarmMax {
		t.Errorf("%d alarms kept", len(l.list))
	}
}

func BenchmarkLease(b *testing.B) {
	m, err := createShared(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer m.close()
	c := &Client{clock: NewClock()}
	c.shm.Store(m)
	m.claim(7).write(groupView{ballot: 1, until: c.clock.Now() + int64(time.Hour)})
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, ok := c.Lease(7); !ok {
			b.Fatal("not held")
		}
	}
}

// TestHeartbeatSocket: a datagram reaches the peer's socket over either family, with its sender, and nothing waits when there is none.
func TestHeartbeatSocket(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		addr := netip.MustParseAddr(host)
		free, err := net.ListenUDP("udp", &net.UDPAddr{IP: addr.AsSlice()})
		if err != nil {
			t.Fatal(err)
		}
		at := free.LocalAddr().(*net.UDPAddr).AddrPort()
		_ = free.Close()
		h, err := openHeartbeat(netip.AddrPortFrom(addr, at.Port()))
		if err != nil {
			t.Fatal(err)
		}
		h.peers([]Node{{Number: 1, Addr: addr}, {Number: 2, Addr: addr}}, 1)
		if b, _, err := h.recv(); b != nil || err != nil {
			t.Errorf("%s: nothing was sent, received %q, %v", host, b, err)
		}
		if err := h.send(2, []byte("beat")); err != nil {
			t.Error(err)
		}
		if err := h.send(3, []byte("nobody")); err != nil {
			t.Error(err)
		}
		if b, known, err := h.recv(); string(b) != "beat" || !known || err != nil {
			t.Errorf("%s: received %q, known %v, %v", host, b, known, err)
		}
		h.close()
		h.fd = -1
		if err := h.send(2, []byte("beat")); err == nil {
			t.Errorf("%s: sent on a closed socket", host)
		}
	}
}

// TestUnwantedGroup: an offer that no node takes is no alarm; several in a row are.
func TestUnwantedGroup(t *testing.T) {
	g := &guard{log: slog.New(slog.DiscardHandler), groups: []*group{{number: 1, vips: []virtual{{addr: netip.MustParseAddr("10.77.0.101")}}}}}
	for i := 1; i <= toldUnwanted; i++ {
		g.do([]lease.Action{{Kind: lease.ReleaseFailed, Group: 1, Node: 2}})
		if told := len(g.alarms.list) > 0; told != (i == toldUnwanted) {
			t.Errorf("after %d offers: alarms %v", i, g.alarms.list)
		}
	}
}

// TestGuardUnit: systemd starts a guard with the environment that serve gives one.
func TestGuardUnit(t *testing.T) {
	unit, err := os.ReadFile("../deploy/systemd/holdline-guard.service")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(unit), "\nEnvironment="+GuardEnv+"\n") {
		t.Errorf("the guard's unit does not set %s", GuardEnv)
	}
}
