package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"

	"holdline/fsm/pb"
	"holdline/sipcore/wire"
)

// onlyAccounts are those of the members that have one in a test.
type onlyAccounts map[string]Account

func (a onlyAccounts) Account(_, member string) (Account, bool) {
	x, ok := a[member]
	return x, ok
}

// trunkWorld is a world with a member that is to be registered.
type trunkWorld struct {
	*world
	m *pb.Member
	t *Trunk
}

func newTrunkWorld(t *testing.T) *trunkWorld {
	w := &trunkWorld{world: newTestCall(t), t: NewTrunk("trunk-1")}
	w.s.opt.Accounts = onlyAccounts{"gw1": {User: "4930", Password: "sesame"}}
	w.m = &pb.Member{Pool: "gw", Name: "gw1", Address: gw1.addr, Transport: "udp", Group: 1, User: "4930", Register: true}
	w.s.Begin(w.t, w.now)
	return w
}

// register has the member registered, and returns the REGISTER.
func (w *trunkWorld) register() string {
	w.world.t.Helper()
	w.s.Register(w.v, w.now, w.t, w.m, w.epochs[1])
	return w.sentRegister()
}

func (w *trunkWorld) sentRegister() string {
	w.world.t.Helper()
	return w.want(gw1.addr + " REGISTER sip:" + gw1.addr)[0]
}

// challenge answers with a 401 and returns the next REGISTER.
func (w *trunkWorld) challenge(req, params string) string {
	w.world.t.Helper()
	w.in(1, gw1.addr, gw1.answer(req, 401, `WWW-Authenticate: Digest realm="carrier", `+params))
	return w.sentRegister()
}

// state checks how the trunk stands; until and next are seconds from now, until -1 for not registered, next the least and the most.
func (w *trunkWorld) state(failure string, until int, least, most time.Duration) {
	w.world.t.Helper()
	s := w.t.State()
	left := -1
	if s.Until != 0 {
		left = int(time.Duration(s.Until-w.now).Round(time.Second) / time.Second)
	}
	if next := time.Duration(s.Next - w.now); s.Failure != failure || left != until || next < least || next > most {
		w.world.t.Errorf("%+v: registered for %d s, next in %v; want %q, %d, %v to %v", s, left, time.Duration(s.Next-w.now), failure, until, least, most)
	}
	if n := w.s.Len(); n != 0 {
		w.world.t.Errorf("%d transactions are left", n)
	}
}

// proves checks that a REGISTER answers a challenge.
func (w *trunkWorld) proves(req, realm, nonce string) {
	w.world.t.Helper()
	h := header(req, "Authorization")
	if len(h) != 1 {
		w.world.t.Fatalf("no credentials in\n%s", req)
	}
	got, err := digest.ParseCredentials(h[0])
	if err != nil {
		w.world.t.Fatal(err)
	}
	want, err := digest.Digest(&digest.Challenge{Realm: realm, Nonce: nonce}, digest.Options{Method: "REGISTER", URI: got.URI, Username: "4930", Password: "sesame"})
	if err != nil || got.Response != want.Response || got.URI != "sip:"+gw1.addr || got.Nonce != nonce {
		w.world.t.Errorf("%v: %s", err, h[0])
	}
}

// TestRegister: a REGISTER as carriers want it, its challenge answered, and refreshed after a bit more than half of what was granted to our own Contact.
func TestRegister(t *testing.T) {
	w := newTrunkWorld(t)
	first := w.register()
	host := netip.MustParseAddrPort(gw1.addr).Addr().String()
	tag := header(first, "From")[0][strings.Index(header(first, "From")[0], ";tag="):]
	for name, want := range map[string]string{
		"From": "<sip:4930@" + host + ">" + tag, "To": "<sip:4930@" + host + ">", "Call-ID": "trunk-1", "CSeq": "1 REGISTER",
		"Contact": "<sip:4930@10.0.0.101:5060>;expires=3600", "Expires": "3600", "Max-Forwards": "70", "Content-Length": "0",
	} {
		if got := header(first, name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if len(header(first, "Via")) != 1 || header(first, "Authorization") != nil {
		t.Errorf("%s", first)
	}
	second := w.challenge(first, `nonce="n1"`)
	w.proves(second, "carrier", "n1")
	for _, name := range []string{"Call-ID", "From", "Contact"} {
		if a, b := header(first, name), header(second, name); a[0] != b[0] {
			t.Errorf("%s: %q, then %q", name, a, b)
		}
	}
	if header(second, "CSeq")[0] != "2 REGISTER" || header(second, "Via")[0] == header(first, "Via")[0] {
		t.Errorf("it is no new transaction:\n%s", second)
	}
	w.in(1, gw1.addr, gw1.answer(second, 200, "Contact: <sip:other@10.9.9.9>;expires=7, <sip:4930@10.0.0.101:5060>;q=0.5;expires=600", "Expires: 60"))
	w.want()
	w.state("", 600, 310*time.Second, 350*time.Second)
	if g := w.s.opt.Health.Gateway("gw", "gw1", w.now); g != (Gateway{Registers: true}) {
		t.Errorf("the gateway is there: %+v", g)
	}

	w.now = w.t.State().Next
	third := w.register()
	if header(third, "CSeq")[0] != "3 REGISTER" || header(third, "Authorization") != nil {
		t.Errorf("%s", third)
	}
	w.in(1, gw1.addr, gw1.answer(third, 200, "Expires: 60"))
	w.state("", 60, 31*time.Second, 36*time.Second)

	// Our own repetition of what it has asked for, and one that names no time, that writes ours otherwise, alone or among others, or a time that cannot be read.
	for want, lines := range map[int][]string{
		60:   {"Contact: <sip:x@10.9.9.9>;expires=1", "Contact: <sip:y@10.9.9.9>;expires=2"},
		90:   {"Contact: <sip:x@10.9.9.9>;expires=300", "Contact: <sip:y@10.9.9.9>;expires=90"},
		3600: {`Contact: <sip:4930@10.0.0.101:5060>;expires="3600"`},
		120:  {`Contact: "x" <sip:4930@198.51.100.7:1024>;expires=120`},
		180:  {"Contact: <sip:4930@10.0.0.101:5060>", "Expires: 180"},
		240:  {"Contact: <sip:4930@10.0.0.101:5062>;expires=1, <sip:4930@10.0.0.101>;expires=240"},
	} {
		w.in(1, gw1.addr, gw1.answer(w.register(), 200, lines...))
		w.state("", want, 0, time.Hour)
	}
	if w.stats.Registers.Load() != 9 {
		t.Errorf("%d were counted", w.stats.Registers.Load())
	}
}

// TestRegisterRefused: a stale nonce is another one's answer, a second one means a wrong password, and those who refuse are left alone for longer each time.
func TestRegisterRefused(t *testing.T) {
	w := newTrunkWorld(t)
	req := w.challenge(w.register(), `nonce="n1", qop="auth"`)
	first := header(req, "Authorization")
	req = w.challenge(req, `nonce="n1", qop="auth", stale=TRUE`)
	if second := header(req, "Authorization"); !strings.Contains(first[0], "nc=00000001") || !strings.Contains(second[0], "nc=00000002") {
		t.Errorf("%q, then %q", first, second)
	}
	w.in(1, gw1.addr, gw1.answer(req, 200))
	w.state("", 3600, 31*time.Minute, 35*time.Minute)

	req = w.challenge(w.challenge(w.register(), `nonce="n2"`), `nonce="n3"`) // changed: once more
	w.proves(req, "carrier", "n3")
	const wrong = "401 X: wrong user or password"
	w.in(1, gw1.addr, gw1.answer(req, 401, `WWW-Authenticate: Digest realm="carrier", nonce="n4"`))
	w.want()
	w.state(wrong, 3600, time.Minute, 66*time.Second)

	for _, wait := range []time.Duration{2, 4, 8, 10, 10} { // the same nonce: the password is wrong at once
		w.now = w.t.State().Next
		req = w.challenge(w.register(), `nonce="n5"`)
		w.in(1, gw1.addr, gw1.answer(req, 401, `WWW-Authenticate: Digest realm="carrier", nonce="n5"`))
		w.want()
		w.state(wrong, int(time.Duration(w.t.State().Until-w.now).Round(time.Second)/time.Second), wait*time.Minute, wait*time.Minute*11/10)
	}
	if n := w.stats.WrongAccount.Load(); n != 6 {
		t.Errorf("%d wrong passwords were counted", n)
	}
	w.now += int64(time.Hour)
	for _, c := range []struct {
		status      int
		header      string
		failure     string
		least, most time.Duration
	}{
		{403, "", "403 X", 10 * time.Minute, 11 * time.Minute},
		{404, "Retry-After: 1800", "404 X", 30 * time.Minute, 30 * time.Minute},
		{302, "Contact: <sip:elsewhere@10.9.9.9>", "302 X", 10 * time.Minute, 11 * time.Minute},
		{401, `WWW-Authenticate: Basic realm="x"`, "401 X: its challenge is none that can be answered", 10 * time.Minute, 11 * time.Minute},
		{200, "Expires: 0", "200 X, but not for any time", 10 * time.Minute, 11 * time.Minute},
		{423, "Min-Expires: 60", "423 X", 10 * time.Minute, 11 * time.Minute},
		{503, "", "503 X", 5 * time.Second, 6 * time.Second},
		{503, "Retry-After: 120 (soon)", "503 X", 2 * time.Minute, 2 * time.Minute},
		{500, "", "500 X", 20 * time.Second, 24 * time.Second},
	} {
		lines := []string{c.header}
		if c.header == "" {
			lines = nil
		}
		w.in(1, gw1.addr, gw1.answer(w.register(), c.status, lines...))
		w.want()
		w.state(c.failure, -1, c.least, c.most)
	}
	if !w.s.opt.Health.isDown("gw", "gw1", w.now) {
		t.Error("one that answers 503 is down")
	}
	w.in(1, gw1.addr, gw1.answer(w.register(), 200))
	w.state("", 3600, 31*time.Minute, 35*time.Minute)
	w.in(1, gw1.addr, gw1.answer(w.register(), 403))
	w.state("403 X", 3600, time.Minute, 66*time.Second) // the count begins anew

	w.s.opt.Accounts = onlyAccounts{}
	w.s.Register(w.v, w.now, w.t, w.m, 1)
	w.want()
	w.state("no password", 3600, 2*time.Minute, 132*time.Second)
}

// TestProbeChallenged: an OPTIONS that is challenged has found the gateway, and is not sent again with a password.
func TestProbeChallenged(t *testing.T) {
	w := newTrunkWorld(t)
	w.in(1, gw1.addr, gw1.answer(w.probe("p1"), 401, `WWW-Authenticate: Digest realm="carrier", nonce="n1"`))
	w.want()
	if g := w.s.opt.Health.Gateway("gw", "gw1", w.now); g != (Gateway{Answered: true}) || w.s.Len() != 0 {
		t.Errorf("%+v", g)
	}
}

// TestRegisterLonger: a carrier that wants longer registrations gets them, from then on.
func TestRegisterLonger(t *testing.T) {
	w := newTrunkWorld(t)
	w.m.RegisterS = 60
	req := w.challenge(w.register(), `nonce="n1"`)
	w.in(1, gw1.addr, gw1.answer(req, 423, "Min-Expires: 900"))
	req = w.sentRegister()
	if header(req, "Expires")[0] != "900" || header(req, "CSeq")[0] != "3 REGISTER" || header(req, "Authorization") != nil {
		t.Errorf("%s", req)
	}
	req = w.challenge(req, `nonce="n2"`)
	w.in(1, gw1.addr, gw1.answer(req, 200))
	w.state("", 900, 450*time.Second, 540*time.Second)
	if req = w.register(); header(req, "Expires")[0] != "900" {
		t.Errorf("the next one: %s", req)
	}
	for _, n := range []int{901, 902} {
		w.in(1, gw1.addr, gw1.answer(req, 423, fmt.Sprintf("Min-Expires: %d", n)))
		req = w.sentRegister()
	}
	w.in(1, gw1.addr, gw1.answer(req, 423, "Min-Expires: 903"))
	w.want()
	w.state("423 X", 900, time.Minute, 66*time.Second)
}

// TestRegisterUnheard: silence, a closed port and a name with several addresses; a gateway that has answered a REGISTER before is down when it does not.
func TestRegisterUnheard(t *testing.T) {
	w := newTrunkWorld(t)
	h := w.s.opt.Health
	silence := func(least, most time.Duration, down bool) {
		t.Helper()
		w.register()
		w.pass(10 * time.Second)
		if n := len(w.take()); n != 4 { // after 0.5, 1.5, 3.5 and 7.5 s
			t.Errorf("repeated %d times", n)
		}
		w.state("not answered", -1, least, most)
		if got := h.isDown("gw", "gw1", w.now); got != down || !w.t.State().Silent {
			t.Errorf("down: %v", got)
		}
	}
	silence(4*time.Second, 6*time.Second, false)
	silence(9*time.Second, 12*time.Second, false)
	silence(19*time.Second, 24*time.Second, false)
	silence(24*time.Second, 30*time.Second, false)
	if g := h.Gateway("gw", "gw1", w.now); g != (Gateway{Silent: true}) {
		t.Errorf("%+v", g)
	}
	w.refused(w.register(), gw1.addr, true)
	w.state("not reached", -1, 24*time.Second, 30*time.Second)
	if !h.isDown("gw", "gw1", w.now) {
		t.Error("its port is closed")
	}
	w.in(1, gw1.addr, gw1.answer(w.register(), 403))
	if g := h.Gateway("gw", "gw1", w.now); g != (Gateway{Registers: true}) {
		t.Errorf("it answers: %+v", g)
	}
	w.probe("p1") // but no OPTIONS, which is not held against it
	w.pass(4 * time.Second)
	w.take()
	if g := h.Gateway("gw", "gw1", w.now); g != (Gateway{Registers: true}) {
		t.Errorf("it answers no OPTIONS: %+v", g)
	}
	w.t.unheard = 0
	silence(5*time.Second, 6*time.Second, true)
	w.in(1, gw1.addr, gw1.answer(w.probe("p2"), 200))
	w.register()
	w.pass(time.Second)
	w.take()
	w.s.Probe(w.v, w.now, 1, 1, w.m, "p3")
	w.in(1, gw1.addr, gw1.answer(w.take()[0].data, 200))
	w.pass(9 * time.Second)
	if h.isDown("gw", "gw1", w.now) {
		t.Error("one that answers OPTIONS is there, whether it takes registrations or not")
	}
	w.take()

	w.m.Address = "carrier.example"
	w.s.Register(w.v, w.now, w.t, w.m, 1)
	w.resolved(target("10.9.0.1:5060"), target("10.9.0.2:5060"))
	req := w.want("10.9.0.1:5060 REGISTER sip:carrier.example")[0]
	if header(req, "To")[0] != "<sip:4930@carrier.example>" {
		t.Errorf("%s", req)
	}
	w.in(1, "10.9.0.1:5060", gw1.answer(req, 503))
	req = w.want("10.9.0.2:5060 REGISTER sip:carrier.example")[0]
	w.in(1, "10.9.0.2:5060", gw1.answer(req, 200))
	w.state("", 3600, 31*time.Minute, 35*time.Minute)
	w.s.Register(w.v, w.now, w.t, w.m, 1)
	w.resolved()
	w.want()
	w.state("not reached", 3600, 5*time.Second, 6*time.Second)
}

// TestRegisterTakenOver: the new owner of the group registers the same Contact at once; what the last one has under way is dropped without a word.
func TestRegisterTakenOver(t *testing.T) {
	a := newTrunkWorld(t)
	first := a.register()
	a.s.DropGroup(1)
	b := newTrunkWorld(t)
	b.epochs[1] = 2
	b.t = NewTrunk("trunk-2")
	second := b.register()
	if header(first, "Contact")[0] != header(second, "Contact")[0] || header(first, "Call-ID")[0] == header(second, "Call-ID")[0] {
		t.Errorf("%s\n%s", first, second)
	}
	a.in(1, gw1.addr, gw1.answer(first, 200))
	a.want()
	if s := a.t.State(); s.Until != 0 {
		t.Errorf("%+v", s)
	}
	b.in(1, gw1.addr, gw1.answer(second, 200))
	b.state("", 3600, 31*time.Minute, 35*time.Minute)

	// Back again, while one of before waits: only the newest counts.
	a.epochs[1] = 3
	old := a.register()
	a.s.Begin(a.t, a.now)
	a.state("", -1, 0, 0)
	next := a.register()
	if header(next, "CSeq")[0] != "3 REGISTER" {
		t.Errorf("%s", next)
	}
	a.in(1, gw1.addr, gw1.answer(old, 403))
	a.in(1, gw1.addr, gw1.answer(next, 200))
	a.state("", 3600, 31*time.Minute, 35*time.Minute)
}

// TestUnregister: what was registered is taken back, with the account that did it, though it is gone from the configuration.
func TestUnregister(t *testing.T) {
	w := newTrunkWorld(t)
	w.in(1, gw1.addr, gw1.answer(w.register(), 200))
	w.s.opt.Accounts = onlyAccounts{}
	end := func(status int, failure string) {
		t.Helper()
		w.s.Unregister(w.v, w.now, w.t, w.m, 1)
		req := w.sentRegister()
		if header(req, "Contact")[0] != "<sip:4930@10.0.0.101:5060>;expires=0" || header(req, "Expires")[0] != "0" {
			t.Errorf("%s", req)
		}
		req = w.challenge(req, `nonce="n1"`)
		w.proves(req, "carrier", "n1")
		w.in(1, gw1.addr, gw1.answer(req, status))
		w.want()
		if s := w.t.State(); !s.Ended || s.Failure != failure || w.s.Len() != 0 {
			t.Errorf("%+v", s)
		}
	}
	end(403, "403 X")
	end(200, "")

	// One that this node has never registered, nor knows how to, is left alone.
	w.t = NewTrunk("trunk-2")
	w.s.Unregister(w.v, w.now, w.t, w.m, 1)
	w.want()
	if s := w.t.State(); !s.Ended || s.Failure != "no password" {
		t.Errorf("%+v", s)
	}
}

// TestRegisterText: users that a URI cannot hold as they are, other transports, IPv6, and what no VIP can send.
func TestRegisterText(t *testing.T) {
	w := newTrunkWorld(t)
	w.s.opt.Accounts = onlyAccounts{"gw1": {User: "me@shop;x:%", Password: "p"}}
	for _, c := range []struct{ address, transport, uri, contact string }{
		{"10.9.0.1", "tcp", "sip:10.9.0.1", "<sip:me%40shop%3Bx%3A%25@10.0.0.101:5060;transport=tcp>;expires=3600"},
		{"10.9.0.1:5070", "tls", "sip:10.9.0.1:5070", "<sip:me%40shop%3Bx%3A%25@10.0.0.101:5061;transport=tls>;expires=3600"},
		{"2001:db8::1", "udp", "", ""},
	} {
		w.m.Address, w.m.Transport = c.address, c.transport
		w.s.Register(w.v, w.now, w.t, w.m, 1)
		got := w.take()
		if c.uri == "" {
			if len(got) != 0 || w.t.State().Failure != "cannot be sent by this VIP" {
				t.Errorf("%v, %+v", got, w.t.State())
			}
			continue
		}
		if len(got) != 1 || !strings.HasPrefix(got[0].data, "REGISTER "+c.uri+" SIP/2.0\r\n") || header(got[0].data, "Contact")[0] != c.contact || got[0].to.Proto != pb.Transport(pb.Transport_value[strings.ToUpper(c.transport)]) {
			t.Errorf("%v", got)
		}
		var m wire.Msg
		if err := m.Scan([]byte(got[0].data)); err != nil {
			t.Error(err)
		}
		if u, err := wire.ParseURI(m.Bytes(m.From.URI)); err != nil || string(wire.AppendUnescaped(nil, u.User)) != "me@shop;x:%" {
			t.Errorf("%v %s", err, got[0].data)
		}
	}
}
