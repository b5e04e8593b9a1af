package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"holdline/fsm/pb"
	"holdline/sipcore/resolve"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

func TestRefusals(t *testing.T) {
	mallory := phone{"mallory", "10.0.0.66:5060"}
	stranger := func(s string) string {
		return strings.Replace(s, "From: <sip:alice@example.com>", "From: <sip:x@elsewhere.org>", 1)
	}
	for name, c := range map[string]struct{ req, want string }{
		"Max-Forwards": {strings.Replace(alice.request("INVITE", "sip:bob@example.com", "c", 1, "b", ""), "Max-Forwards: 70", "Max-Forwards: 0", 1), "483 Too Many Hops"},
		"extension":    {alice.request("INVITE", "sip:bob@example.com", "c", 1, "b", "", "Proxy-Require: foo, bar"), "420 Bad Extension"},
		"scheme":       {alice.request("MESSAGE", "http://example.com", "c", 1, "b", ""), "416 Unsupported URI Scheme"},
		"domain":       {alice.request("INVITE", "sip:bob@elsewhere.org", "c", 1, "b", ""), "404 Domain Not Served Here"},
		"user":         {alice.request("INVITE", "sip:nobody@example.com", "c", 1, "b", ""), "404 Not Found"},
		"not there":    {alice.request("INVITE", "sip:carol@example.com", "c", 1, "b", ""), "480 Temporarily Unavailable"},
		"password":     {mallory.request("INVITE", "sip:bob@example.com", "c", 1, "b", ""), "407 Proxy Authentication Required"},
		"dial out":     {stranger(alice.request("INVITE", "sip:0123@example.com", "c", 1, "b", "")), "403 Calling Out Needs A User Or A Trusted Source"},
		"stray CANCEL": {alice.request("CANCEL", "sip:bob@example.com", "c", 1, "b", ""), "481 Call/Transaction Does Not Exist"},
		"stray BYE":    {alice.request("BYE", "sip:bob@example.com", "c", 1, "b", "<sip:bob@example.com>;tag=x"), "481 Call/Transaction Does Not Exist"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTestCall(t)
			remote := alice.addr
			if name == "password" {
				remote = mallory.addr
			}
			w.in(1, remote, c.req)
			first := w.want(remote + " " + c.want)
			w.in(1, remote, c.req)
			if second := w.want(remote + " " + c.want); second[0] != first[0] {
				t.Error("a retransmission gets another answer")
			}
			if len(w.log) != 0 || w.s.Len() != 0 {
				t.Errorf("refused with state: %v, %d transactions", w.log, w.s.Len())
			}
			if name == "extension" && header(first[0], "Unsupported")[0] != "foo, bar" {
				t.Error(first[0])
			}
		})
	}
}

// TestQuietAfterTakeover: what the last owner knew may still be on its way here, so nothing is denied for a second.
func TestQuietAfterTakeover(t *testing.T) {
	w := newTestCall(t)
	w.acquired = w.now
	req := alice.request("INVITE", "sip:nobody@example.com", "c", 1, "b", "")
	w.in(1, alice.addr, req)
	w.want()
	w.pass(time.Second)
	w.in(1, alice.addr, req)
	w.want(alice.addr + " 404 Not Found")
}

func TestStrayAckIsDropped(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("ACK", "sip:bob@example.com", "c", 1, "b", "<sip:bob@example.com>;tag=x"))
	w.want()
}

// TestLoop: the callee's proxy sends the INVITE back unchanged; a changed Request-URI would be a spiral.
func TestLoop(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@example.com", bob.addr, 1, 1000)
	w := newWorld(t, cl)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c", 1, "b", ""))
	inv := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@example.com")[1]
	w.in(1, bob.addr, strings.Replace(inv, "Via: ", "Via: SIP/2.0/UDP 10.0.0.32:5060;branch=z9hG4bKproxy\r\nVia: ", 1))
	w.want(bob.addr + " 482 Loop Detected")
	cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
	spiral := strings.Replace(inv, "INVITE sip:bob@example.com", "INVITE sip:carol@example.com", 1)
	w.in(1, bob.addr, strings.Replace(spiral, "Via: ", "Via: SIP/2.0/UDP 10.0.0.32:5060;branch=z9hG4bKproxy2\r\nVia: ", 1))
	w.want(bob.addr+" 100 Trying", carol.addr+" INVITE sip:carol@"+carol.addr)
}

// TestTrustedGateway: a call from a pool member's address needs no credentials.
func TestTrustedGateway(t *testing.T) {
	w := newTestCall(t)
	mallory := phone{"mallory", gw1.addr}
	w.in(1, gw1.addr, mallory.request("INVITE", "sip:bob@example.com", "c", 1, "b", ""))
	w.want(gw1.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)
}

func TestNonInvite(t *testing.T) {
	w := newTestCall(t)
	req := alice.request("MESSAGE", "sip:bob@example.com", "c", 1, "b", "")
	w.in(1, alice.addr, req)
	msg := w.want(bob.addr + " MESSAGE sip:bob@" + bob.addr)[0]
	if len(header(msg, "Record-Route")) != 0 {
		t.Error("a MESSAGE makes no dialog")
	}
	w.in(1, alice.addr, req)
	w.want() // in Trying a retransmission is absorbed
	w.pass(600 * time.Millisecond)
	w.want(bob.addr + " MESSAGE sip:bob@" + bob.addr) // Timer E
	w.in(1, bob.addr, bob.answer(msg, 100))
	w.want() // RFC 4320: nothing but a final
	w.in(1, bob.addr, bob.answer(msg, 202))
	w.want(alice.addr + " 202 X")
	w.in(1, alice.addr, req)
	w.want(alice.addr + " 202 X")
	w.in(1, bob.addr, bob.answer(msg, 202))
	w.want()
	if len(w.log) != 0 {
		t.Errorf("commands %v", w.log)
	}
	w.pass(33 * time.Second)
	if w.s.Len() != 0 {
		t.Errorf("%d transactions left", w.s.Len())
	}
}

// TestNonInviteTimeout: RFC 4320 §4.2: no 408; the client has timed out as well.
func TestNonInviteTimeout(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("FOO", "sip:bob@example.com", "c", 1, "b", ""))
	w.want(bob.addr + " FOO sip:bob@" + bob.addr)
	w.pass(33 * time.Second)
	for _, s := range w.take() {
		if s.to.Remote.String() != bob.addr && !strings.HasPrefix(s.data, "SIP/2.0 100 ") {
			t.Errorf("sent %s", s.data)
		}
	}
	if w.s.Len() != 0 {
		t.Errorf("%d transactions left", w.s.Len())
	}
}

// TestDoubleRecordRoute: caller and callee use different VIPs: two Record-Routes (RFC 5658), the home is the caller's.
func TestDoubleRecordRoute(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 2, 1000)
	w := newWorld(t, cl)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	out := w.take()
	if len(out) != 2 || out[1].to.Group != 2 {
		t.Fatalf("sent %+v", out)
	}
	inv := out[1].data
	rr := header(inv, "Record-Route")
	if len(rr) != 2 || !strings.HasPrefix(rr[0], "<sip:10.0.0.102:5060;lr;") || !strings.HasPrefix(rr[1], "<sip:10.0.0.101:5060;lr;") {
		t.Fatalf("Record-Route %q", rr)
	}
	if v := header(inv, "Via")[0]; !strings.HasPrefix(v, "SIP/2.0/UDP 10.0.0.102:5060;") {
		t.Errorf("Via %q", v)
	}
	w.in(2, bob.addr, bob.answer(inv, 200))
	out = w.take()
	if len(out) != 1 || out[0].to.Group != 1 {
		t.Fatalf("sent %+v", out)
	}
	ok := out[0].data
	w.in(1, alice.addr, alice.request("ACK", "sip:bob@"+bob.addr, "c1", 1, "ack", header(ok, "To")[0], routeSet(ok, true)...))
	out = w.take()
	if len(out) != 1 || out[0].to.Group != 2 || len(header(out[0].data, "Route")) != 0 {
		t.Fatalf("sent %+v", out)
	}
	// bob hangs up: his BYE comes in on VIP 2, the transaction belongs to group 1.
	w.in(2, bob.addr, bob.request("BYE", "sip:alice@"+alice.addr, "c1", 1, "bye", header(inv, "From")[0], routeSet(inv, false)...))
	out = w.take()
	if len(out) != 1 || out[0].to.Group != 1 || out[0].to.Remote.String() != alice.addr {
		t.Fatalf("sent %+v", out)
	}
	w.in(1, alice.addr, alice.answer(out[0].data, 200))
	out = w.take()
	if len(out) != 1 || out[0].to.Group != 2 || out[0].to.Remote.String() != bob.addr {
		t.Fatalf("sent %+v", out)
	}
	if c := cl.m.Call(1); c.State != pb.CallState_CALL_ENDED || c.Home != 1 {
		t.Errorf("call %+v", c)
	}
}

// TestBehindNAT: both phones name private addresses; their requests take the flows they are known by.
func TestBehindNAT(t *testing.T) {
	cl := newCluster(t)
	cl.register("bob@example.com", "sip:bob@192.168.1.2:5060", bob.addr, 1, 1000)
	w := newWorld(t, cl)
	natted := phone{"alice", "192.168.7.7:5060"}
	w.in(1, alice.addr, natted.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	inv := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@192.168.1.2:5060")[1]
	w.in(1, bob.addr, bob.answer(inv, 200))
	ok := w.want(alice.addr + " 200 X")[0]
	n := w.moved() // no state helps
	n.in(1, alice.addr, natted.request("ACK", "sip:bob@192.168.1.2:5060", "c1", 1, "ack", header(ok, "To")[0], routeSet(ok, true)...))
	n.want(bob.addr + " ACK sip:bob@192.168.1.2:5060")
	n.in(1, bob.addr, bob.request("UPDATE", "sip:alice@192.168.7.7:5060", "c1", 1, "upd", header(inv, "From")[0], routeSet(inv, false)...))
	n.want(alice.addr + " UPDATE sip:alice@192.168.7.7:5060")
}

// TestBehindNATWithoutRPort: a phone that does not ask for rport is answered where it sends from, if that is plainly not where it thinks it is; by a new
// owner, too. Who writes the address that he has means the port that he writes (RFC 3261 §18.2.2), and a gateway means all that it writes.
func TestBehindNATWithoutRPort(t *testing.T) {
	bare := func(req string) string { return strings.Replace(req, ";rport", "", 1) }
	for _, c := range []struct {
		say, via, from, to string
	}{
		{"behind NAT", "192.168.7.7:5060", "10.0.0.31:34567", "10.0.0.31:34567"},
		{"behind NAT, without a port", "192.168.7.7", "10.0.0.31:34567", "10.0.0.31:34567"},
		{"another port of its own", "10.0.0.31:5060", "10.0.0.31:34567", "10.0.0.31:5060"},
		{"by a name", "alice.example.com:5060", "10.0.0.31:34567", "10.0.0.31:5060"},
		{"a gateway", "192.168.7.7:5060", "10.0.0.21:34567", "10.0.0.21:5060"},
	} {
		t.Run(c.say, func(t *testing.T) {
			w := newTestCall(t)
			from := phone{"alice", c.via}
			w.in(1, c.from, bare(from.request("OPTIONS", "sip:nobody@example.com", "o1", 1, "o1", "")))
			w.want(c.to + " 404 Not Found")
			w.in(1, c.from, bare(from.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "")))
			inv := w.want(c.to+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
			if via := header(inv, "Via")[1]; c.to == c.from && !strings.Contains(via, ";rport=34567") {
				t.Errorf("Via: %s", via)
			}
			w.in(1, bob.addr, bob.answer(inv, 180))
			w.want(c.to + " 180 X")
			n := w.moved()
			n.in(1, bob.addr, bob.answer(inv, 200)) // by its branch alone
			n.want(c.to + " 200 X")
		})
	}
}

// TestListensElsewhere: a device that sends from another port than it listens on is called, and reached in dialogs, where it listens.
func TestListensElsewhere(t *testing.T) {
	for _, c := range []struct {
		say, via, contact, from string
		rport                   bool
		want                    string // where requests of the dialog go
	}{
		{"from any port", "10.0.0.31:5060", "sip:alice@10.0.0.31:5060", "10.0.0.31:51234", false, "10.0.0.31:5060"},
		{"without a port", "10.0.0.31", "sip:alice@10.0.0.31", "10.0.0.31:51234", false, "10.0.0.31:5060"},
		{"with rport", "10.0.0.31:5060", "sip:alice@10.0.0.31:5060", "10.0.0.31:51234", true, "10.0.0.31:51234"},
		{"behind a NAT", "192.168.1.5:5060", "sip:alice@192.168.1.5:5060", "10.0.0.31:51234", false, "10.0.0.31:51234"},
		{"that has changed Via", "10.0.0.31:51234", "sip:alice@10.0.0.31:5060", "10.0.0.31:51234", false, "10.0.0.31:51234"},
		{"or Contact", "10.0.0.31:5060", "sip:alice@192.168.1.5:5060", "10.0.0.31:51234", false, "10.0.0.31:51234"},
	} {
		t.Run(c.say, func(t *testing.T) {
			w := newTestCall(t)
			req := strings.Replace(alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""), "UDP "+alice.addr, "UDP "+c.via, 1)
			req = strings.Replace(req, "<sip:alice@"+alice.addr+">", "<"+c.contact+">", 1)
			if !c.rport {
				req = strings.Replace(req, ";rport", "", 1)
			}
			w.in(1, c.from, req)
			invite := w.takeBut100()[0].data
			w.in(1, bob.addr, bob.answer(invite, 200))
			w.take()
			w.in(1, bob.addr, bob.request("BYE", c.contact, "c1", 1, "b1", header(invite, "From")[0], routeSet(invite, false)...))
			w.want(c.want + " BYE " + c.contact)
		})
	}
}

// TestStrictRouter: the hop before us put our Route into the Request-URI and the target at the end (§16.4); the hop
// after us is one, too (§16.6 step 6).
func TestStrictRouter(t *testing.T) {
	w := newTestCall(t)
	_, ok := w.call("c1")
	to := header(ok, "To")[0]
	rr := strings.Trim(header(ok, "Record-Route")[0], "<>")
	w.in(1, alice.addr, alice.request("INFO", rr, "c1", 2, "i1", to, "Route: <sip:bob@"+bob.addr+">"))
	if got := w.want(bob.addr + " INFO sip:bob@" + bob.addr)[0]; len(header(got, "Route")) != 0 {
		t.Errorf("Route %q", header(got, "Route"))
	}
	w.in(1, alice.addr, alice.request("INFO", "sip:bob@"+bob.addr, "c1", 3, "i2", to,
		"Route: <"+rr+">", "Route: <sip:strict@10.0.0.50>"))
	got := w.want("10.0.0.50:5060 INFO sip:strict@10.0.0.50")[0]
	if r := header(got, "Route"); len(r) != 1 || r[0] != "<sip:bob@"+bob.addr+">" {
		t.Errorf("Route %q", r)
	}
	// Routes that name us but hold nothing of ours are the next hop.
	for i, routes := range []string{"Route: <sip:10.0.0.101>, <sip:bob@" + bob.addr + ">", "Route: <sip:10.0.0.101>, <sip:10.0.0.101>"} {
		w.in(1, alice.addr, alice.request("INFO", rr, "c1", 4+i, fmt.Sprint("i", 3+i), to, routes))
		w.want("10.0.0.101:5060 INFO sip:10.0.0.101")
	}
}

// TestNamedContact: the callee's Contact is a name: the ACK waits for the address with the help of the 200's
// retransmission, the BYE waits in its transaction.
func TestNamedContact(t *testing.T) {
	w := newTestCall(t)
	_, ok := w.call("c1")
	to := header(ok, "To")[0]
	ack := alice.request("ACK", "sip:bob@phone.example.net:5070", "c1", 1, "ack", to, routeSet(ok, true)...)
	w.in(1, alice.addr, ack)
	w.want()
	w.in(1, alice.addr, alice.request("BYE", "sip:bob@phone.example.net:5070", "c1", 2, "bye", to, routeSet(ok, true)...))
	if len(w.lookups) != 2 {
		t.Fatalf("%d lookups", len(w.lookups))
	}
	w.resolved(target("10.0.0.77:5070"))
	w.want("10.0.0.77:5070 BYE sip:bob@phone.example.net:5070")
	w.known["phone.example.net"] = []resolve.Target{target("10.0.0.77:5070")}
	w.in(1, alice.addr, ack)
	w.want("10.0.0.77:5070 ACK sip:bob@phone.example.net:5070")
}

// TestReinviteFails: a non-2xx final of a re-INVITE is acknowledged hop by hop; nothing is committed.
func TestReinviteFails(t *testing.T) {
	w := newTestCall(t)
	_, ok := w.call("c1")
	n := len(w.log)
	to := header(ok, "To")[0]
	req := alice.request("INVITE", "sip:bob@"+bob.addr, "c1", 2, "re", to, routeSet(ok, true)...)
	w.in(1, alice.addr, req)
	re := w.want(bob.addr + " INVITE sip:bob@" + bob.addr)[0] // no 100 of our own: the callee's tells that it has the request
	w.in(1, bob.addr, bob.answer(re, 100))
	w.want(alice.addr + " 100 X")
	w.in(1, bob.addr, bob.answer(re, 488))
	w.want(bob.addr+" ACK sip:bob@"+bob.addr, alice.addr+" 488 X")
	w.in(1, alice.addr, alice.request("ACK", "sip:bob@"+bob.addr, "c1", 2, "re", to, routeSet(ok, true)...))
	w.want()
	if len(w.log) != n {
		t.Errorf("commands %v", w.log[n:])
	}
}

// TestOverload: no room for another transaction: a stateless 503, and what is there goes on.
func TestOverload(t *testing.T) {
	w := newTestCall(t)
	w.s.opt.MaxCells = 1
	w.s = NewShard(w.s.opt, w)
	_, ok := w.call("c1")
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c2", 1, "c2", ""))
	w.want(alice.addr + " 503 Service Unavailable")
	w.in(1, alice.addr, alice.request("ACK", "sip:bob@"+bob.addr, "c1", 1, "ack", header(ok, "To")[0], routeSet(ok, true)...))
	w.want(bob.addr + " ACK sip:bob@" + bob.addr)
}

// TestGroupLost: a lost group's transactions end without a word.
func TestGroupLost(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	w.take()
	w.s.DropGroup(2)
	if w.s.Len() != 1 {
		t.Error("another group's transaction is gone")
	}
	w.s.DropGroup(1)
	w.pass(40 * time.Second)
	w.want()
	if w.s.Len() != 0 {
		t.Errorf("%d transactions left", w.s.Len())
	}
}

// TestBranchForged: a response whose branch nobody here made goes nowhere.
func TestBranchForged(t *testing.T) {
	w := newTestCall(t)
	invite, _ := w.call("c1")
	n := w.moved()
	via := header(invite, "Via")[0]
	i := strings.Index(via, branchCookie) + len(branchCookie) + 20
	c := "A"
	if via[i] == 'A' {
		c = "B"
	}
	forged := via[:i] + c + via[i+1:]
	n.receive(1, bob.addr, strings.Replace(bob.answer(invite, 200), via, forged, 1))
	n.want()
}

// TestSIPS: what asks for sips goes over TLS or not at all, and its Record-Route is sips (RFC 5630 §5.3, RFC 3261 §16.6 step 4).
func TestSIPS(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sips:bob@example.com", "c1", 1, "c1", ""))
	w.want(alice.addr+" 100 Trying", alice.addr+" 480 Temporarily Unavailable")
	w = newWorld(t, newCluster(t))
	w.cl.registerOver(pb.Transport_TLS, bob)
	w.in(1, alice.addr, alice.request("INVITE", "sips:bob@example.com", "c1", 1, "c1", ""))
	inv := w.take()[1]
	if rr := header(inv.data, "Record-Route"); inv.to.Proto != pb.Transport_TLS || len(rr) != 2 || !strings.HasPrefix(rr[0], "<sips:10.0.0.101:5061;") {
		t.Errorf("%+v: Record-Route %q", inv.to, rr)
	}
}

// TestSlowNonInvite: RFC 4320 §4.1: 100 when the client's Timer E has come to T2, not before, over whatever transport.
func TestSlowNonInvite(t *testing.T) {
	for _, proto := range []pb.Transport{pb.Transport_UDP, pb.Transport_TCP} {
		t.Run(proto.String(), func(t *testing.T) {
			w := newTestCall(t)
			toAlice := func() (lines []string) {
				for _, s := range w.take() {
					if s.to.Remote.String() == alice.addr {
						lines = append(lines, s.data[8:11])
					}
				}
				return lines
			}
			from := transport.Flow{Group: 1, Port: 5060, Proto: proto, Remote: netip.MustParseAddrPort(alice.addr)}
			w.receiveFrom(from, alice.request("MESSAGE", "sip:bob@example.com", "c", 1, "b", ""))
			msg := w.want(bob.addr + " MESSAGE sip:bob@" + bob.addr)[0]
			w.pass(3400 * time.Millisecond)
			if got := toAlice(); len(got) != 0 {
				t.Errorf("too early: %v", got)
			}
			w.pass(200 * time.Millisecond)
			if got := toAlice(); !slices.Equal(got, []string{"100"}) {
				t.Errorf("after 3.6 s: %v", got)
			}
			w.in(1, bob.addr, bob.answer(msg, 200))
			w.pass(10 * time.Second)
			if got := toAlice(); !slices.Equal(got, []string{"200"}) {
				t.Errorf("in the end: %v", got)
			}
		})
	}
}

// TestDialledEscapes: what the dialled number escapes stays so towards the gateway: bare it would be another URI, or other headers.
func TestDialledEscapes(t *testing.T) {
	for dialled, want := range map[string]string{
		"0123%40gw%20SIP/2.0%0D%0AX-Evil:%20a": "123%40gw%20SIP/2.0%0D%0AX-Evil", // a colon begins a password, which is not passed on
		"%30123%23":                            "123%23",
		"0%2A31%23123;phone-context=x":         "%2A31%23123;phone-context=x",
	} {
		w := newWorld(t, newCluster(t))
		w.in(1, alice.addr, alice.request("INVITE", "sip:"+dialled+"@example.com", "c1", 1, "c1", ""))
		invite := w.want(alice.addr+" 100 Trying", gw1.addr+" INVITE sip:"+want+"@"+gw1.addr)[1]
		if len(header(invite, "X-Evil")) != 0 {
			t.Errorf("a header of the caller's making:\n%s", invite)
		}
		w.in(1, alice.addr, alice.request("MESSAGE", "sip:"+dialled+"@example.com", "m1", 1, "m1", "")) // which has no record of its target's address
		w.want(gw1.addr + " MESSAGE sip:" + want + "@" + gw1.addr)
	}
}

// TestDialledParameters: parameters of a number lie in the user part, also where the gateway is looked up by its name.
func TestDialledParameters(t *testing.T) {
	cl := newCluster(t)
	cl.apply(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: &pb.Member{Pool: "gw", Name: "gw1", Address: "trunk.example.net"}}}})
	w := newWorld(t, cl)
	w.in(1, alice.addr, alice.request("INVITE", "sip:0123;npdi;rn=+4930@example.com", "c1", 1, "c1", ""))
	w.want(alice.addr + " 100 Trying")
	if len(w.lookups) != 1 || w.lookups[0].q.Host != "trunk.example.net" {
		t.Fatalf("asked for %+v", w.lookups)
	}
	w.resolved(target("10.2.0.1:5060"))
	w.want("10.2.0.1:5060 INVITE sip:123;npdi;rn=+4930@trunk.example.net")
}

// TestNamedAsUs: a Route, or an OPTIONS, that names a domain of ours means us, at a port that we serve (RFC 3261 §16.4, §11).
func TestNamedAsUs(t *testing.T) {
	for _, route := range []string{"sip:example.com;lr", "sip:Example.COM:5060;transport=tcp;lr", "sip:example.com:5061;lr"} {
		w := newTestCall(t)
		w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "", "Route: <"+route+">"))
		if invite := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]; len(header(invite, "Route")) != 0 {
			t.Errorf("%s went on", route)
		}
	}
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "", "Route: <sip:example.com:5999;lr>"))
	w.want(alice.addr + " 100 Trying")
	if len(w.lookups) != 1 {
		t.Error("a port that we do not serve is somebody else's")
	}
	var m wire.Msg
	for uri, want := range map[string]bool{"sip:example.com": true, "sip:10.0.0.101": true, "sip:bob@example.com": false, "sip:example.net": false} {
		if err := m.Scan([]byte(alice.request("OPTIONS", uri, "c", 1, "b", ""))); err != nil {
			t.Fatal(err)
		}
		if w.v.Ping(&m) != want {
			t.Errorf("OPTIONS %s: %v", uri, !want)
		}
	}
	// An IPv6 address is the same however it is written (RFC 5954 §4.2).
	v, _ := NewView(w.cl.m.Config(), []Group{{1, []VIP{{Addr: netip.MustParseAddr("2001:db8::10")}}}}, nil)
	for host, want := range map[string]bool{"[2001:db8::10]": true, "[2001:DB8:0::0010]": true, "[2001:db8::0.0.0.16]": true, "[2001:db8::1]": false, "[2001:db8:::10]": false, "[": false} {
		if v.isOwn([]byte(host), 5060) != want {
			t.Errorf("%s is a VIP of ours: %v", host, !want)
		}
	}
	// Below our own Route the same name is that of a proxy on the callee's side.
	_, ok := w.call("c2")
	w.in(1, alice.addr, alice.request("BYE", "sip:bob@"+bob.addr, "c2", 2, "bye", header(ok, "To")[0], append(routeSet(ok, true), "Route: <sip:example.com;lr>")...))
	if n := len(w.lookups); n != 2 || w.lookups[1].q.Host != "example.com" {
		t.Errorf("%d lookups", n)
	}
}
