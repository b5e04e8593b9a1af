package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"holdline/fsm/pb"
)

// TestRedirectForged: the word of a request that it was diverted is taken from ourselves alone, and for the call that it was given for.
func TestRedirectForged(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	w := newWorld(t, cl)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	invite := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.in(1, bob.addr, bob.answer(invite, 302, "Contact: <sip:0123@example.com>"))
	spiral := w.want(bob.addr+" ACK sip:bob@"+bob.addr, ourVIP+" INVITE sip:0123@example.com")[1]
	spiral = stranger.foreign(strings.ReplaceAll(spiral, "sip:alice@example.com", "sip:zoe@example.com"))
	own := func(s string) string { return strings.ReplaceAll(s, ";branch=z9hG4bK", ";branch=z9hG4bKx") }
	w.in(1, stranger.addr, own(spiral))
	w.want(stranger.addr + " 403 Calling Out Needs A User Or A Trusted Source")
	for name, changed := range map[string]string{
		"number": strings.Replace(spiral, "INVITE sip:0123@", "INVITE sip:0900@", 1),
		"call":   strings.Replace(spiral, "Call-ID: c1", "Call-ID: c2", 1),
		"tag":    strings.Replace(spiral, "tag=alice-tag", "tag=zoe-tag", 1),
	} {
		if changed == spiral {
			t.Fatalf("%s: nothing was changed", name)
		}
		w.in(1, ourVIP, own(changed))
		if got := w.want(ourVIP + " 403 Calling Out Needs A User Or A Trusted Source"); got == nil {
			t.Errorf("%s: taken", name)
		}
	}
	w.in(1, ourVIP, own(spiral))
	w.want(ourVIP+" 100 Trying", gw1.addr+" INVITE sip:123@"+gw1.addr)
	cl.apply(&pb.Command{Op: &pb.Command_RemoveUser{RemoveUser: &pb.RemoveUser{Aor: "bob@example.com"}}})
	w.reconfigured()
	w.in(1, ourVIP, strings.ReplaceAll(spiral, ";branch=z9hG4bK", ";branch=z9hG4bKy"))
	w.want(ourVIP + " 403 Diverted By A User Who Is Gone")
}

// TestRedirectAtVIPOfMember: a pool member at one of our VIPs, which has users kept from it, does not keep diverted calls from there.
func TestRedirectAtVIPOfMember(t *testing.T) {
	cl := newCluster(t)
	cl.putGateway("ourselves", "10.0.0.101:5090", "10.0.0.101/32")
	cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
	w := diverting(t, cl, "<sip:carol@example.com>")
	w.want(bob.addr+" ACK sip:bob@"+bob.addr, carol.addr+" INVITE sip:carol@"+carol.addr)
	if c := w.cl.m.Call(2); c.Origin != "bob@example.com" {
		t.Errorf("call of %s", c.Origin)
	}
}

// strangerDiverted is a stranger's call to bob, whose phone sends it on to a gateway, which answers; the stranger gets ok, the gateway had got invite.
func strangerDiverted(t *testing.T, w *world) (invite, ok string) {
	t.Helper()
	w.at(stranger, stranger.foreign(stranger.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "")))
	got := w.want(stranger.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.at(bob, bob.answer(got, 302, "Contact: <sip:0123@example.com>"))
	invite = w.want(bob.addr+" ACK sip:bob@"+bob.addr, gw1.addr+" INVITE sip:123@"+gw1.addr)[1]
	w.at(gw1, gw1.answer(invite, 200))
	return invite, w.want(stranger.addr + " 200 X")[0]
}

// TestRedirectStrangersDialog: a stranger whose call bob sends on to a gateway may do in it what belongs to it, and nothing else there, by whichever of its two Routes.
func TestRedirectStrangersDialog(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	w := newWorld(t, cl)
	_, ok := strangerDiverted(t, w)
	routes, to := routeSet(ok, true), header(ok, "To")[0]
	ask := func(method, uri, id, to, branch string, routes ...string) {
		w.at(stranger, stranger.foreign(stranger.request(method, uri, id, 2, branch, to, routes...)))
	}
	for i, c := range []struct {
		method, uri, id, to string
		routes              []string
	}{
		{"INVITE", "sip:0900666@" + gw1.addr, "other", "<sip:0900666@x>;tag=any", routes[1:]},
		{"INVITE", "sip:0900666@" + gw1.addr, "other", "<sip:0900666@x>;tag=any", routes},
		{"INVITE", "sip:0900666@" + gw1.addr, "c1", "<sip:0900666@x>;tag=any", routes},
		{"INVITE", "sip:0900666@" + gw1.addr, "other", to, routes},
		{"MESSAGE", "sip:0900666@" + gw2.addr, "other", "<sip:0900666@x>;tag=any", routes},
		{"MESSAGE", "sip:gw1@" + gw1.addr, "c1", to, routes[1:]},
		{"INFO", "sip:gw1@" + gw1.addr, "c1", to, routes[1:]},
	} {
		ask(c.method, c.uri, c.id, c.to, fmt.Sprint("b", i), c.routes...)
		w.want(stranger.addr + " 403 This Side Of The Dialog Is No Gateway")
	}
	for i, method := range []string{"INVITE", "INFO", "BYE"} {
		ask(method, "sip:gw1@"+gw1.addr, "c1", to, fmt.Sprint("d", i), routes...)
		w.want(gw1.addr + " " + method + " sip:gw1@" + gw1.addr)
	}
}

// TestRedirectRoundTrips: who writes the Routes of two calls in turn does not have us send to ourselves for ever.
func TestRedirectRoundTrips(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	w := newWorld(t, cl)
	route := func(id string) string {
		w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", id, 1, id, ""))
		w.in(1, bob.addr, bob.answer(w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1], 200))
		return routeSet(w.want(alice.addr + " 200 X")[0], true)[0]
	}
	a, b := route("d1"), route("d2")
	for n, want := range map[int]string{2: bob.addr + " INFO sip:bob@" + bob.addr, maxRoundTrips + 1: alice.addr + " 400 Bad Request"} {
		var routes []string
		for i := range n {
			routes = append(routes, []string{a, b}[i%2])
		}
		w.at(alice, alice.request("INFO", "sip:bob@"+bob.addr, "d1", 2, fmt.Sprint("amp", n), "<sip:x@y>;tag=any", routes...))
		w.want(want)
	}
}

// TestRedirectIdentity: whom a carrier names as the caller is told to phones that the call is sent on to, not to carriers, to whom it is the call of who has sent it on. What a phone says
// of diversions is nobody's word.
func TestRedirectIdentity(t *testing.T) {
	carrier := phone{"gw3", "192.0.2.7:5060"}
	for contact, want := range map[string]string{"<sip:carol@example.com>": "<sip:+49301234@carrier>", "<sip:0123@example.com>": "<sip:bob@example.com>"} {
		cl := newCluster(t)
		cl.putGateway("gw3", carrier.addr)
		cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
		cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
		w := newWorld(t, cl)
		w.at(carrier, carrier.foreign(carrier.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "", "P-Asserted-Identity: <sip:+49301234@carrier>", "Diversion: <sip:+491@carrier>;reason=away")))
		invite := w.want(carrier.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
		w.at(bob, bob.answer(invite, 302, "Contact: "+contact))
		got := w.takeBut100()[1].data
		if id := header(got, "P-Asserted-Identity"); !slices.Equal(id, []string{want}) {
			t.Errorf("%s: P-Asserted-Identity %q, want %q", contact, id, want)
		}
		if d := header(got, "Diversion"); len(d) != 2 || !strings.HasPrefix(d[0], "<sip:bob@") || !strings.HasPrefix(d[1], "<sip:+491@") {
			t.Errorf("Diversion %q", d)
		}
	}
	w := newWorld(t, newCluster(t))
	w.in(1, alice.addr, alice.request("INVITE", "sip:0123@example.com", "c1", 1, "c1", "", "Diversion: <sip:carol@example.com>", "History-Info: <sip:carol@example.com>;index=1"))
	got := w.want(alice.addr+" 100 Trying", gw1.addr+" INVITE sip:123@"+gw1.addr)[1]
	if len(header(got, "Diversion")) != 0 || len(header(got, "History-Info")) != 0 {
		t.Errorf("a phone's word is passed on:\n%s", got)
	}
}
