package proxy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"holdline/fsm/pb"
)

const (
	answersUs    = `Digest username="alice", realm="example.com", nonce="ours", uri="sip:bob@example.com", response="1"`
	answersOther = `Digest username="alice", realm="carrier", nonce="theirs", uri="sip:bob@example.com", response="2"`
)

// TestCredentialsEndHere: what answers a challenge of ours goes no further, in no request: whoever is called could call as the caller with it. What
// answers others' goes on (RFC 3261 §22.3).
func TestCredentialsEndHere(t *testing.T) {
	both := []string{"Proxy-Authorization: " + answersUs, "Proxy-Authorization: " + answersOther, "Authorization: " + answersUs, "Authorization: " + answersOther}
	check := func(what, msg string) {
		t.Helper()
		if p, a := header(msg, "Proxy-Authorization"), header(msg, "Authorization"); !slices.Equal(p, []string{answersOther}) || !slices.Equal(a, []string{answersOther}) {
			t.Errorf("%s: Proxy-Authorization %q, Authorization %q", what, p, a)
		}
	}
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "", both...))
	invite := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	check("INVITE", invite)
	w.in(1, bob.addr, bob.answer(invite, 200))
	ok := w.want(alice.addr + " 200 X")[0]
	for i, method := range []string{"ACK", "INVITE", "UPDATE", "INFO", "BYE"} {
		w.in(1, alice.addr, alice.request(method, "sip:bob@"+bob.addr, "c1", 1+i, "b"+method, header(ok, "To")[0], append(routeSet(ok, true), both...)...))
		check(method, w.want(bob.addr + " " + method + " sip:bob@" + bob.addr)[0])
	}
	w.in(1, alice.addr, alice.request("MESSAGE", "sip:bob@example.com", "c2", 1, "c2", "", both...))
	check("MESSAGE", w.want(bob.addr + " MESSAGE sip:bob@" + bob.addr)[0])
}

// TestWithheld: a user who withholds his address (RFC 3323 §4.1.1.3) is asked who he is where it matters, and may then call out; a stranger may not.
func TestWithheld(t *testing.T) {
	const hidden, ours = "<sip:anonymous@anonymous.invalid>", "<sip:anonymous@example.com>"
	call := func(from, uri string, headers ...string) string {
		return strings.Replace(alice.request("INVITE", uri, "c1", 1, "c1", "", headers...), "<sip:alice@example.com>", from, 1)
	}
	const asked = " 407 Proxy Authentication Required"
	for _, c := range []struct {
		say, msg string
		want     []string
	}{
		{"asked for a password", call(hidden, "sip:0123@example.com"), []string{alice.addr + asked}},
		{"the right one", call(hidden, "sip:0123@example.com", "Proxy-Authorization: "+answersUs), []string{alice.addr + " 100 Trying", gw1.addr + " INVITE sip:123@" + gw1.addr}},
		{"for another's realm", call(hidden, "sip:0123@example.com", "Proxy-Authorization: "+answersOther), []string{alice.addr + asked}},
		{"a wrong one", call(hidden, "sip:0123@example.com", "Proxy-Authorization: "+strings.Replace(answersUs, `"1"`, `"wrong"`, 1)), []string{alice.addr + asked}},
		{"to a phone", call(hidden, "sip:bob@example.com"), []string{alice.addr + " 100 Trying", bob.addr + " INVITE sip:bob@" + bob.addr}},
		{"by a name of ours", call(ours, "sip:0123@example.com", "Proxy-Authorization: "+answersUs), []string{alice.addr + " 100 Trying", gw1.addr + " INVITE sip:123@" + gw1.addr}},
		{"another's name", call("<sip:carol@example.com>", "sip:0123@example.com", "Proxy-Authorization: "+answersUs), []string{alice.addr + " 403 From Names Another User"}},
		{"a stranger", call("<sip:x@elsewhere.org>", "sip:0123@example.com", "Proxy-Authorization: "+answersUs), []string{alice.addr + " 403 Calling Out Needs A User Or A Trusted Source"}},
		{"by a Route", call(hidden, "sip:x@example.com", "Route: <sip:edge.example.net;lr>"), []string{alice.addr + asked}},
	} {
		t.Run(c.say, func(t *testing.T) {
			w := newTestCall(t)
			w.s.opt.Auth = digests{}
			w.in(1, alice.addr, c.msg)
			w.want(c.want...)
			if strings.HasSuffix(c.want[0], "100 Trying") && strings.Contains(c.msg, answersUs) {
				if o := w.cl.m.Call(1).Origin; o != "alice@example.com" {
					t.Errorf("the record says %q", o)
				}
			}
		})
	}
}

// TestSentByOurselves: what comes from a VIP of ours is no gateway's, though it lies in the network of one: somebody has had us send it.
func TestSentByOurselves(t *testing.T) {
	cl := newCluster(t)
	cl.putGateway("gw3", "10.0.0.23:5060", "10.0.0.0/24")
	w := newWorld(t, cl)
	zoe := phone{"zoe", "10.0.0.102:5060"}
	for _, from := range []struct {
		addr, want string
	}{{"10.0.0.99:5060", gw1.addr + " MESSAGE sip:123@" + gw1.addr}, {zoe.addr, zoe.addr + " 403 Calling Out Needs A User Or A Trusted Source"}} {
		w.in(1, from.addr, strings.Replace(zoe.request("MESSAGE", "sip:0123@example.com", from.addr, 1, "b"+from.addr[:9], ""), "sip:zoe@example.com", "sip:zoe@far.example", 1))
		w.want(from.want)
	}
	cl.putGateway("us", "10.0.0.102:5060") // as the operator has it
	w = newWorld(t, cl)
	w.in(1, zoe.addr, strings.Replace(zoe.request("MESSAGE", "sip:bob@example.com", "m", 1, "m", ""), "sip:zoe@example.com", "sip:zoe@far.example", 1))
	w.want(zoe.addr + " 480 Temporarily Unavailable")
	if members := w.v.sources(netip.MustParseAddr("10.0.0.102")); len(members) != 1 {
		t.Errorf("a member at one of our VIPs is not trusted: %v", members)
	}
}

// TestStrangersRefused: with call.strangers set to refuse nobody is reached but by users and trusted sources; who withholds his name is asked first.
func TestStrangersRefused(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	cl.apply(&pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: SettingStrangers, Value: StrangersRefuse}}})
	const refused = " 403 Calls Are Taken From Users And Trusted Sources Alone"
	to := bob.addr + " INVITE sip:bob@" + bob.addr
	for _, c := range []struct {
		from phone
		name string // in From
		want []string
	}{
		{stranger, "sip:zoe@far.example", []string{stranger.addr + refused}},
		{stranger, "sip:anonymous@anonymous.invalid", []string{stranger.addr + " 407 Proxy Authentication Required"}},
		{alice, "sip:alice@example.com", []string{alice.addr + " 100 Trying", to}},
		{gw1, "sip:4930@far.example", []string{gw1.addr + " 100 Trying", to}},
	} {
		w := newWorld(t, cl)
		w.s.opt.Auth = digests{}
		req := c.from.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "", "Proxy-Authorization: "+answersUs)
		if c.from == stranger {
			req = strings.Replace(req, "Proxy-Authorization: "+answersUs+"\r\n", "", 1)
		}
		w.in(1, c.from.addr, strings.Replace(req, "sip:"+c.from.name+"@example.com", c.name, 1))
		w.want(c.want...)
	}
}
