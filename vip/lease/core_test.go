package lease

import (
	"errors"
	"testing"
)

// testConfig has nodes 1…voters, all voting, and some groups.
func testConfig(voters, groups int) Config {
	cfg := Config{Epoch: 1, Profile: Fast()}
	for i := range uint32(voters) {
		cfg.Nodes = append(cfg.Nodes, Node{Number: i + 1, Voter: true})
	}
	for i := range uint32(groups) {
		cfg.Groups = append(cfg.Groups, Group{Number: i + 1})
	}
	return cfg
}

// testCluster drives some cores in lockstep without loss, one heartbeat a round.
type testCluster struct {
	cores []*Core
	now   int64
	held  []Packet
	off   uint32 // a node that neither runs nor is heard
}

func newTestCluster(t testing.TB, nodes, groups int) *testCluster {
	t.Helper()
	c := &testCluster{}
	for i := range nodes {
		core, err := New(Options{Node: uint32(i + 1), Incarnation: uint64(i + 1), Seed: uint64(i), Config: testConfig(nodes, groups)}, 0)
		if err != nil {
			t.Fatal(err)
		}
		core.SetServing(0, 0, true)
		c.cores = append(c.cores, core)
	}
	return c
}

func (c *testCluster) round() {
	for range 10 {
		c.now += ms
		for _, core := range c.cores {
			if core.NextDeadline() > c.now || core.self == c.off {
				continue
			}
			c.deliver(core.Tick(c.now))
		}
	}
}

func (c *testCluster) deliver(acts []Action) {
	first := len(c.held)
	for _, a := range acts {
		if a.Kind == Send {
			n := len(c.held)
			if n == cap(c.held) {
				c.held = append(c.held, Packet{})
			} else {
				c.held = c.held[:n+1]
			}
			p := &c.held[n]
			requests, grants, releases := p.Requests[:0], p.Grants[:0], p.Releases[:0]
			*p = *a.Packet
			p.Requests = append(requests, p.Requests...)
			p.Grants = append(grants, p.Grants...)
			p.Releases = append(releases, p.Releases...)
		}
	}
	for i := first; i < len(c.held); i++ {
		p := c.held[i]
		if p.To == c.off {
			continue
		}
		c.deliver(c.cores[p.To-1].Receive(c.now, &p))
	}
	c.held = c.held[:first]
}

func (c *testCluster) settle(t testing.TB) {
	t.Helper()
	for range 60 {
		c.round()
	}
	for g := range c.cores[0].groups {
		if owner, _ := c.cores[0].Owner(c.now, uint32(g+1)); owner == 0 {
			t.Fatalf("group %d has no owner", g+1)
		}
	}
}

// TestNoAllocation: the guard has a small heap, so a heartbeat allocates nothing.
func TestNoAllocation(t *testing.T) {
	c := newTestCluster(t, 3, 8)
	c.settle(t)
	if n := testing.AllocsPerRun(100, c.round); n != 0 {
		t.Errorf("%.1f allocations a heartbeat", n)
	}
}

func TestConfigRefused(t *testing.T) {
	change := func(f func(*Config)) Config {
		cfg := testConfig(3, 2)
		f(&cfg)
		return cfg
	}
	for name, cfg := range map[string]Config{
		"no voter":            change(func(c *Config) { c.Nodes = nil }),
		"node 0":              change(func(c *Config) { c.Nodes[0].Number = 0 }),
		"node 256":            change(func(c *Config) { c.Nodes[0].Number = 256 }),
		"node twice":          change(func(c *Config) { c.Nodes[0].Number = 2 }),
		"too many voters":     testConfig(MaxVoters+1, 1),
		"group 0":             change(func(c *Config) { c.Groups[0].Number = 0 }),
		"group twice":         change(func(c *Config) { c.Groups[0].Number = 2 }),
		"too many groups":     testConfig(3, MaxGroups+1),
		"no profile":          change(func(c *Config) { c.Profile = Profile{} }),
		"grant over the most": change(func(c *Config) { c.Profile.Grant = MaxGrant + 1 }),
		"grant too short":     change(func(c *Config) { c.Profile.Grant = 4 * c.Profile.Heartbeat }),
	} {
		if _, err := New(Options{Node: 1, Incarnation: 1, Config: cfg}, 0); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v, want %v", name, err, ErrConfig)
		}
	}
}

func TestEpochRefused(t *testing.T) {
	cfg := testConfig(3, 1)
	cfg.Epoch = 5
	core, err := New(Options{Node: 1, Incarnation: 1, Config: cfg}, 0)
	if err != nil {
		t.Fatal(err)
	}
	older, other, two := testConfig(3, 1), testConfig(2, 1), testConfig(1, 1)
	older.Epoch, other.Epoch, two.Epoch = 4, 5, 6
	for name, c := range map[string]struct {
		cfg  Config
		want error
	}{
		"an older epoch":             {older, ErrOldEpoch},
		"other voters in one epoch":  {other, ErrConfig},
		"two voters changed at once": {two, ErrConfig},
	} {
		if _, err := core.SetConfig(0, c.cfg); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	two.Forced = true
	if _, err := core.SetConfig(0, two); err != nil {
		t.Errorf("forced recovery: %v", err)
	}
	if inForce, ready := core.Epoch(); inForce != 6 || ready != 6 {
		t.Errorf("after forced recovery epoch %d is in force and %d ready, want 6", inForce, ready)
	}
}

// TestRemovedGroup: a group that goes and comes back meanwhile is still promised.
func TestRemovedGroup(t *testing.T) {
	c := newTestCluster(t, 3, 2)
	c.settle(t)
	core := c.cores[1]
	was := core.groups[0].promise
	if was.node != 1 || was.until <= c.now {
		t.Fatalf("node 2 has not promised group 1 to node 1: %+v", was)
	}
	without := testConfig(3, 2)
	without.Groups = without.Groups[1:]
	for _, cfg := range []Config{without, testConfig(3, 2)} {
		if _, err := core.SetConfig(c.now, cfg); err != nil {
			t.Fatal(err)
		}
	}
	if got := core.groups[0].promise; got != was {
		t.Errorf("promise is %+v, was %+v", got, was)
	}
	// The owner of a removed group loses it.
	acts, err := c.cores[0].SetConfig(c.now, without)
	if err != nil || len(acts) == 0 || acts[0].Kind != Lost || acts[0].Reason != Removed {
		t.Errorf("the owner of a removed group does not lose it first of all: %v, %v", acts, err)
	}
}

func TestPeers(t *testing.T) {
	c := newTestCluster(t, 3, 1)
	c.settle(t)
	peers := c.cores[0].Peers(c.now, nil)
	if len(peers) != 2 || peers[0].Node != 2 || peers[1].Node != 3 {
		t.Fatalf("peers %+v", peers)
	}
	for _, p := range peers {
		if !p.Alive || !p.Voter || p.Mute || p.Epoch != 1 || p.EchoAge < 0 || p.EchoAge > 20*ms || p.WorstGap > 20*ms {
			t.Errorf("%+v", p)
		}
	}
	later := c.now + 50*ms
	c.cores[0].Tick(later)
	if p := c.cores[0].Peers(later, nil)[0]; p.Alive || p.WorstGap < 40*ms {
		t.Errorf("after silence: %+v", p)
	}
}

// TestAbsenceIsNoGap: a short silence is the worst gap from then on; one of a peer that was away for long, or was started anew, is none.
func TestAbsenceIsNoGap(t *testing.T) {
	c := newTestCluster(t, 3, 1)
	c.settle(t)
	silent := func(rounds int) {
		c.off = 2
		for range rounds {
			c.round()
		}
		c.off = 0
	}
	heardAgain := func(what string) {
		t.Helper()
		for range 10 {
			c.round()
		}
		switch p := c.cores[0].Peers(c.now, nil)[0]; {
		case !p.Alive:
			t.Fatalf("%s: not heard again: %+v", what, p)
		case p.WorstGap < 280*ms || p.WorstGap > 320*ms:
			t.Errorf("%s: worst gap %d ms, want the 300 of the first silence", what, p.WorstGap/ms)
		}
	}
	silent(30)
	heardAgain("silent for 0.3 s")
	silent(150)
	if p := c.cores[0].Peers(c.now, nil)[0]; p.WorstGap > 320*ms {
		t.Errorf("away for 1.5 s: worst gap %d ms", p.WorstGap/ms)
	}
	heardAgain("away for 1.5 s")
	silent(50)
	core, err := New(Options{Node: 2, Incarnation: 12, Config: testConfig(3, 1)}, c.now)
	if err != nil {
		t.Fatal(err)
	}
	c.cores[1] = core
	heardAgain("started anew after 0.5 s")
}

func BenchmarkHeartbeat(b *testing.B) {
	c := newTestCluster(b, 3, 3)
	c.settle(b)
	b.ReportAllocs()
	for b.Loop() {
		c.round() // three ticks and six packets received
	}
}

func BenchmarkSealOpen(b *testing.B) {
	s := testSealer(b, 1)
	p := &Packet{
		From: 1, To: 2, Requests: make([]Request, 1, 3), Grants: make([]Grant, 3), Releases: nil,
	}
	var buf []byte
	var q Packet
	b.ReportAllocs()
	for b.Loop() {
		buf = s.Seal(buf[:0], p)
		if err := s.Open(&q, buf); err != nil {
			b.Fatal(err)
		}
	}
}
