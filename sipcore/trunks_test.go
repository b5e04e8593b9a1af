package sipcore

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"holdline/deploy/lab/phone"
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
	c.seen = append(c.seen, s.Header("Call-ID")+" "+s.Header("CSeq")+" "+expires)
	if c.bindings[contact] = s.Header("Call-ID"); expires == "0" {
		delete(c.bindings, contact)
	}
	s.Respond(200, "OK", sip.NewHeader("Contact", contact+";expires=600"))
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

// TestTrunksOfOneAccount: a member that goes does not take back what another of the same account has registered, and one that is renamed without a gap waits until its former self is
// unregistered.
func TestTrunksOfOneAccount(t *testing.T) {
	var l *lab
	l = newLab(t, 1, func(o *Options) { o.Accounts = passwords{&l} })
	gw := newCarrier(t, "127.0.0.1:0")
	defer func() { _ = gw.Close() }()
	l.pool("gw", gw.Addr().String(), "127.0.0.9/32", 0)
	put := func(name string) {
		m := &pb.Member{Pool: "gw", Name: name, Address: gw.Addr().String(), Group: 1, User: "4930", SealedPassword: []byte("sesame"), Register: true}
		l.ok(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: m}}})
	}
	remove := func(name string) {
		l.ok(&pb.Command{Op: &pb.Command_RemoveMember{RemoveMember: &pb.RemoveMember{Pool: "gw", Name: name}}})
	}
	registered := func(name string) {
		t.Helper()
		eventually(t, within(t), name+" registered, and bound", func() bool {
			s, ok := l.cores[0].Trunk("gw", name)
			n, _ := gw.state()
			return ok && s.Registered && n == 1
		})
	}
	gone := func(name string) {
		t.Helper()
		eventually(t, within(t), name+" gone", func() bool { _, ok := l.cores[0].Trunk("gw", name); return !ok })
	}
	put("m1")
	registered("m1")
	put("m2")
	registered("m2")
	remove("m1")
	gone("m1")
	for end := time.Now().Add(5 * trunkStep); time.Now().Before(end); time.Sleep(trunkStep / 10) {
		if n, _ := gw.state(); n != 1 {
			t.Fatalf("what m2 has registered was taken back: %q", gw.seen)
		}
	}
	if _, taken := gw.state(); taken != 2 {
		t.Errorf("%d REGISTERs: %q", taken, gw.seen)
	}
	remove("m2")
	gone("m2")
	put("m3")
	registered("m3")
	gw.mu.Lock()
	if last := gw.seen[len(gw.seen)-1]; !strings.HasSuffix(last, " 3600") || len(gw.seen) != 4 { // and not the end of m2 after it
		t.Errorf("%q", gw.seen)
	}
	gw.mu.Unlock()
	remove("m3")
	eventually(t, within(t), "nothing bound", func() bool { n, _ := gw.state(); return n == 0 })
}
