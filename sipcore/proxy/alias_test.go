package proxy

import (
	"slices"
	"strings"
	"testing"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/wire"
)

// called gives a user of example.com other names, and the last of them to gateways if told is set.
func (c *cluster) called(user string, told bool, aliases ...string) {
	c.t.Helper()
	change := &pb.ChangeUser{Aor: user + "@example.com", AddAliases: aliases}
	if told {
		change.Identity = &aliases[len(aliases)-1]
	}
	if r := c.apply(&pb.Command{Op: &pb.Command_ChangeUser{ChangeUser: change}}); r.Code != pb.Code_OK {
		c.t.Fatalf("aliases of %s: %v %s", user, r.Code, r.Error)
	}
}

// proven takes every request for one of the user's, as the state has him.
type proven struct {
	trustAll
	m   *fsm.Machine
	aor string
}

func (p proven) Check(*wire.Msg, *pb.Domain, bool) (*fsm.User, []wire.Field, string, bool) {
	return p.m.Config().User(p.aor), nil, "", true
}

// TestCalledByAlias: whoever names an alias reaches the user's phones, before any route and in whatever way a carrier writes what is behind a number.
func TestCalledByAlias(t *testing.T) {
	toBob := " sip:bob@" + bob.addr + " SIP/2.0"
	for _, c := range []struct{ uri, want string }{
		{"sip:+491@example.com", toBob},
		{"sip:+491@example.com;user=phone", toBob},
		{"sip:%2B491@example.com", toBob},
		{"sip:+491@10.0.0.101", toBob}, // an alias of the domain
		{"sip:+491@EXAMPLE.com:5060", toBob},
		{"sip:+491;npdi=yes@example.com", toBob},
		{"sip:+491;rn=+492;npdi@example.com", toBob},
		{"tel:+491", toBob},
		{"tel:+491;npdi", toBob},
		{"sip:0491@example.com", toBob}, // there is a route for 0
		{"sip:anna@example.com", toBob},
		{"sip:bob@example.com", toBob},
		{"sip:0492@example.com", "SIP/2.0 480 Temporarily Unavailable"}, // his phone is off: no route is taken for that
		{"sip:0493@example.com", "SIP/2.0 404 That Number Leads Back To The Pool It Comes From"},
		{"sip:Anna@example.com", "SIP/2.0 404 Not Found"},
		{"sip:491@example.com", "SIP/2.0 404 Not Found"},
		{"sip:anna;npdi@example.com", "SIP/2.0 404 Not Found"},
		{"sip:+491@other.example", "SIP/2.0 404 Domain Not Served Here"},
	} {
		for _, method := range []string{"INVITE", "MESSAGE", "SUBSCRIBE", "OPTIONS"} {
			cl := newCluster(t)
			cl.called("bob", false, "+491", "0491", "anna")
			cl.called("carol", false, "0492")
			cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
			w := newWorld(t, cl)
			w.in(1, gw1.addr, gw1.request(method, c.uri, "c1", 1, "c1", ""))
			got := w.takeBut100()
			want := c.want
			if want == toBob {
				want = method + want
			}
			if len(got) != 1 || !strings.HasPrefix(got[0].data, want+"\r\n") {
				t.Errorf("%s %s: %v, want %s", method, c.uri, got, want)
			}
			if n := cl.m.UserCalls("bob@example.com"); method == "INVITE" && c.want == toBob && n != 1 {
				t.Errorf("%s: %d calls of the user's are counted", c.uri, n)
			}
		}
	}
}

// TestAliasGone: an alias that is taken from a user is a number like any other.
func TestAliasGone(t *testing.T) {
	cl := newCluster(t)
	cl.called("bob", false, "0491")
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	cl.apply(&pb.Command{Op: &pb.Command_ChangeUser{ChangeUser: &pb.ChangeUser{Aor: "bob@example.com", RemoveAliases: []string{"0491"}}}})
	w := newWorld(t, cl)
	w.in(1, alice.addr, alice.request("INVITE", "sip:0491@example.com", "c1", 1, "c1", ""))
	w.want(alice.addr+" 100 Trying", gw1.addr+" INVITE sip:491@"+gw1.addr)
}

// TestFromAlias: whoever proves a user's password may call himself by any of the user's names, and by nobody else's. Gateways are told the name that is for them.
func TestFromAlias(t *testing.T) {
	for _, c := range []struct {
		from string
		told bool
		uri  string
		want string // how the request or the answer begins
		id   []string
	}{
		{"alice", false, "sip:bob@example.com", "INVITE ", nil},
		{"+491", false, "sip:bob@example.com", "INVITE ", nil},
		{"%2B491", false, "sip:bob@example.com", "INVITE ", nil},
		{"+492", true, "sip:bob@example.com", "INVITE ", nil},
		{"+491", false, "sip:0123@example.com", "INVITE ", []string{isAlice}},
		{"+491", true, "sip:0123@example.com", "INVITE ", []string{"P-Asserted-Identity: <sip:+492@example.com>"}},
		{"alice", true, "sip:0123@example.com", "INVITE ", []string{"P-Asserted-Identity: <sip:+492@example.com>"}},
		{"anonymous", true, "sip:0123@example.com", "INVITE ", []string{"P-Asserted-Identity: <sip:+492@example.com>", "Privacy: id"}},
		{"+493", false, "sip:bob@example.com", "SIP/2.0 403 From Names Another User", nil},
		{"+494", false, "sip:bob@example.com", "SIP/2.0 403 From Names Another User", nil},
		{"bob", false, "sip:bob@example.com", "SIP/2.0 403 From Names Another User", nil},
	} {
		cl := newCluster(t)
		cl.called("alice", c.told, "+491", "+492")
		cl.called("carol", false, "+493")
		cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
		w := newWorld(t, cl)
		w.s.opt.Auth = proven{m: cl.m, aor: "alice@example.com"}
		w.in(1, alice.addr, strings.Replace(alice.request("INVITE", c.uri, "c1", 1, "c1", "", claimed), "sip:alice@example.com", "sip:"+c.from+"@example.com", 1))
		got := w.takeBut100()
		if len(got) != 1 || !strings.HasPrefix(got[0].data, c.want) {
			t.Errorf("from %s to %s: %v", c.from, c.uri, got)
			continue
		}
		if s := said(got[0].data); !slices.Equal(s, c.id) {
			t.Errorf("from %s to %s: it is told %q, want %q", c.from, c.uri, s, c.id)
		}
		if row := cl.m.Call(1); row != nil && row.Origin != "alice@example.com" {
			t.Errorf("from %s: the record names %s", c.from, row.Origin)
		}
	}
}

// TestAnonymousAlias: anonymous withholds who calls, unless it is somebody's alias.
func TestAnonymousAlias(t *testing.T) {
	cl := newCluster(t)
	cl.called("carol", false, "anonymous")
	w := newWorld(t, cl)
	w.s.opt.Auth = proven{m: cl.m, aor: "alice@example.com"}
	w.in(1, alice.addr, strings.Replace(alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""), "sip:alice@", "sip:anonymous@", 1))
	w.want(alice.addr + " 403 From Names Another User")
}

// TestSubscriptionByAlias: what follows in a dialog of no call finds the phone by the alias in To when the phone has come back over another connection.
func TestSubscriptionByAlias(t *testing.T) {
	cl := newCluster(t)
	cl.called("bob", false, "+491")
	w := newWorld(t, cl)
	w.over(bobTCP)
	w.in(1, alice.addr, alice.request("SUBSCRIBE", "sip:+491@example.com", "s1", 1, "s1", "", "Event: dialog", "Contact: <sip:alice@"+alice.addr+">"))
	sub := w.sentTo(bobTCP, "SUBSCRIBE")
	w.in(1, bobTCP.remote, bob.answer(sub.data, 202, "Contact: <"+bobTCP.contact+">"))
	ok := w.want(alice.addr + " 202 X")[0]
	w.over(bobBack)
	w.in(1, alice.addr, alice.request("SUBSCRIBE", bobTCP.contact, "s1", 2, "s2", header(ok, "To")[0], append(routeSet(ok, true), "Event: dialog")...))
	w.sentTo(bobBack, "SUBSCRIBE")
}

// TestDivertedToAlias: a phone may send a call on to a user's alias where it may to users alone, with what a carrier hangs on to a number, too.
func TestDivertedToAlias(t *testing.T) {
	for _, contact := range []string{"<sip:0491@example.com>", "<sip:0491;npdi@example.com>", "<tel:0491>"} {
		cl := newCluster(t)
		cl.called("carol", false, "0491")
		cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
		cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
		w := newWorld(t, cl)
		w.set(SettingRedirects, RedirectsUsers)
		w.divert(contact)
		w.want(bob.addr+" ACK sip:bob@"+bob.addr, carol.addr+" INVITE sip:carol@"+carol.addr)
	}
}

// TestDivertedByAlias: gateways are told who has diverted a call by the name that he has for them, other users by his name.
func TestDivertedByAlias(t *testing.T) {
	for _, c := range []struct{ contact, to, asserted, by string }{
		{"<sip:0123@example.com>", gw1.addr + " INVITE sip:123@" + gw1.addr, "<sip:+491@example.com>", "<sip:+491@example.com>"},
		{"<sip:carol@example.com>", carol.addr + " INVITE sip:carol@" + carol.addr, "", "<sip:bob@example.com>"},
	} {
		cl := newCluster(t)
		cl.called("bob", true, "+491")
		cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
		w := diverting(t, cl, c.contact)
		got := w.want(bob.addr+" ACK sip:bob@"+bob.addr, c.to)[1]
		if id := strings.Join(header(got, "P-Asserted-Identity"), ","); id != c.asserted {
			t.Errorf("to %s: P-Asserted-Identity %q", c.to, id)
		}
		if d := header(got, "Diversion"); !slices.Equal(d, []string{c.by + ";reason=unknown;counter=1"}) {
			t.Errorf("to %s: Diversion %q", c.to, d)
		}
	}
}
