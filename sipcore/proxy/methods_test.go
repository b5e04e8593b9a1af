package proxy

import (
	"fmt"
	"strings"
	"testing"
)

// TestReliableProvisional: 183, PRACK and UPDATE of an early dialog take the way of the dialog to be (RFC 3262, RFC 3311), before there
// is a 200.
func TestReliableProvisional(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "", "Supported: 100rel", "Require: precondition"))
	inv := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	if r := header(inv, "Require"); len(r) != 1 || r[0] != "precondition" { // what the callee must know is no business of a proxy's (§16.3)
		t.Errorf("Require %q", r)
	}
	w.in(1, bob.addr, bob.answer(inv, 183, "Require: 100rel", "RSeq: 7"))
	early := w.want(alice.addr + " 183 X")[0]
	if header(early, "RSeq")[0] != "7" || len(header(early, "Record-Route")) != 1 {
		t.Errorf("183:\n%s", early)
	}
	to, routes := header(early, "To")[0], routeSet(early, true)
	w.exchange(alice, bob, alice.request("PRACK", "sip:bob@"+bob.addr, "c1", 2, "p", to, append(routes, "RAck: 7 1 INVITE")...), 200)
	w.exchange(bob, alice, bob.request("UPDATE", "sip:alice@"+alice.addr, "c1", 1, "u", header(inv, "From")[0], routeSet(inv, false)...), 200)
	w.exchange(alice, bob, alice.request("UPDATE", "sip:bob@"+bob.addr, "c1", 3, "u2", to, routes...), 491)
	n := w.moved() // the early dialog needs no state here
	n.exchange(alice, bob, alice.request("PRACK", "sip:bob@"+bob.addr, "c1", 4, "p2", to, append(routes, "RAck: 8 1 INVITE")...), 200)
	w.in(1, bob.addr, bob.answer(inv, 200))
	w.want(alice.addr + " 200 X")
}

// exchange passes a request of a dialog through and its final back; a provisional response goes nowhere (RFC 4320 §4.1). It returns the
// request as the receiver got it.
func (w *world) exchange(from, to phone, req string, status int) string {
	w.t.Helper()
	method, _, _ := strings.Cut(req, " ")
	w.in(1, from.addr, req)
	got := w.want(to.addr + " " + method + " sip:" + to.name + "@" + to.addr)[0]
	if len(header(got, "Route")) != 0 || len(header(got, "Via")) != 2 {
		w.t.Errorf("%s:\n%s", method, got)
	}
	w.in(1, from.addr, req)
	w.want() // absorbed
	w.in(1, to.addr, to.answer(got, 100))
	w.want()
	w.in(1, to.addr, to.answer(got, status))
	w.want(fmt.Sprintf("%s %d X", from.addr, status))
	w.in(1, from.addr, req)
	w.want(fmt.Sprintf("%s %d X", from.addr, status))
	return got
}

// TestMethodsInDialog: whatever belongs to a dialog takes its way, in both directions, without credentials, also on a node that has never
// seen the dialog; no Record-Route is added and nothing is committed.
func TestMethodsInDialog(t *testing.T) {
	w := newTestCall(t)
	inv, ok := w.timed("c1", "")
	n := w.moved()
	commits := len(n.log)
	for i, method := range []string{"INFO", "UPDATE", "REFER", "NOTIFY", "SUBSCRIBE", "MESSAGE", "OPTIONS", "PUBLISH", "PRACK", "FOO", "invite"} {
		id := fmt.Sprint("m", i)
		down := n.exchange(alice, bob, alice.request(method, "sip:bob@"+bob.addr, "c1", 10+i, id, header(ok, "To")[0], routeSet(ok, true)...), 200+i)
		up := n.exchange(bob, alice, bob.request(method, "sip:alice@"+alice.addr, "c1", 10+i, id+"b", header(inv, "From")[0], routeSet(inv, false)...), 480)
		for _, got := range []string{down, up} {
			if len(header(got, "Record-Route")) != 0 || len(header(got, "Max-Breadth")) != 0 || header(got, "Max-Forwards")[0] != "69" {
				t.Errorf("%s:\n%s", method, got)
			}
		}
	}
	if len(n.log) != commits {
		t.Errorf("commands %v", n.log[commits:])
	}
}

// TestMethodsOutside: a request outside a dialog needs credentials, goes to the user's phone, and has our Record-Route only if it can
// make a dialog.
func TestMethodsOutside(t *testing.T) {
	mallory := phone{"mallory", "10.0.0.66:5060"}
	for method, routed := range map[string]bool{
		"SUBSCRIBE": true, "REFER": true, "NOTIFY": true, "MESSAGE": false, "PUBLISH": false, "OPTIONS": false, "INFO": false, "FOO": false, "message": false,
	} {
		w := newTestCall(t)
		w.in(1, mallory.addr, mallory.request(method, "sip:bob@example.com", "c0", 1, "m0", ""))
		w.want(mallory.addr + " 407 Proxy Authentication Required")
		got := w.exchange(alice, bob, alice.request(method, "sip:bob@example.com", "c1", 1, "m1", ""), 202)
		if (len(header(got, "Record-Route")) == 1) != routed {
			t.Errorf("%s: Record-Route %q", method, header(got, "Record-Route"))
		}
	}
}

// TestSubscription: NOTIFY of a subscription takes its dialog's way, also when it comes before the 202 (RFC 6665 §4.1.2.4), and so do
// refreshes, on another node.
func TestSubscription(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("SUBSCRIBE", "sip:bob@example.com", "s1", 1, "s1", "", "Event: dialog", "Contact: <sip:alice@"+alice.addr+">"))
	sub := w.want(bob.addr + " SUBSCRIBE sip:bob@" + bob.addr)[0]
	from, back := header(sub, "From")[0], routeSet(sub, false)
	w.exchange(bob, alice, bob.request("NOTIFY", "sip:alice@"+alice.addr, "s1", 1, "n1", from, append(back, "Event: dialog")...), 200)
	w.in(1, bob.addr, bob.answer(sub, 202))
	ok := w.want(alice.addr + " 202 X")[0]
	n := w.moved()
	n.exchange(bob, alice, bob.request("NOTIFY", "sip:alice@"+alice.addr, "s1", 2, "n2", from, append(back, "Event: dialog")...), 200)
	n.exchange(alice, bob, alice.request("SUBSCRIBE", "sip:bob@"+bob.addr, "s1", 2, "s2", header(ok, "To")[0], append(routeSet(ok, true), "Expires: 0")...), 200)
	n.exchange(bob, alice, bob.request("NOTIFY", "sip:alice@"+alice.addr, "s1", 3, "n3", from, append(back, "Subscription-State: terminated")...), 200)
}

// TestChecks: what RFC 3261 §16.3 has checked in a request of a dialog, too; ACK and CANCEL are never answered with a refusal.
func TestChecks(t *testing.T) {
	w := newTestCall(t)
	_, ok := w.call("c1")
	to, routes := header(ok, "To")[0], routeSet(ok, true)
	in := func(method string, cseq int, change func(string) string, headers ...string) {
		w.in(1, alice.addr, change(alice.request(method, "sip:bob@"+bob.addr, "c1", cseq, fmt.Sprint(method, cseq), to, append(routes, headers...)...)))
	}
	same := func(s string) string { return s }
	hops := func(n string) func(string) string {
		return func(s string) string { return strings.Replace(s, "Max-Forwards: 70\r\n", n, 1) }
	}
	in("INFO", 2, same, "Proxy-Require: a ,b", "Proxy-Require: c")
	if got := w.want(alice.addr + " 420 Bad Extension")[0]; header(got, "Unsupported")[0] != "a, b, c" {
		t.Error(got)
	}
	in("INFO", 3, hops("Max-Forwards: 0\r\n"))
	w.want(alice.addr + " 483 Too Many Hops")
	in("ACK", 1, hops("Max-Forwards: 0\r\n"))
	w.want()
	in("ACK", 1, same, "Proxy-Require: a")
	w.want(bob.addr + " ACK sip:bob@" + bob.addr)
	in("INFO", 4, hops("")) // none is as good as 70 (§16.6 step 3)
	if got := w.want(bob.addr + " INFO sip:bob@" + bob.addr)[0]; header(got, "Max-Forwards")[0] != "70" {
		t.Error(got)
	}
	in("INFO", 5, hops("Max-Forwards: 255\r\n"), "Require: a", "X-None: b")
	if got := w.want(bob.addr + " INFO sip:bob@" + bob.addr)[0]; header(got, "Max-Forwards")[0] != "254" || header(got, "Require")[0] != "a" {
		t.Error(got)
	}
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c2", 1, "c2", ""))
	w.take()
	w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@example.com", "c2", 1, "c2", "", "Proxy-Require: a"))
	w.want(alice.addr + " 200 OK")
}
