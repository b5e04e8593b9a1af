package sipcore

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"holdline/deploy/lab/phone"
	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/proxy"
)

// carrier is a registrar that asks for credentials.
type carrier struct {
	*phone.Endpoint
	mu       sync.Mutex
	password string
	nonces   int
	bindings map[string]string // Contact, without parameters, and its Call-ID
	seen     []string          // Call-ID, CSeq and expires of those that it took
	refused  int
	holds    bool
	held     []*phone.Server // what ends a registration, while it holds
}

func newCarrier(t *testing.T, at string) *carrier {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		t.Fatal(err)
	}
	c := &carrier{Endpoint: phone.NewEndpoint(conn, &phone.Stats{}), password: "sesame", bindings: map[string]string{}}
	c.Handle(c.register)
	return c
}

func (c *carrier) register(s *phone.Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.Request.Method != sip.REGISTER {
		return // no OPTIONS is answered
	}
	nonce := fmt.Sprintf("n%d", c.nonces)
	cred, err := digest.ParseCredentials(s.Header("Authorization"))
	if err == nil && cred.Nonce == nonce {
		want, err := digest.Digest(&digest.Challenge{Realm: "carrier", Nonce: nonce}, digest.Options{Method: "REGISTER", URI: cred.URI, Username: "4930", Password: c.password})
		if err == nil && want.Response == cred.Response {
			c.take(s)
			return
		}
		c.refused++
	}
	c.nonces++
	s.Respond(401, "Unauthorized", sip.NewHeader("WWW-Authenticate", fmt.Sprintf(`Digest realm="carrier", nonce="n%d"`, c.nonces)))
}

func (c *carrier) take(s *phone.Server) {
	contact, expires, _ := strings.Cut(s.Header("Contact"), ";expires=")
	if c.holds && expires == "0" {
		c.held = append(c.held, s)
		return
	}
	c.seen = append(c.seen, s.Header("Call-ID")+" "+s.Header("CSeq")+" "+expires)
	if c.bindings[contact] = s.Header("Call-ID"); expires == "0" {
		delete(c.bindings, contact)
	}
	s.Respond(200, "OK", sip.NewHeader("Contact", contact+";expires=600"))
}

// withhold has the carrier not answer what ends a registration, or answer that.
func (c *carrier) withhold(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holds = yes
	for _, s := range c.held {
		c.take(s)
	}
	c.held = nil
}

func (c *carrier) withheld() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.held)
}

func (c *carrier) state() (bindings, taken int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.bindings), len(c.seen)
}

func (c *carrier) accept(password string) (refused int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.password = password
	return c.refused
}

// passwords are the accounts of a test's members: the password is what is "sealed".
type passwords struct{ lab **lab }

func (p passwords) Account(pool, member string) (proxy.Account, bool) {
	for _, m := range (*p.lab).log.m.Config().Pool(pool).Members {
		if m.Name == member && len(m.SealedPassword) > 0 {
			return proxy.Account{User: m.User, Password: string(m.SealedPassword)}, true
		}
	}
	return proxy.Account{}, false
}

// TestTrunks: a carrier is registered with by the owner of the member's group alone, by the next owner at once, and unregistered when it is not wanted any more.
func TestTrunks(t *testing.T) {
	var l *lab
	l = newLab(t, 2, func(o *Options) { o.Accounts = passwords{&l} })
	gw := newCarrier(t, "127.0.0.1:0")
	defer func() { _ = gw.Close() }()
	state := func(core int) string {
		s, ok := l.cores[core].Trunk("gw", "m1")
		switch {
		case !ok:
			return "not here"
		case s.Registered:
			return "registered " + s.Failure
		}
		return "none " + s.Failure
	}
	wait := func(what string, states [2]string, bindings int) {
		t.Helper()
		eventually(t, within(t), what, func() bool {
			n, _ := gw.state()
			return state(0) == states[0] && state(1) == states[1] && n == bindings
		})
	}
	l.pool("gw", gw.Addr().String(), "127.0.0.9/32", 0)
	m := &pb.Member{Pool: "gw", Name: "m1", Address: gw.Addr().String(), Group: 1, User: "4930", SealedPassword: []byte("sesame"), Register: true}
	put := func(change func()) {
		change()
		l.ok(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: m}}})
	}
	put(func() {})
	wait("a registration", [2]string{"registered ", "not here"}, 1)
	if g := l.cores[0].Gateway("gw", "m1"); !g.Answered || !g.Registers {
		t.Errorf("what answers is there: %+v", g)
	}
	contact := fmt.Sprintf("<sip:4930@127.0.0.101:%d>", l.port)
	gw.mu.Lock()
	if gw.bindings[contact] == "" {
		t.Errorf("%v, want %s", gw.bindings, contact)
	}
	gw.mu.Unlock()

	_, taken := gw.state()
	l.move(1, 1, 2)
	wait("the next owner's", [2]string{"not here", "registered "}, 1)
	eventually(t, within(t), "its REGISTER", func() bool { _, n := gw.state(); return n == taken+1 })
	if g := l.cores[0].Gateway("gw", "m1"); g.Registers {
		t.Errorf("the last owner knows nothing: %+v", g)
	}

	put(func() { m.Weight = 7 }) // nothing that the carrier sees
	put(func() { m.Disabled = true })
	gw.accept("other")
	put(func() { m.SealedPassword = []byte("wrong") })
	wait("that it is refused", [2]string{"not here", "none 401 Unauthorized: wrong user or password"}, 1)
	if _, n := gw.state(); n != taken+1 {
		t.Errorf("%d registrations, want %d: %q", n, taken+1, gw.seen)
	}
	if n := gw.accept("right"); n == 0 || n > 2 {
		t.Errorf("%d wrong passwords were sent", n)
	}
	put(func() { m.SealedPassword = []byte("right") })
	wait("the right password", [2]string{"not here", "registered "}, 1)

	put(func() { m.Register = false })
	wait("that it is unregistered", [2]string{"not here", "not here"}, 0)
	put(func() { m.Register = true })
	wait("that it is registered again", [2]string{"not here", "registered "}, 1)

	// A member that becomes another one is unregistered before that is registered.
	next := newCarrier(t, "127.0.0.1:0")
	defer func() { _ = next.Close() }()
	next.accept("right")
	put(func() { m.Address = next.Addr().String() })
	wait("that the first is unregistered", [2]string{"not here", "registered "}, 0)
	if n, _ := next.state(); n != 1 {
		t.Errorf("%d bindings with the other", n)
	}
	l.ok(&pb.Command{Op: &pb.Command_RemoveMember{RemoveMember: &pb.RemoveMember{Pool: "gw", Name: "m1"}}})
	eventually(t, within(t), "that the removed one is unregistered", func() bool { n, _ := next.state(); return n == 0 })
	eventually(t, within(t), "that nothing is known of it", func() bool {
		return l.cores[0].Gateway("gw", "m1") == proxy.Gateway{} && l.cores[1].Gateway("gw", "m1") == proxy.Gateway{}
	})
}

// TestTrunksPaced: of many members no more than some are registered at a time, none waits for long, and none is registered twice.
func TestTrunksPaced(t *testing.T) {
	l := newLab(t, 1) // without accounts nothing is sent, and it is told of each at once
	l.pool("gw", "127.0.0.9:5060", "127.0.0.9/32", 0)
	const members = 25
	for i := range members {
		m := &pb.Member{Pool: "gw", Name: fmt.Sprintf("t%d", i), Address: "127.0.0.9:5060", Group: 1, User: fmt.Sprintf("u%d", i), Register: true}
		l.ok(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: m}}})
	}
	c := l.cores[0]
	byHand := &trunks{core: c, out: c.udp.NewSender(), of: map[gateway]*trunking{}}
	now := c.now()
	asked := func() (n int) {
		for _, x := range byHand.of {
			if x.State().Failure != "" {
				n++
			}
		}
		return n
	}
	byHand.step(c.currentView(), now)
	if n := asked(); n > trunkAtOnce {
		t.Errorf("%d at once", n)
	}
	for step, before := 1, asked(); asked() < members; step, before = step+1, asked() {
		now += int64(trunkSpread)
		byHand.step(c.currentView(), now)
		if n := asked() - before; n > trunkAtOnce || step > 3 {
			t.Fatalf("step %d: %d more, %d in all", step, n, asked())
		}
	}
}

// steps are a core's trunks that go on when the test says so, by a configuration of their own: the core itself has none to keep.
type steps struct {
	*trunks
	t    *testing.T
	conf *lab // of whom only the configuration is used
	now  int64
}

func newSteps(t *testing.T, l *lab) *steps {
	var b bytes.Buffer
	if _, err := l.log.m.Snapshot().WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	m := fsm.New()
	if err := m.Restore(&b); err != nil {
		t.Fatal(err)
	}
	c := l.cores[0]
	conf := &lab{t: t, log: &localLog{m: m, index: l.log.index, ms: l.log.ms}}
	return &steps{&trunks{core: c, out: c.udp.NewSender(), of: map[gateway]*trunking{}}, t, conf, c.now()}
}

// next is a step in which everything that waits for its turn has it.
func (s *steps) next() {
	s.t.Helper()
	s.now += int64(trunkSpread)
	c := s.core
	v, ok := proxy.NewView(s.conf.log.m.Config(), c.groups, nil)
	if !ok {
		s.t.Fatal("no keys")
	}
	s.step(v, s.now)
}

func (s *steps) trunk(name string) *trunking { return s.of[gateway{"gw", name}] }

// asked reports whether a REGISTER of a trunk is under way, or has been answered.
func (s *steps) asked(name string) bool { return s.trunk(name).State().Next > s.now+int64(trunkSpread) }

// TestTrunksOfOneAccount: a member that goes does not take back what another of the same account has registered, and one that is renamed waits until its former self is
// unregistered.
func TestTrunksOfOneAccount(t *testing.T) {
	l := newLab(t, 1, func(o *Options) { o.Accounts = oneAccount{} })
	gw := newCarrier(t, "127.0.0.1:0")
	defer func() { _ = gw.Close() }()
	s := newSteps(t, l)
	s.conf.pool("gw", gw.Addr().String(), "127.0.0.9/32", 0)
	put := func(name string) {
		m := &pb.Member{Pool: "gw", Name: name, Address: gw.Addr().String(), Group: 1, User: "4930", Register: true}
		s.conf.ok(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: m}}})
	}
	remove := func(name string) {
		s.conf.ok(&pb.Command{Op: &pb.Command_RemoveMember{RemoveMember: &pb.RemoveMember{Pool: "gw", Name: name}}})
	}
	registered := func(name string, want int) {
		t.Helper()
		if s.next(); !s.asked(name) {
			t.Fatalf("%s is not registered", name)
		}
		eventually(t, within(t), name+" registered, and bound", func() bool {
			bound, taken := gw.state()
			return s.trunk(name).State().Until != 0 && bound == 1 && taken == want
		})
	}
	put("m1")
	s.next() // the first step finds it
	registered("m1", 1)
	put("m2")
	s.next()
	registered("m2", 2)
	remove("m1")
	if s.next(); s.trunk("m1") != nil {
		t.Fatal("m1 is being unregistered, and m2 with it")
	}
	s.trunk("m2").epoch = 0 // anew; what was sent before that has come
	s.next()
	registered("m2", 3)

	remove("m2")
	gw.withhold(true)
	s.next()
	eventually(t, within(t), "that m2 is to be unregistered", func() bool { return gw.withheld() == 1 })
	put("m3")
	for range 3 {
		if s.next(); s.asked("m3") {
			t.Fatal("m3 is registered, and what m2 is at will take that back")
		}
	}
	gw.withhold(false)
	eventually(t, within(t), "that m2 is unregistered", func() bool { return s.trunk("m2").State().Ended })
	s.next()
	registered("m3", 5)
	gw.mu.Lock()
	defer gw.mu.Unlock()
	for i, want := range []string{" 3600", " 3600", " 3600", " 0", " 3600"} {
		if !strings.HasSuffix(gw.seen[i], want) {
			t.Errorf("%q", gw.seen)
		}
	}
}

// oneAccount is every member's.
type oneAccount struct{}

func (oneAccount) Account(string, string) (proxy.Account, bool) {
	return proxy.Account{User: "4930", Password: "sesame"}, true
}
