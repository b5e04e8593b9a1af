package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"
)

// answered is what a request carries, as header realm/nonce/nc, and that each is right.
func answered(t testing.TB, req, user, password string) (out []string) {
	t.Helper()
	method, rest, _ := strings.Cut(req, " ")
	uri, _, _ := strings.Cut(rest, " ")
	for _, name := range []string{"Proxy-Authorization", "Authorization"} {
		for _, v := range header(req, name) {
			got, err := digest.ParseCredentials(v)
			if err != nil {
				t.Fatal(err)
			}
			want, err := digest.Digest(challengeOf(got), digest.Options{Method: method, URI: uri, Username: user, Password: password, Count: got.Nc, Cnonce: got.Cnonce})
			if err != nil || want.Response != got.Response || got.URI != uri {
				t.Errorf("%v: %s", err, v)
			}
			out = append(out, fmt.Sprintf("%s %s/%s/%d", name, got.Realm, got.Nonce, got.Nc))
		}
	}
	return out
}

// shows checks what a request to the gateway carries.
func (w *world) shows(req, what string, want ...string) {
	w.t.Helper()
	if got := answered(w.t, req, "4930123", "secret"); !slices.Equal(got, want) {
		w.t.Errorf("%s carries %q, want %q", what, got, want)
	}
}

func asks(realm, nonce string) string {
	return `Proxy-Authenticate: Digest realm="` + realm + `", qop="auth", nonce="` + nonce + `"`
}

const (
	edge1    = "Proxy-Authorization edge/e1/1"
	edgeTwo  = "Proxy-Authorization edge/e1/2"
	carrier1 = "Proxy-Authorization carrier/c1/1"
)

// challengedTwice has two proxies of gw1 ask for a password, and returns what it gets next.
func (w *world) challengedTwice(req string) string {
	w.t.Helper()
	next := []string{gw1.addr + " ACK sip:123@" + gw1.addr, gw1.addr + " INVITE sip:123@" + gw1.addr}
	w.in(1, gw1.addr, gw1.answer(req, 407, asks("edge", "e1")))
	req = w.want(next...)[1]
	w.shows(req, "the second INVITE", edge1)
	w.in(1, gw1.addr, gw1.answer(req, 407, asks("carrier", "c1")))
	req = w.want(next...)[1]
	w.shows(req, "the third INVITE", edgeTwo, carrier1)
	return req
}

// TestChallengedTwice: of two proxies before a gateway each asks in its own realm: they get both answers in one request (RFC 3261 §22.3), in the dialog as well, and from a
// new owner.
func TestChallengedTwice(t *testing.T) {
	w := withAccount(t, newCluster(t), "gw1")
	got := w.challengedTwice(w.dialOut())
	cseq(t, got, "3 INVITE")
	n := w.moved()
	n.s.opt.Accounts = w.s.opt.Accounts
	n.rearm()
	if again := n.want(alice.addr+" 100 Trying", gw1.addr+" INVITE sip:123@"+gw1.addr)[1]; again != got {
		t.Errorf("sent\n%s\nand then\n%s", got, again)
	}
	n.in(1, gw1.addr, gw1.answer(got, 200))
	ok := n.want(alice.addr + " 200 X")[0]
	cseq(t, ok, "1 INVITE")
	to, routes := header(ok, "To")[0], routeSet(ok, true)
	n.in(1, alice.addr, alice.request("ACK", "sip:gw1@"+gw1.addr, "c1", 1, "ack", to, routes...))
	ack := n.want(gw1.addr + " ACK sip:gw1@" + gw1.addr)[0]
	cseq(t, ack, "3 ACK")
	if p := header(ack, "Proxy-Authorization"); !slices.Equal(p, header(got, "Proxy-Authorization")) {
		t.Errorf("the ACK's: %q", p)
	}
	n.in(1, alice.addr, alice.request("BYE", "sip:gw1@"+gw1.addr, "c1", 2, "bye", to, routes...))
	next := func() string { return n.want(gw1.addr + " BYE sip:gw1@" + gw1.addr)[0] }
	bye := next()
	for _, step := range []struct {
		asked  string
		answer []string
	}{
		{asks("edge", "e1"), []string{edge1}},
		{asks("carrier", "c1"), []string{edgeTwo, carrier1}},
		{asks("edge", "e2") + ", stale=true", []string{"Proxy-Authorization edge/e2/1", "Proxy-Authorization carrier/c1/2"}},
	} {
		n.in(1, gw1.addr, gw1.answer(bye, 407, step.asked))
		bye = next()
		n.shows(bye, "the BYE", step.answer...)
		cseq(t, bye, "4 BYE")
	}
	n.in(1, gw1.addr, gw1.answer(bye, 407, asks("carrier", "c2")+", stale=true")) // once too often
	n.want(alice.addr + " 407 X")
}

// TestChallengedTwiceTakenUp: the second proxy asks the new owner, which has not sent what it asks for.
func TestChallengedTwiceTakenUp(t *testing.T) {
	w := withAccount(t, newCluster(t), "gw1")
	w.in(1, gw1.addr, gw1.answer(w.dialOut(), 407, asks("edge", "e1")))
	second := w.want(gw1.addr+" ACK sip:123@"+gw1.addr, gw1.addr+" INVITE sip:123@"+gw1.addr)[1]
	n := w.moved()
	n.s.opt.Accounts = w.s.opt.Accounts
	n.rearm()
	n.want(alice.addr+" 100 Trying", gw1.addr+" INVITE sip:123@"+gw1.addr)
	n.in(1, gw1.addr, gw1.answer(second, 407, asks("carrier", "c1")))
	third := n.want(gw1.addr+" ACK sip:123@"+gw1.addr, gw1.addr+" INVITE sip:123@"+gw1.addr)[1]
	n.shows(third, "the third INVITE", edgeTwo, carrier1)
	cseq(t, third, "3 INVITE")
}

// TestChallengedTooOften: each realm gets one answer and one nonce of them may be stale; who comes behind the proxy gets none for its realm, and nobody one behind who has asked with 401.
func TestChallengedTooOften(t *testing.T) {
	www := func(realm, nonce string) string {
		return "WWW-" + strings.TrimPrefix(asks(realm, nonce), "Proxy-")
	}
	for name, c := range map[string]struct {
		before  func(w *world) string
		status  int
		asked   string
		carries []string // the next INVITE; none: there is none, and the next gateway is called
	}{
		"stale":              {(*world).both, 407, asks("edge", "e2") + ", stale=true", []string{"Proxy-Authorization edge/e2/1", "Proxy-Authorization carrier/c1/2"}},
		"stale, the other":   {(*world).both, 407, asks("carrier", "c2") + ", stale=true", []string{"Proxy-Authorization edge/e1/3", "Proxy-Authorization carrier/c2/1"}},
		"wrong password":     {(*world).both, 407, asks("carrier", "c2"), nil},
		"a third realm":      {(*world).both, 407, asks("third", "t1"), nil},
		"a server behind":    {(*world).edge, 401, www("pbx", "p1"), []string{"Proxy-Authorization edge/e1/2", "Authorization pbx/p1/1"}},
		"the proxy's realm":  {(*world).edge, 401, www("edge", "e9"), nil},
		"both are asked for": {(*world).edge, 407, asks("edge", "e9") + "\r\n" + asks("carrier", "c1"), []string{edgeTwo, carrier1}},
		"behind a server": {func(w *world) string {
			w.in(1, gw1.addr, gw1.answer(w.dialOut(), 401, www("pbx", "p1")))
			return w.want(gw1.addr+" ACK sip:123@"+gw1.addr, gw1.addr+" INVITE sip:123@"+gw1.addr)[1]
		}, 407, asks("edge", "e1"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := withAccount(t, newCluster(t), "gw1")
			w.in(1, gw1.addr, gw1.answer(c.before(w), c.status, c.asked))
			ack := gw1.addr + " ACK sip:123@" + gw1.addr
			if c.carries == nil {
				w.want(ack, gw2.addr+" INVITE sip:123@"+gw2.addr)
				return
			}
			w.shows(w.want(ack, gw1.addr+" INVITE sip:123@"+gw1.addr)[1], "the INVITE", c.carries...)
		})
	}
	w := withAccount(t, newCluster(t), "gw1")
	got := w.both()
	w.in(1, gw1.addr, gw1.answer(got, 407, asks("edge", "e2")+", stale=true"))
	got = w.want(gw1.addr+" ACK sip:123@"+gw1.addr, gw1.addr+" INVITE sip:123@"+gw1.addr)[1]
	cseq(t, got, "4 INVITE")
	w.in(1, gw1.addr, gw1.answer(got, 407, asks("carrier", "c2")+", stale=true"))
	w.want(gw1.addr+" ACK sip:123@"+gw1.addr, gw2.addr+" INVITE sip:123@"+gw2.addr)
}

func (w *world) both() string { return w.challengedTwice(w.dialOut()) }

func (w *world) edge() string {
	w.in(1, gw1.addr, gw1.answer(w.dialOut(), 407, asks("edge", "e1")))
	return w.want(gw1.addr+" ACK sip:123@"+gw1.addr, gw1.addr+" INVITE sip:123@"+gw1.addr)[1]
}

// TestRealmAlone: an account that is for one realm gets no further than that.
func TestRealmAlone(t *testing.T) {
	w := withAccount(t, newCluster(t))
	w.s.opt.Accounts = keyed{"gw1": {User: "4930123", Password: "secret", Realm: "edge"}}
	w.in(1, gw1.addr, gw1.answer(w.edge(), 407, asks("carrier", "c1")))
	w.want(gw1.addr+" ACK sip:123@"+gw1.addr, gw2.addr+" INVITE sip:123@"+gw2.addr)
}

// TestRegisterTwice: a registrar behind a proxy, which asks first; each is answered, in one request, and each may have its nonce replaced once, but not both.
func TestRegisterTwice(t *testing.T) {
	const registrar1 = "Authorization carrier/n1/1"
	w := newTrunkWorld(t)
	shows := func(req string, want ...string) string {
		t.Helper()
		if got := answered(t, req, "4930", "sesame"); !slices.Equal(got, want) {
			t.Errorf("it carries %q, want %q", got, want)
		}
		return req
	}
	byProxy := func(req, realm, nonce string) string {
		t.Helper()
		w.in(1, gw1.addr, gw1.answer(req, 407, asks(realm, nonce)))
		return w.sentRegister()
	}
	both := func() string {
		t.Helper()
		req := shows(byProxy(w.register(), "edge", "e1"), edge1)
		return shows(w.challenge(req, `qop="auth", nonce="n1"`), edgeTwo, registrar1)
	}
	req := both()
	if header(req, "CSeq")[0] != "3 REGISTER" {
		t.Errorf("%s", req)
	}
	w.in(1, gw1.addr, gw1.answer(req, 200))
	w.state("", 3600, 31*time.Minute, 35*time.Minute)

	req = shows(byProxy(both(), "edge", "e2"), "Proxy-Authorization edge/e2/1", "Authorization carrier/n1/2")
	w.in(1, gw1.addr, gw1.answer(req, 401, `WWW-Authenticate: Digest realm="carrier", nonce="n2", stale=true`))
	w.want()
	w.state("401 X: wrong user or password", 3600, time.Minute, 66*time.Second)

	w.in(1, gw1.addr, gw1.answer(both(), 407, asks("third", "t1")))
	w.want()
	w.state("407 X: it asks for passwords in too many realms", 3600, 2*time.Minute, 132*time.Second)

	// One realm may be both's.
	req = byProxy(w.register(), "carrier", "e1")
	req = shows(w.challenge(req, `qop="auth", nonce="n1"`), "Proxy-Authorization carrier/e1/2", registrar1)
	w.in(1, gw1.addr, gw1.answer(req, 200))
	w.state("", 3600, 31*time.Minute, 35*time.Minute)

	w.s.opt.Accounts = onlyAccounts{"gw1": {User: "4930", Password: "sesame", Realm: "carrier"}}
	w.in(1, gw1.addr, gw1.answer(w.register(), 407, asks("edge", "e1")))
	w.want()
	w.state("407 X: its challenge is none that can be answered", 3600, time.Minute, 66*time.Second)
}

// TestProofsKept: what is on record is read again as it was.
func TestProofsKept(t *testing.T) {
	w := withAccount(t, newCluster(t), "gw1")
	w.both()
	target := w.cl.m.Call(1).Legs[0].Target
	if p := readProofs(target.Credentials); len(p) != 2 || p.lines() != target.Credentials || target.CSeqShift != 2 {
		t.Errorf("%q is read as %q", target.Credentials, p.lines())
	}
	if p := readProofs(""); p != nil {
		t.Errorf("%v", p)
	}
}
