package proxy

import (
	"strings"
	"testing"
	"time"

	"holdline/fsm/pb"
	"holdline/sipcore/resolve"
)

// keyed has an account at each gateway of pool gw that it names.
type keyed map[string]Account

func (k keyed) Account(pool, member string) (Account, bool) {
	a, ok := k[member]
	return a, ok && (pool == "gw" || member == "")
}

const gwChallenge = `Digest realm="carrier", nonce="n1", qop="auth"`

func withAccount(t *testing.T, cl *cluster, members ...string) *world {
	w := newWorld(t, cl)
	k := keyed{}
	for _, m := range members {
		k[m] = Account{User: "4930123", Password: "secret"}
	}
	w.s.opt.Accounts = k
	return w
}

func (w *world) dialOut() string {
	w.t.Helper()
	w.in(1, alice.addr, alice.request("INVITE", "sip:0123@example.com", "c1", 1, "c1", ""))
	return w.want(alice.addr+" 100 Trying", gw1.addr+" INVITE sip:123@"+gw1.addr)[1]
}

// challenge has gw1 challenge a request, and returns what it gets next.
func (w *world) challenge(req string) string {
	w.t.Helper()
	w.in(1, gw1.addr, gw1.answer(req, 407, "Proxy-Authenticate: "+gwChallenge))
	return w.want(gw1.addr+" ACK sip:123@"+gw1.addr, gw1.addr+" INVITE sip:123@"+gw1.addr)[1]
}

func cseq(t *testing.T, msg, want string) {
	t.Helper()
	if got := header(msg, "CSeq"); len(got) != 1 || got[0] != want {
		start, _, _ := strings.Cut(msg, "\r\n")
		t.Errorf("%s: CSeq %q, want %q", start, got, want)
	}
}

// TestChallenged: the gateway gets its account's credentials and the next CSeq, the caller knows nothing of it, in all that a dialog does.
func TestChallenged(t *testing.T) {
	w := withAccount(t, newCluster(t), "gw1")
	first := w.dialOut()
	cseq(t, first, "1 INVITE")
	got := w.challenge(first)
	cseq(t, got, "2 INVITE")
	cred := header(got, "Proxy-Authorization")
	if len(cred) != 1 || !strings.Contains(cred[0], `username="4930123"`) || !strings.Contains(cred[0], `uri="sip:123@10.0.0.21:5080"`) || !strings.Contains(cred[0], "nc=00000001") {
		t.Errorf("%q", cred)
	}
	if header(first, "Via")[0] == header(got, "Via")[0] {
		t.Error("another request needs another branch")
	}
	w.in(1, gw1.addr, gw1.answer(got, 183, "Require: 100rel", "RSeq: 7"))
	ringing := w.want(alice.addr + " 183 X")[0]
	cseq(t, ringing, "1 INVITE")
	to := header(ringing, "To")[0]
	in := func(method string, n int, branch string, headers ...string) string {
		w.in(1, alice.addr, alice.request(method, "sip:gw1@"+gw1.addr, "c1", n, branch, to, append(routeSet(ringing, true), headers...)...))
		return w.want(gw1.addr + " " + method + " sip:gw1@" + gw1.addr)[0]
	}
	back := func(req, want string) {
		w.in(1, gw1.addr, gw1.answer(req, 200))
		cseq(t, w.want(alice.addr + " 200 X")[0], want)
	}
	prack := in("PRACK", 2, "prack", "RAck: 7 1 INVITE")
	cseq(t, prack, "3 PRACK")
	if r := header(prack, "RAck"); len(r) != 1 || r[0] != "7 2 INVITE" {
		t.Errorf("RAck %q", r)
	}
	back(prack, "2 PRACK")
	back(got, "1 INVITE")
	ack := in("ACK", 1, "ack")
	cseq(t, ack, "2 ACK")
	if c := header(ack, "Proxy-Authorization"); len(c) != 1 || c[0] != cred[0] {
		t.Errorf("the ACK's credentials: %q (RFC 3261 §13.2.2.4)", c)
	}
	info := in("INFO", 3, "info")
	cseq(t, info, "4 INFO")
	back(info, "3 INFO")
	// The other direction counts for itself.
	w.in(1, gw1.addr, gw1.request("INFO", "sip:alice@"+alice.addr, "c1", 9, "gwinfo", header(got, "From")[0], routeSet(got, false)...))
	theirs := w.want(alice.addr + " INFO sip:alice@" + alice.addr)[0]
	cseq(t, theirs, "9 INFO")
	w.in(1, alice.addr, alice.answer(theirs, 200))
	cseq(t, w.want(gw1.addr + " 200 X")[0], "9 INFO")
	w.in(1, gw1.addr, gw1.request("ACK", "sip:alice@"+alice.addr, "c1", 10, "gwack", header(got, "From")[0], routeSet(got, false)...))
	cseq(t, w.want(alice.addr + " ACK sip:alice@" + alice.addr)[0], "10 ACK")
	// A challenge to a request of the dialog is answered under its number.
	bye := in("BYE", 4, "bye")
	cseq(t, bye, "5 BYE")
	w.in(1, gw1.addr, gw1.answer(bye, 401, `WWW-Authenticate: Digest realm="carrier", nonce="n2"`))
	bye = w.want(gw1.addr + " BYE sip:gw1@" + gw1.addr)[0]
	cseq(t, bye, "5 BYE")
	if c := header(bye, "Authorization"); len(c) != 1 || !strings.Contains(c[0], `nonce="n2"`) {
		t.Errorf("%q", c)
	}
	back(bye, "4 BYE")
	if c := w.cl.m.Call(1); c.State != pb.CallState_CALL_ENDED || len(c.Legs) != 2 {
		t.Errorf("%v with %d legs", c.State, len(c.Legs))
	}
}

// TestChallengeWithoutAnswer: what our password does not open is no gateway for this call; the caller is not asked for a password that he does not have.
func TestChallengeWithoutAnswer(t *testing.T) {
	again := `Proxy-Authenticate: Digest realm="carrier", nonce="n9"`
	t.Run("wrong", func(t *testing.T) {
		w := withAccount(t, newCluster(t), "gw1")
		got := w.challenge(w.dialOut())
		w.in(1, gw1.addr, gw1.answer(got, 407, again))
		next := w.want(gw1.addr+" ACK sip:123@"+gw1.addr, gw2.addr+" INVITE sip:123@"+gw2.addr)[1]
		w.in(1, gw2.addr, gw2.answer(next, 486))
		w.want(gw2.addr+" ACK sip:123@"+gw2.addr, alice.addr+" 486 X")
		if n := w.stats.WrongAccount.Load(); n != 1 {
			t.Errorf("%d wrong accounts", n)
		}
	})
	t.Run("all wrong", func(t *testing.T) {
		w := withAccount(t, newCluster(t), "gw1", "gw2")
		got := w.challenge(w.dialOut())
		w.in(1, gw1.addr, gw1.answer(got, 407, again))
		next := w.want(gw1.addr+" ACK sip:123@"+gw1.addr, gw2.addr+" INVITE sip:123@"+gw2.addr)[1]
		w.in(1, gw2.addr, gw2.answer(next, 401, `WWW-Authenticate: Digest realm="x", nonce="y", algorithm=SHA3-256`))
		w.want(gw2.addr+" ACK sip:123@"+gw2.addr, alice.addr+" 500 Server Internal Error")
	})
	t.Run("stale", func(t *testing.T) {
		w := withAccount(t, newCluster(t), "gw1")
		got := w.challenge(w.dialOut())
		w.in(1, gw1.addr, gw1.answer(got, 407, again+", stale=true"))
		got = w.want(gw1.addr+" ACK sip:123@"+gw1.addr, gw1.addr+" INVITE sip:123@"+gw1.addr)[1]
		cseq(t, got, "3 INVITE")
		w.in(1, gw1.addr, gw1.answer(got, 407, again+", stale=true")) // for ever
		w.want(gw1.addr+" ACK sip:123@"+gw1.addr, gw2.addr+" INVITE sip:123@"+gw2.addr)
	})
	t.Run("no account", func(t *testing.T) {
		w := withAccount(t, newCluster(t), "gw2")
		w.in(1, gw1.addr, gw1.answer(w.dialOut(), 407, again))
		final := w.want(gw1.addr+" ACK sip:123@"+gw1.addr, alice.addr+" 407 X")[1]
		if len(header(final, "Proxy-Authenticate")) != 1 {
			t.Error("the challenge is gone")
		}
	})
	t.Run("of a phone", func(t *testing.T) {
		cl := newCluster(t)
		cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
		w := withAccount(t, cl, "gw1", "")
		w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
		invite := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
		w.in(1, bob.addr, bob.answer(invite, 407, again))
		w.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 407 X")
	})
}

// TestChallengedByName: of a gateway with a name the address that has asked gets the answer; when that says nothing more, another one gets it, and then another gateway.
func TestChallengedByName(t *testing.T) {
	cl := newCluster(t)
	for _, name := range []string{"gw1", "gw2"} {
		cl.apply(&pb.Command{Op: &pb.Command_RemoveMember{RemoveMember: &pb.RemoveMember{Pool: "gw", Name: name}}})
	}
	cl.putGateway("named", "gw.far.example")
	cl.putGateway("next", "10.0.0.29:5060")
	w := withAccount(t, cl, "named")
	w.in(1, alice.addr, alice.request("INVITE", "sip:0123@example.com", "c1", 1, "c1", ""))
	w.want(alice.addr + " 100 Trying")
	w.resolved(target(gw1.addr), target(gw2.addr))
	invite := w.want(gw1.addr + " INVITE sip:123@gw.far.example")[0]
	w.in(1, gw1.addr, gw1.answer(invite, 407, "Proxy-Authenticate: "+gwChallenge))
	w.want(gw1.addr+" ACK sip:123@gw.far.example", gw1.addr+" INVITE sip:123@gw.far.example")
	if len(w.lookups) != 1 {
		t.Errorf("%d lookups", len(w.lookups))
	}
	where := func() (at []string) {
		for _, s := range w.take() {
			if strings.HasPrefix(s.data, "INVITE ") && len(header(s.data, "Proxy-Authorization")) == 1 {
				at = append(at, s.to.Remote.String())
			}
		}
		return at
	}
	w.pass(gatewayTimeout*time.Second + time.Second)
	if at := where(); len(at) == 0 || at[len(at)-1] != gw2.addr {
		t.Errorf("credentials went to %v", at)
	}
	w.pass(gatewayTimeout*time.Second + time.Second)
	if m := w.cl.m.Call(1).Legs[1]; m.State != pb.LegState_TRYING {
		t.Errorf("the next gateway: %v", m.State)
	}
}

// TestChallengedTakenUp: a new owner sends the same request again, and undoes the CSeq of responses that it has no transaction for.
func TestChallengedTakenUp(t *testing.T) {
	w := withAccount(t, newCluster(t), "gw1")
	first := w.dialOut()
	got := w.challenge(first)
	n := w.moved()
	n.s.opt.Accounts = w.s.opt.Accounts
	n.in(1, gw1.addr, gw1.answer(got, 180)) // before it has taken anything up
	cseq(t, n.want(alice.addr + " 180 X")[0], "1 INVITE")
	n.rearm()
	again := n.want(alice.addr+" 100 Trying", gw1.addr+" INVITE sip:123@"+gw1.addr)[1]
	if again != got {
		t.Errorf("sent\n%s\nand then\n%s", got, again)
	}
	n.in(1, gw1.addr, gw1.answer(first, 407, "Proxy-Authenticate: "+gwChallenge)) // its ACK was lost
	n.want(gw1.addr + " ACK sip:0123@example.com")
	n.in(1, gw1.addr, gw1.answer(again, 200))
	ok := n.want(alice.addr + " 200 X")[0]
	cseq(t, ok, "1 INVITE")
	n.in(1, alice.addr, alice.request("BYE", "sip:gw1@"+gw1.addr, "c1", 2, "bye", header(ok, "To")[0], routeSet(ok, true)...))
	cseq(t, n.want(gw1.addr + " BYE sip:gw1@" + gw1.addr)[0], "3 BYE")
}

// TestChallengedCancelled: a CANCEL has the number of the INVITE that it is about.
func TestChallengedCancelled(t *testing.T) {
	w := withAccount(t, newCluster(t), "gw1")
	got := w.challenge(w.dialOut())
	w.in(1, gw1.addr, gw1.answer(got, 180))
	w.take()
	w.in(1, alice.addr, alice.request("CANCEL", "sip:0123@example.com", "c1", 1, "c1", ""))
	cancel := w.want(alice.addr+" 200 OK", gw1.addr+" CANCEL sip:123@"+gw1.addr)[1]
	cseq(t, cancel, "2 CANCEL")
	w.in(1, gw1.addr, gw1.answer(got, 487))
	final := w.want(gw1.addr+" ACK sip:123@"+gw1.addr, alice.addr+" 487 X")
	cseq(t, final[0], "2 ACK")
	cseq(t, final[1], "1 INVITE")
}

// TestChallengedElsewhere: what belongs to no call of ours to the gateway is answered for as well: a MESSAGE, and what a phone sends in a call that the gateway has made.
func TestChallengedElsewhere(t *testing.T) {
	t.Run("message", func(t *testing.T) {
		w := withAccount(t, newCluster(t), "gw1", "gw2")
		w.in(1, alice.addr, alice.request("MESSAGE", "sip:0123@example.com", "m1", 1, "m1", ""))
		got := w.take()[0]
		gw := phone{"gw", got.to.Remote.String()}
		w.in(1, gw.addr, gw.answer(got.data, 407, "Proxy-Authenticate: "+gwChallenge))
		again := w.want(gw.addr + " MESSAGE sip:123@" + gw.addr)[0]
		cseq(t, again, "2 MESSAGE")
		w.in(1, gw.addr, gw.answer(again, 200))
		cseq(t, w.want(alice.addr + " 200 X")[0], "1 MESSAGE")
	})
	t.Run("called by it", func(t *testing.T) {
		cl := newCluster(t)
		cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
		w := withAccount(t, cl, "gw1")
		p := w.between(gw1, bob, gw1.foreign(gw1.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "")))
		w.in(1, bob.addr, bob.request("BYE", "sip:gw1@"+gw1.addr, "c1", 1, "bye", header(p.invite, "From")[0], routeSet(p.invite, false)...))
		bye := w.want(gw1.addr + " BYE sip:gw1@" + gw1.addr)[0]
		w.in(1, gw1.addr, gw1.answer(bye, 407, "Proxy-Authenticate: "+gwChallenge))
		again := w.want(gw1.addr + " BYE sip:gw1@" + gw1.addr)[0]
		cseq(t, again, "1 BYE")
		if len(header(again, "Proxy-Authorization")) != 1 {
			t.Error("no credentials")
		}
		w.in(1, gw1.addr, gw1.answer(again, 407, "Proxy-Authenticate: "+gwChallenge)) // it is not taken: no second time
		w.want(bob.addr + " 407 X")
	})
	t.Run("by our own BYE", func(t *testing.T) {
		w := withAccount(t, newCluster(t), "gw1")
		got := w.challenge(w.dialOut())
		w.in(1, gw1.addr, gw1.answer(got, 200))
		w.take()
		row := w.cl.m.Call(1)
		w.s.Overdue(w.v, w.now, row, 1, row.DeadlineMs+sessionSlack)
		m := w.byReceiver()
		w.in(1, gw1.addr, gw1.answer(m[gw1.addr][0], 407, "Proxy-Authenticate: "+gwChallenge))
		again := w.want(gw1.addr + " BYE sip:gw1@" + gw1.addr)[0]
		w.in(1, gw1.addr, gw1.answer(again, 200))
		w.in(1, alice.addr, alice.answer(m[alice.addr][0], 200))
		if c := w.cl.m.Call(1); c.State != pb.CallState_CALL_ENDED {
			t.Errorf("%v", c.State)
		}
	})
}

// TestChallengedWithoutLeader: it is answered when nothing can be committed, and entered afterwards.
func TestChallengedWithoutLeader(t *testing.T) {
	w := withAccount(t, newCluster(t), "gw1", "gw2")
	w.noLeader = true
	w.in(1, alice.addr, alice.request("INVITE", "sip:0123@example.com", "c1", 1, "c1", ""))
	got := w.takeBut100()[0]
	gw := phone{"gw", got.to.Remote.String()}
	w.in(1, gw.addr, gw.answer(got.data, 407, "Proxy-Authenticate: "+gwChallenge))
	again := w.want(gw.addr+" ACK sip:123@"+gw.addr, gw.addr+" INVITE sip:123@"+gw.addr)[1]
	w.in(1, gw.addr, gw.answer(again, 200))
	w.want(alice.addr + " 200 X")
	w.noLeader = false
	for range 10 {
		w.pass(time.Second)
		w.s.CatchUp(w.v, w.now, true)
		w.commit()
	}
	if c := w.cl.m.Call(1); c == nil || c.State != pb.CallState_CALL_ANSWERED {
		t.Errorf("%+v", c)
	}
}

var evil = phone{"evil", "203.0.113.66:5060"}

// TestChallengeOfOthers: a party to a dialog with a gateway has no credentials answered by anybody but that gateway, wherever it has its requests go. By them it could call there as us.
func TestChallengeOfOthers(t *testing.T) {
	silent := func(w *world, what string) {
		t.Helper()
		for _, s := range w.take() {
			if !strings.HasPrefix(s.data, "SIP/2.0 ") && (len(header(s.data, "Proxy-Authorization")) != 0 || len(header(s.data, "Authorization")) != 0) {
				t.Errorf("%s: credentials go to %s:\n%s", what, s.to.Remote, s.data)
			}
		}
	}
	at := func(w *world, p phone) string {
		t.Helper()
		for _, s := range w.take() {
			if s.to.Remote.String() == p.addr && strings.HasPrefix(s.data, "INVITE ") {
				return s.data
			}
		}
		t.Fatalf("nothing reached %s", p.addr)
		return ""
	}
	t.Run("caller", func(t *testing.T) {
		w := withAccount(t, newCluster(t), "gw1")
		w.in(1, gw1.addr, gw1.answer(w.challenge(w.dialOut()), 200))
		ok := w.want(alice.addr + " 200 X")[0]
		to, routes := header(ok, "To")[0], routeSet(ok, true)
		w.in(1, alice.addr, alice.request("ACK", "sip:x@"+evil.addr, "c1", 1, "ack", to, routes...))
		silent(w, "ACK")
		w.in(1, alice.addr, alice.request("INVITE", "sip:+900123@carrier.example", "c1", 2, "x", to, append(routes, "Route: <sip:"+evil.addr+";lr>")...))
		w.in(1, evil.addr, evil.answer(at(w, evil), 407, "Proxy-Authenticate: "+gwChallenge))
		silent(w, "re-INVITE")
		// At the gateway itself another call than the token's is nobody's.
		w.in(1, alice.addr, alice.request("INVITE", "sip:0900@"+gw1.addr, "c2", 3, "y", "<sip:0900@x>;tag=any", routes...))
		w.in(1, gw1.addr, gw1.answer(at(w, gw1), 407, "Proxy-Authenticate: "+gwChallenge))
		silent(w, "another call")
	})
	t.Run("callee", func(t *testing.T) {
		cl := newCluster(t)
		cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
		w := withAccount(t, cl, "gw1")
		p := w.between(gw1, bob, gw1.foreign(gw1.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "")))
		w.in(1, bob.addr, bob.request("INVITE", "sip:+900123@carrier.example", "c1", 1, "x", header(p.invite, "From")[0], append(routeSet(p.invite, false), "Route: <sip:"+evil.addr+";lr>")...))
		w.in(1, evil.addr, evil.answer(at(w, evil), 407, "Proxy-Authenticate: "+gwChallenge))
		silent(w, "re-INVITE")
	})
	t.Run("long", func(t *testing.T) { // what is kept of it is on every node
		w := withAccount(t, newCluster(t), "gw1")
		w.in(1, gw1.addr, gw1.answer(w.dialOut(), 401, `WWW-Authenticate: Digest realm="r", nonce="`+strings.Repeat("n", maxCredentials)+`"`))
		w.want(gw1.addr+" ACK sip:123@"+gw1.addr, gw2.addr+" INVITE sip:123@"+gw2.addr)
	})
}

// TestChallengedProbe: a gateway that asks our OPTIONS for a password is there.
func TestChallengedProbe(t *testing.T) {
	w := withAccount(t, newCluster(t), "gw1")
	w.s.Probe(w.v, w.now, 1, 1, w.cl.m.Config().Pool("gw").Members[0], "probe")
	req := w.take()[0].data
	w.in(1, gw1.addr, gw1.answer(req, 407, "Proxy-Authenticate: "+gwChallenge))
	w.want()
	if h := w.s.opt.Health.Gateway("gw", "gw1", w.now); h.Down || !h.Answered {
		t.Errorf("%+v", h)
	}
}

// TestChallengedNotRecordedYet: what is not in the table yet is known all the same.
func TestChallengedNotRecordedYet(t *testing.T) {
	w := withAccount(t, newCluster(t), "gw1", "gw2")
	w.set(SettingCommit, CommitAfter)
	w.in(1, alice.addr, alice.request("INVITE", "sip:0123@example.com", "c1", 1, "c1", ""))
	first := w.takeBut100()[0]
	gw := phone{"gw", first.to.Remote.String()}
	w.in(1, gw.addr, gw.answer(first.data, 407, "Proxy-Authenticate: "+gwChallenge))
	again := w.want(gw.addr+" ACK sip:123@"+gw.addr, gw.addr+" INVITE sip:123@"+gw.addr)[1]
	w.in(1, gw.addr, gw.answer(again, 200))
	ok := w.want(alice.addr + " 200 X")[0]
	to := header(ok, "To")[0]
	w.in(1, alice.addr, alice.request("ACK", "sip:gw@"+gw.addr, "c1", 1, "ack", to, routeSet(ok, true)...))
	if ack := w.take()[0].data; len(header(ack, "Proxy-Authorization")) != 1 {
		t.Errorf("the ACK:\n%s", ack)
	}
	w.in(1, alice.addr, alice.request("BYE", "sip:gw@"+gw.addr, "c1", 2, "bye", to, routeSet(ok, true)...))
	bye := w.want(gw.addr + " BYE sip:gw@" + gw.addr)[0]
	w.in(1, gw.addr, gw.answer(bye, 407, "Proxy-Authenticate: "+gwChallenge))
	bye = w.want(gw.addr + " BYE sip:gw@" + gw.addr)[0]
	w.in(1, gw.addr, gw.answer(bye, 200))
	w.want(alice.addr + " 200 X")
	for range 10 {
		w.pass(time.Second)
		w.s.CatchUp(w.v, w.now, true)
		w.commit()
	}
	if c := w.cl.m.Call(1); c != nil && c.State != pb.CallState_CALL_ENDED {
		t.Errorf("%v", c.State)
	}
}

// TestChallengedByNameInDialog: a gateway with a name, of which no networks are given, is known in a dialog by the addresses that its name has.
func TestChallengedByNameInDialog(t *testing.T) {
	for name, known := range map[string]bool{"its address": true, "another": false} {
		t.Run(name, func(t *testing.T) {
			cl := newCluster(t)
			for _, name := range []string{"gw1", "gw2"} {
				cl.apply(&pb.Command{Op: &pb.Command_RemoveMember{RemoveMember: &pb.RemoveMember{Pool: "gw", Name: name}}})
			}
			cl.putGateway("named", "gw.far.example")
			w := withAccount(t, cl, "named")
			w.in(1, alice.addr, alice.request("INVITE", "sip:0123@example.com", "c1", 1, "c1", ""))
			w.want(alice.addr + " 100 Trying")
			w.resolved(target(gw1.addr))
			w.in(1, gw1.addr, gw1.answer(w.want(gw1.addr + " INVITE sip:123@gw.far.example")[0], 200))
			ok := w.want(alice.addr + " 200 X")[0]
			if known {
				w.known["gw.far.example"] = []resolve.Target{target(gw1.addr)}
			}
			w.in(1, alice.addr, alice.request("BYE", "sip:gw1@"+gw1.addr+"?Subject=x", "c1", 2, "bye", header(ok, "To")[0], routeSet(ok, true)...))
			bye := w.want(gw1.addr + " BYE sip:gw1@" + gw1.addr)[0]
			w.in(1, gw1.addr, gw1.answer(bye, 407, "Proxy-Authenticate: "+gwChallenge))
			if known {
				bye = w.want(gw1.addr + " BYE sip:gw1@" + gw1.addr)[0]
				if c := header(bye, "Proxy-Authorization")[0]; !strings.Contains(c, `uri="sip:gw1@`+gw1.addr+`"`) {
					t.Errorf("credentials for another URI than the request line's: %s", c)
				}
			} else {
				w.want(alice.addr + " 407 X")
			}
		})
	}
}
