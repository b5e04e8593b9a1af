package proxy

import (
	"slices"
	"strings"
	"testing"

	"holdline/fsm/pb"
)

const (
	claimed   = "P-Asserted-Identity: <sip:carol@example.com>"
	preferred = "P-Preferred-Identity: <sip:carol@example.com>"
	party     = "Remote-Party-ID: <sip:carol@example.com>;party=calling"
	number    = "P-Asserted-Identity: <sip:+493012345@carrier.example>"
	isAlice   = "P-Asserted-Identity: <sip:alice@example.com>"
)

// said is what a message says of who sends it beside From and To.
func said(msg string) (lines []string) {
	for _, name := range []string{"P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Privacy"} {
		for _, v := range header(msg, name) {
			lines = append(lines, name+": "+v)
		}
	}
	return lines
}

// TestIdentity: what gateways and phones are told of who calls (RFC 3325 §5, §7).
func TestIdentity(t *testing.T) {
	const out, in = "sip:0123@example.com", "sip:bob@example.com"
	gateway := phone{"gw1", gw1.addr}
	hidden := func(req string) string {
		return strings.Replace(req, "<sip:alice@example.com>", "<sip:anonymous@anonymous.invalid>", 1)
	}
	for _, c := range []struct {
		say     string
		from    phone
		uri     string
		hidden  bool
		relayed bool
		has     []string
		want    []string
	}{
		{say: "a user to a gateway", from: alice, uri: out, want: []string{isAlice}},
		{say: "a user who claims to be another", from: alice, uri: out, has: []string{claimed, "P-Asserted-Identity: <tel:+1>", preferred, party}, want: []string{isAlice}},
		{say: "a user who wants privacy", from: alice, uri: out, has: []string{"Privacy: user; ID"}, want: []string{isAlice, "Privacy: user; ID"}},
		{say: "a user who withholds his name", from: alice, uri: out, hidden: true, want: []string{isAlice, "Privacy: id"}},
		{say: "and asks for it, too", from: alice, uri: out, hidden: true, has: []string{"Privacy: header"}, want: []string{isAlice, "Privacy: header"}},
		{say: "a user to a phone", from: alice, uri: in, has: []string{claimed, preferred, party}},
		{say: "a stranger to a phone", from: phone{"x", "192.0.2.9:5060"}, uri: in, has: []string{claimed, party}},
		{say: "a gateway to a phone", from: gateway, uri: in, has: []string{number, party, preferred, "Privacy: none"}, want: []string{number, preferred, party, "Privacy: none"}},
		{say: "a gateway whose caller wants privacy", from: gateway, uri: in, has: []string{number, party, "Privacy: user;id"}, want: []string{"Privacy: user;id"}},
		{say: "a gateway that says so in the draft's way", from: gateway, uri: in, has: []string{number, party + ";Privacy=full"}},
		{say: "or says that it may be told", from: gateway, uri: in, has: []string{number, party + ";privacy=off"}, want: []string{number, party + ";privacy=off"}},
		{say: "a gateway to a gateway", from: phone{"gw1", "10.0.0.21:5099"}, uri: out, has: []string{number, "Privacy: id"}, want: []string{number, "Privacy: id"}},
		{say: "relayed", from: alice, uri: out, relayed: true, has: []string{claimed, party}, want: []string{claimed, party}},
	} {
		for _, method := range []string{"INVITE", "MESSAGE"} {
			t.Run(c.say+" "+method, func(t *testing.T) {
				cl := newCluster(t)
				cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
				if c.relayed {
					cl.apply(&pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: SettingIdentity, Value: IdentityRelayed}}})
				}
				w := newWorld(t, cl)
				has := append([]string{"Proxy-Authorization: " + answersUs}, c.has...)
				req := c.from.request(method, c.uri, "c1", 1, "c1", "", has...)
				if c.from.name == "x" {
					req = strings.Replace(req, "<sip:x@example.com>", "<sip:x@elsewhere.org>", 1)
				}
				if c.hidden {
					w.s.opt.Auth = digests{}
					req = hidden(req)
				}
				w.in(1, c.from.addr, req)
				got := w.takeBut100()
				if len(got) != 1 {
					t.Fatalf("sent: %v", got)
				}
				if s := said(got[0].data); !slices.Equal(s, c.want) {
					t.Errorf("it is told %q, want %q", s, c.want)
				}
			})
		}
	}
}

// TestIdentityInDialog: likewise in requests of dialogs.
func TestIdentityInDialog(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:0123@example.com", "c1", 1, "c1", ""))
	gateway := phone{"gw1", gw1.addr}
	invite := w.want(alice.addr+" 100 Trying", gw1.addr+" INVITE sip:123@"+gw1.addr)[1]
	w.in(1, gw1.addr, gateway.answer(invite, 200, number))
	ok := w.want(alice.addr + " 200 X")[0]
	if s := said(ok); !slices.Equal(s, []string{number}) {
		t.Errorf("200: %q", s)
	}
	w.in(1, alice.addr, alice.request("UPDATE", "sip:gw1@"+gw1.addr, "c1", 2, "u1", header(ok, "To")[0], append(routeSet(ok, true), claimed, party)...))
	update := w.want(gw1.addr + " UPDATE sip:gw1@" + gw1.addr)[0]
	if s := said(update); s != nil {
		t.Errorf("UPDATE of the phone: %q", s)
	}
	w.in(1, gw1.addr, gateway.answer(update, 200, number, "Privacy: id"))
	if s := said(w.want(alice.addr + " 200 X")[0]); !slices.Equal(s, []string{"Privacy: id"}) {
		t.Errorf("200 to UPDATE: %q", s)
	}
	from := header(invite, "From")[0]
	for i, c := range []struct{ has, want []string }{{[]string{number}, []string{number}}, {[]string{number, "Privacy: id"}, []string{"Privacy: id"}}} {
		w.in(1, gw1.addr, gateway.request("UPDATE", "sip:alice@"+alice.addr, "c1", i+1, "g"+c.want[0][:3], from, append(routeSet(invite, false), c.has...)...))
		if s := said(w.want(alice.addr + " UPDATE sip:alice@" + alice.addr)[0]); !slices.Equal(s, c.want) {
			t.Errorf("UPDATE of the gateway: %q, want %q", s, c.want)
		}
	}
}

// TestIdentityOfAnswerer: nor does a phone that is called say who it is, before and after a takeover.
func TestIdentityOfAnswerer(t *testing.T) {
	gateway := phone{"gw1", gw1.addr}
	w := newTestCall(t)
	w.in(1, gw1.addr, gateway.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "", number))
	invite := w.want(gw1.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.in(1, bob.addr, bob.answer(invite, 180, claimed))
	if s := said(w.want(gw1.addr + " 180 X")[0]); s != nil {
		t.Errorf("180: %q", s)
	}
	n := w.moved()
	n.rearm()
	n.want(gw1.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)
	for range 2 { // it comes again
		n.in(1, bob.addr, bob.answer(invite, 200, claimed, party))
		if s := said(n.want(gw1.addr + " 200 X")[0]); s != nil {
			t.Errorf("200: %q", s)
		}
	}
	n = n.moved() // without a transaction
	n.in(1, bob.addr, bob.answer(invite, 200, claimed, party))
	if s := said(n.want(gw1.addr + " 200 X")[0]); s != nil {
		t.Errorf("200 without a transaction: %q", s)
	}
}
