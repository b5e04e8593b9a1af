package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"holdline/fsm/pb"
	"holdline/sipcore/dialog"
	"holdline/sipcore/resolve"
	"holdline/sipcore/transport"
)

// stranger calls from outside, in the name of nobody's domain here.
var stranger = phone{"zoe", "203.0.113.9:5060"}

func (p phone) foreign(req string) string {
	return strings.Replace(req, "sip:"+p.name+"@example.com", "sip:"+p.name+"@far.example", 1)
}

// neighbour is a user's phone in a network that requests of gateway gw3, which has a name, come from.
var neighbour = phone{"bob", "10.1.2.3:5060"}

func (cl *cluster) putGateway(name, address string, sources ...string) {
	cl.t.Helper()
	m := &pb.Member{Pool: "gw", Name: name, Address: address, Sources: sources}
	if r := cl.apply(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: m}}}); r.Code != pb.Code_OK {
		cl.t.Fatal(r)
	}
}

// reconfigured lets a world see what the cluster's configuration is now.
func (w *world) reconfigured() {
	w.v, _ = NewView(w.cl.m.Config(), testGroups, nil)
}

// parties is a dialog between a caller and a callee, and what makes requests in it.
type parties struct {
	caller, callee phone
	invite, ok     string // as the callee and the caller got them
	n              int
}

// between sets a call up that callee answers; it is reached at its address.
func (w *world) between(caller, callee phone, req string) *parties {
	w.t.Helper()
	w.in(1, caller.addr, req)
	var p parties
	for _, s := range w.take() {
		if s.to.Remote.String() == callee.addr && strings.HasPrefix(s.data, "INVITE ") {
			p = parties{caller: caller, callee: callee, invite: s.data}
		}
	}
	if p.invite == "" {
		w.t.Fatalf("no INVITE to %s", callee.addr)
	}
	w.in(1, callee.addr, callee.answer(p.invite, 200))
	p.ok = w.want(caller.addr + " 200 X")[0]
	return &p
}

// down is a request of the caller's in the dialog, up one of the callee's.
func (p *parties) down(method, uri string, headers ...string) string {
	p.n++
	to, routes := header(p.ok, "To")[0], routeSet(p.ok, true)
	return p.caller.request(method, uri, "d1", 10+p.n, fmt.Sprint("down", p.n), to, append(routes, headers...)...)
}

func (p *parties) up(method, uri string, headers ...string) string {
	p.n++
	to, routes := header(p.ok, "From")[0], routeSet(p.invite, false)
	req := p.callee.request(method, uri, "d1", 10+p.n, fmt.Sprint("up", p.n), to, append(routes, headers...)...)
	return strings.Replace(req, header(req, "From")[0], header(p.ok, "To")[0], 1)
}

// newBarred is a world with a gateway that has a name and whose requests come from 10.1.0.0/16, and the stranger's call to bob.
func newBarred(t *testing.T) (*world, *parties) {
	cl := newCluster(t)
	cl.putGateway("gw3", "trunk.example.net", "10.1.0.0/16")
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	w := newWorld(t, cl)
	return w, w.between(stranger, bob, stranger.foreign(stranger.request("INVITE", "sip:bob@example.com", "d1", 1, "d1", "")))
}

// TestStrangerAndGateways: whoever has called a user, or was called, cannot make us send requests in that dialog to a gateway.
func TestStrangerAndGateways(t *testing.T) {
	w, p := newBarred(t)
	n := w.moved()
	n.known["trunk.example.net"] = nil
	far := "sip:900@far.example"
	for _, c := range []struct {
		what, uri string
		headers   []string
	}{
		{"Request-URI", "sip:900@10.0.0.21:5080", nil},
		{"another port and transport", "sip:900@10.0.0.22;transport=tcp", nil},
		{"leading zeros", "sip:900@010.000.000.021:5080", nil},
		{"mapped", "sip:900@[::ffff:10.0.0.21]:5080", nil},
		{"in the sources", "sip:900@10.1.77.7", nil},
		{"Route", far, []string{"Route: <sip:10.0.0.21:5080;lr>"}},
		{"second Route of ours", far, []string{"Route: <sip:10.0.0.101;lr>, <sip:10.0.0.21:5080;lr>"}},
		{"strict router", far, []string{"Route: <sip:900@10.0.0.21:5080>"}},
		{"name", "sip:900@trunk.example.net", nil},
		{"name in another case, with a dot", "sip:900@Trunk.Example.NET.", nil},
		{"name in Route", far, []string{"Route: <sip:trunk.example.net;lr>"}},
	} {
		for _, method := range []string{"INVITE", "MESSAGE", "REFER", "SUBSCRIBE", "INFO", "REGISTER", "FOO", "bye"} {
			refused := n.stats.KeptOff.Load()
			for _, req := range []string{
				p.down(method, c.uri, c.headers...),
				strings.Replace(p.down(method, c.uri, c.headers...), ";tag=bob-tag", ";tag=made-up", 1),
				strings.NewReplacer(";tag=zoe-tag", ";tag=made-up", ";tag=bob-tag", ";tag=zoe-tag").Replace(p.down(method, c.uri, c.headers...)), // towards himself
			} {
				n.in(1, stranger.addr, stranger.foreign(req))
				n.want(stranger.addr + " 403 This Side Of The Dialog Is No Gateway")
			}
			n.in(1, bob.addr, p.up(method, c.uri, c.headers...))
			n.want(bob.addr + " 403 This Side Of The Dialog Is No Gateway")
			if got := n.stats.KeptOff.Load() - refused; got != 4 {
				t.Errorf("%s by %s: %d were counted", method, c.what, got)
			}
		}
		before := n.stats.KeptOff.Load()
		n.in(1, stranger.addr, stranger.foreign(p.down("ACK", c.uri, c.headers...)))
		n.in(1, bob.addr, p.up("ACK", c.uri, c.headers...))
		n.want()
		if got := n.stats.KeptOff.Load() - before; got != 2 {
			t.Errorf("ACK by %s: %d were counted", c.what, got)
		}
	}
	if len(n.lookups) != 0 || n.s.Len() != 0 {
		t.Errorf("%d lookups, %d transactions", len(n.lookups), n.s.Len())
	}
	// A strict router before us has left the target at the end of the Route.
	route := strings.Trim(header(p.ok, "Record-Route")[0], "<>")
	strict := p.down("MESSAGE", route)
	strict = strings.Replace(strict, "Route: <"+route+">", "Route: <sip:900@10.0.0.21:5080>", 1)
	n.in(1, stranger.addr, stranger.foreign(strict))
	n.want(stranger.addr + " 403 This Side Of The Dialog Is No Gateway")
}

// TestStrangersName: a name of the stranger's own that has a gateway's address gets him no further, not even as the second one.
func TestStrangersName(t *testing.T) {
	w, p := newBarred(t)
	w.in(1, stranger.addr, stranger.foreign(p.down("INVITE", "sip:900@far.example")))
	w.resolved(target("10.0.0.21:5080"), target("10.1.2.9:5060"))
	w.want(stranger.addr + " 403 This Side Of The Dialog Is No Gateway")
	w.in(1, stranger.addr, stranger.foreign(p.down("MESSAGE", "sip:900@far.example")))
	w.resolved(target("10.0.0.21:5080"), target("203.0.113.7:5060"), target("10.0.0.22:5080"))
	msg := w.want("203.0.113.7:5060 MESSAGE sip:900@far.example")[0]
	w.in(1, "203.0.113.7:5060", stranger.answer(msg, 503))
	w.want(stranger.addr + " 500 Server Internal Error")
	ack := stranger.foreign(p.down("ACK", "sip:900@far.example"))
	w.known["far.example"] = append(w.known["far.example"], target("10.0.0.21:5080"))
	w.in(1, stranger.addr, ack)
	w.want()
	w.known["far.example"] = append(w.known["far.example"], target("203.0.113.7:5060"))
	w.in(1, stranger.addr, ack)
	w.want("203.0.113.7:5060 ACK sip:900@far.example")
	if got := w.stats.KeptOff.Load(); got != 2 {
		t.Errorf("%d were counted", got)
	}
}

// TestByeReachesGateways: a BYE can do nothing but end the dialog that it names (RFC 3261 §15.1.2), and a call must end.
func TestByeReachesGateways(t *testing.T) {
	w, p := newBarred(t)
	w.in(1, bob.addr, p.up("BYE", "sip:zoe@10.0.0.21:5080"))
	bye := w.want("10.0.0.21:5080 BYE sip:zoe@10.0.0.21:5080")[0]
	w.in(1, "10.0.0.21:5080", gw1.answer(bye, 481))
	w.want(bob.addr + " 481 X")
	if c := w.cl.m.Call(1); c.State != pb.CallState_CALL_ENDED {
		t.Errorf("the call is %v", c.State)
	}
}

// TestGatewaysInDialog: dialogs with a gateway go on as they are: with the phone at its address, and with any gateway at the side that is one.
func TestGatewaysInDialog(t *testing.T) {
	carrier, elsewhere := phone{"carrier", "10.1.5.5:5060"}, phone{"elsewhere", "10.4.0.1:5060"}
	for _, c := range []struct {
		what           string
		caller, callee phone
		uri            string
		down, up       string // where else than to the peer's address requests may go; "": nowhere
	}{
		{"a phone calls a gateway", alice, gw1, "sip:0123@example.com", gw2.addr, ""},
		{"a gateway calls a phone", gw2, bob, "sip:bob@example.com", "", gw1.addr},
		{"a trusted source calls a phone", carrier, bob, "sip:bob@example.com", "", gw1.addr},
		{"a gateway calls a gateway", carrier, gw1, "sip:0123@example.com", gw2.addr, "10.1.5.6:5060"},
		{"a gateway calls from where it is called, which is none of its sources", elsewhere, bob, "sip:bob@example.com", "", gw1.addr},
		{"a phone calls a phone", alice, bob, "sip:bob@example.com", "", ""},
	} {
		cl := newCluster(t)
		cl.putGateway("gw3", "trunk.example.net", "10.1.0.0/16")
		cl.putGateway("gw4", elsewhere.addr, "192.0.2.0/24")
		cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
		w := newWorld(t, cl)
		p := w.between(c.caller, c.callee, c.caller.request("INVITE", c.uri, "d1", 1, "d1", ""))
		n := w.moved()
		trusted := func(p phone) bool { return len(n.v.Config.Sources(netip.MustParseAddrPort(p.addr).Addr())) > 0 } // it may send anywhere
		goes := func(from phone, req, to string, ok bool) {
			t.Helper()
			n.in(1, from.addr, req)
			got := n.take()
			switch method, _, _ := strings.Cut(req, " "); {
			case ok && (len(got) != 1 || got[0].to.Remote.String() != to || !strings.HasPrefix(got[0].data, method)):
				t.Errorf("%s: %s of %s to %s: %+v", c.what, method, from.name, to, got)
			case !ok && method != "ACK" && (len(got) != 1 || !strings.HasPrefix(got[0].data, "SIP/2.0 403 ")), !ok && method == "ACK" && len(got) != 0:
				t.Errorf("%s: %s of %s to %s is not refused: %+v", c.what, method, from.name, to, got)
			}
		}
		for _, method := range []string{"ACK", "INVITE", "UPDATE", "REFER", "INFO"} {
			goes(c.caller, p.down(method, "sip:x@"+c.callee.addr), c.callee.addr, true)
			goes(c.callee, p.up(method, "sip:x@"+c.caller.addr), c.caller.addr, true)
			goes(c.caller, p.down(method, "sip:x@198.51.100.7:5062"), "198.51.100.7:5062", true) // whoever is no gateway may move
			goes(c.callee, p.up(method, "sip:x@198.51.100.7:5062"), "198.51.100.7:5062", true)
			if c.down != "" {
				goes(c.caller, p.down(method, "sip:x@"+c.down), c.down, true)
			}
			if c.up != "" {
				goes(c.callee, p.up(method, "sip:x@"+c.up), c.up, true)
			}
			if c.down == "" {
				goes(c.caller, p.down(method, "sip:x@"+gw2.addr), gw2.addr, trusted(c.caller))
			}
			if c.up == "" {
				goes(c.callee, p.up(method, "sip:x@"+gw2.addr), gw2.addr, trusted(c.callee))
			}
		}
		goes(c.caller, p.down("BYE", "sip:x@"+c.callee.addr), c.callee.addr, true)
	}
}

// TestNamedGatewayInDialog: a gateway that is called by a name may go by it in its dialogs, and by addresses of its sources, whatever address the name had.
func TestNamedGatewayInDialog(t *testing.T) {
	cl := newCluster(t)
	cl.putGateway("gw1", "trunk.example.net", "10.1.0.0/16")
	w := newWorld(t, cl)
	w.in(1, alice.addr, alice.request("INVITE", "sip:0123@example.com", "d1", 1, "d1", ""))
	w.resolved(target("10.2.0.1:5060"))
	gw := phone{"trunk", "10.2.0.1:5060"}
	invite := w.byReceiver()[gw.addr][0]
	w.in(1, gw.addr, gw.answer(invite, 200))
	p := &parties{caller: alice, callee: gw, invite: invite, ok: w.want(alice.addr + " 200 X")[0]}
	n := w.moved()
	n.in(1, alice.addr, p.down("INFO", "sip:x@trunk.example.net"))
	n.resolved(target("10.1.0.1:5060"), target("10.0.0.22:5080"))
	n.want("10.1.0.1:5060 INFO sip:x@trunk.example.net")
	n.in(1, alice.addr, p.down("INFO", "sip:x@10.1.0.2"))
	n.want("10.1.0.2:5060 INFO sip:x@10.1.0.2")
	n.known["trunk.example.net"] = append(n.known["trunk.example.net"], target("10.1.0.1:5060"))
	n.in(1, alice.addr, p.down("ACK", "sip:x@trunk.example.net"))
	n.want("10.1.0.1:5060 ACK sip:x@trunk.example.net")
}

// TestNamedGatewayWithoutSources: it cannot be told from a stranger when it calls, and may go by its name all the same.
func TestNamedGatewayWithoutSources(t *testing.T) {
	cl := newCluster(t)
	cl.putGateway("gw1", "trunk.example.net")
	cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
	w := newWorld(t, cl)
	p := w.between(stranger, bob, stranger.foreign(stranger.request("INVITE", "sip:bob@example.com", "d1", 1, "d1", "", "Record-Route: <sip:trunk.example.net;lr>")))
	w.in(1, bob.addr, p.up("INVITE", "sip:zoe@trunk.example.net"))
	w.resolved(target(stranger.addr))
	w.want(stranger.addr + " INVITE sip:zoe@trunk.example.net")
}

// TestPhoneAmongSources: a phone in a network that a gateway's requests come from is reached there, wherever it moves in it, and is no way to
// the gateways' own addresses.
func TestPhoneAmongSources(t *testing.T) {
	cl := newCluster(t)
	cl.putGateway("gw3", "10.1.0.1:5060", "10.1.0.0/16")
	cl.register("bob@example.com", "sip:bob@"+neighbour.addr, neighbour.addr, 1, 1000)
	w := newWorld(t, cl)
	p := w.between(stranger, neighbour, stranger.foreign(stranger.request("INVITE", "sip:bob@example.com", "d1", 1, "d1", "")))
	n := w.moved()
	for _, w := range []*world{w, n} {
		w.in(1, stranger.addr, stranger.foreign(p.down("ACK", "sip:bob@"+neighbour.addr)))
		w.want(neighbour.addr + " ACK sip:bob@" + neighbour.addr)
		w.in(1, neighbour.addr, p.up("INVITE", "sip:zoe@"+stranger.addr))
		w.want(stranger.addr + " INVITE sip:zoe@" + stranger.addr)
		for _, to := range []string{neighbour.addr, "10.1.9.9:5060"} {
			w.in(1, stranger.addr, stranger.foreign(p.down("INFO", "sip:bob@"+to)))
			w.want(to + " INFO sip:bob@" + to)
		}
		for _, to := range []string{"10.1.0.1", gw1.addr} {
			w.in(1, stranger.addr, stranger.foreign(p.down("MESSAGE", "sip:900@"+to)))
			w.want(stranger.addr + " 403 This Side Of The Dialog Is No Gateway")
		}
	}
	// It calls out: then it is a trusted source, as before.
	alice2 := phone{"carol", neighbour.addr}
	q := n.between(alice2, neighbour, alice2.request("INVITE", "sip:bob@example.com", "d2", 1, "d2", ""))
	n.in(1, neighbour.addr, q.up("INFO", "sip:carol@"+neighbour.addr))
	n.want(neighbour.addr + " INFO sip:carol@" + neighbour.addr)
}

// TestProxyAmongSources: an edge proxy in such a network speaks for its phones, and may be at any address of it.
func TestProxyAmongSources(t *testing.T) {
	cl := newCluster(t)
	cl.putGateway("gw3", "10.1.0.1:5060", "10.1.0.0/16")
	w := newWorld(t, cl)
	edge := phone{"edge", "10.1.0.7:5060"}
	cl.apply(&pb.Command{Op: &pb.Command_Register{Register: &pb.Register{
		Aor: "bob@example.com", CallId: "r", Cseq: 1, Txn: []byte("r"), Group: 1,
		Changes: []*pb.BindingChange{{ExpiresS: 3600, Binding: &pb.Binding{
			Contact: "sip:bob@192.168.0.2", Q: 1000, Path: []string{"<sip:" + edge.addr + ";lr>"},
			Flow: transport.Flow{Group: 1, Port: 5060, Remote: netip.MustParseAddrPort(edge.addr)}.PB(),
		}}},
	}}})
	p := w.between(alice, edge, alice.request("INVITE", "sip:bob@example.com", "d2", 1, "d2", ""))
	w.in(1, alice.addr, p.down("UPDATE", "sip:bob@192.168.0.2", "Route: <sip:10.1.0.1;lr>"))
	w.want("10.1.0.1:5060 UPDATE sip:bob@192.168.0.2")
}

// TestTokenWithoutBars: a dialog whose token was made by a node that knows of no bars goes on as it did.
func TestTokenWithoutBars(t *testing.T) {
	w, p := newBarred(t)
	before := func(req string) string {
		route := header(req, "Route")[0]
		_, text, _ := strings.Cut(strings.Trim(route, "<>"), ";hl=")
		token, key, err := dialog.Parse([]byte(text), w.v.route)
		if err != nil || token.Caller.Bars == 0 || token.Callee.Bars == 0 {
			t.Fatalf("%+v %v", token, err)
		}
		token.Caller.Bars, token.Callee.Bars = 0, 0
		return strings.Replace(req, text, string(token.Append(nil, key)), 1)
	}
	n := w.moved()
	n.in(1, stranger.addr, stranger.foreign(before(p.down("INVITE", "sip:bob@10.0.0.21:5080"))))
	n.want("10.0.0.21:5080 INVITE sip:bob@10.0.0.21:5080")
	n.in(1, bob.addr, before(p.up("INFO", "sip:zoe@trunk.example.net")))
	n.resolved(target("10.1.2.9:5060"))
	n.want("10.1.2.9:5060 INFO sip:zoe@trunk.example.net")
}

// TestBarsAfterTakeover: the new owner's INVITE has the token that the last one's had, whoever the sides are.
func TestBarsAfterTakeover(t *testing.T) {
	for _, c := range []struct {
		what           string
		from, to       phone
		uri            string
		caller, callee dialog.Bars
	}{
		{"stranger to phone", stranger, bob, "sip:bob@example.com", both, both},
		{"phone to phone", alice, bob, "sip:bob@example.com", both, both},
		{"gateway to phone", gw1, bob, "sip:bob@example.com", 0, both},
		{"source to neighbour", phone{"gw3", "10.1.5.5:5060"}, neighbour, "sip:carol@example.com", 0, dialog.BarMembers},
		{"phone to neighbour", alice, neighbour, "sip:carol@example.com", both, dialog.BarMembers},
		{"phone to gateway", alice, gw1, "sip:0123@example.com", both, 0},
	} {
		cl := newCluster(t)
		cl.putGateway("gw3", "trunk.example.net", "10.1.0.0/16")
		cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
		cl.register("carol@example.com", "sip:carol@"+neighbour.addr, neighbour.addr, 1, 1000)
		w := newWorld(t, cl)
		req := c.from.request("INVITE", c.uri, "d1", 1, "d1", "")
		if c.from == stranger {
			req = stranger.foreign(req)
		}
		w.in(1, c.from.addr, req)
		first := w.byReceiver()[c.to.addr][0]
		n := w.moved()
		n.rearm()
		if again := n.byReceiver()[c.to.addr][0]; again != first {
			t.Errorf("%s: INVITE after the takeover:\n%s\nbefore:\n%s", c.what, again, first)
		}
		_, text, _ := strings.Cut(strings.Trim(header(first, "Record-Route")[0], "<>"), ";hl=")
		if token, _, err := dialog.Parse([]byte(text), w.v.route); err != nil || token.Caller.Bars != c.caller || token.Callee.Bars != c.callee {
			t.Errorf("%s: %+v %v", c.what, token, err)
		}
	}
}

const both = dialog.BarMembers | dialog.BarSources

// TestGatewayAddedMeanwhile: calls go on of sides at whose addresses gateways are put.
func TestGatewayAddedMeanwhile(t *testing.T) {
	w, p := newBarred(t)
	host := func(p phone) string { return netip.MustParseAddrPort(p.addr).Addr().String() }
	check := func(caller, callee bool) {
		t.Helper()
		for _, x := range []struct {
			from, to phone
			req      string
			ok       bool
		}{
			{bob, stranger, p.up("INVITE", "sip:x@"+stranger.addr), caller},
			{stranger, bob, stranger.foreign(p.down("INVITE", "sip:x@"+bob.addr)), callee},
		} {
			w.in(1, x.from.addr, x.req)
			got := w.take()
			if ok := len(got) == 1 && got[0].to.Remote.String() == x.to.addr; ok != x.ok {
				t.Errorf("%s to %s: %+v", x.from.name, x.to.name, got)
			}
		}
	}
	check(true, true)
	w.cl.putGateway("gw4", host(bob)+":5060", "192.0.2.0/24")
	w.reconfigured()
	check(true, true)
	w.in(1, stranger.addr, stranger.foreign(p.down("ACK", "sip:x@"+bob.addr)))
	w.want(bob.addr + " ACK sip:x@" + bob.addr)
	w.cl.putGateway("gw4", host(stranger), "203.0.113.0/24")
	w.reconfigured()
	check(true, true)
	w.in(1, bob.addr, p.up("INVITE", "sip:zoe@far.example"))
	w.resolved(target(stranger.addr))
	w.want(stranger.addr + " INVITE sip:zoe@far.example")
	w.cl.putGateway("gw4", "192.0.2.1", host(bob)+"/32")
	w.reconfigured()
	check(true, true)
	// By another stranger's call, which is nobody's at those addresses.
	w.cl.putGateway("gw4", host(bob)+":5060", "192.0.2.0/24")
	w.reconfigured()
	carol := phone{"carol", "10.0.0.33:5060"}
	w.cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
	q := w.between(stranger, carol, stranger.foreign(stranger.request("INVITE", "sip:carol@example.com", "d2", 1, "d2", "")))
	w.in(1, stranger.addr, stranger.foreign(q.down("INVITE", "sip:x@"+bob.addr)))
	w.want(stranger.addr + " 403 This Side Of The Dialog Is No Gateway")
}

// TestGatewaysByNumberAlone: users reach no gateway by a Route of theirs, nor by a Path that they have registered with; trusted sources, and edge proxies
// among them, go where they write.
func TestGatewaysByNumberAlone(t *testing.T) {
	const forbidden = " 403 Gateways Are Called By Number"
	edge := "10.1.2.4:5060"
	for _, c := range []struct {
		say      string
		from     phone
		route    string // of the request
		path     string // of bob's REGISTER, which came from registers
		register string
		lookup   []resolve.Target
		want     string // "": 403
	}{
		{say: "a user's Route to a gateway", from: alice, route: "<sip:10.0.0.21:5080;lr>"},
		{say: "at another port", from: alice, route: "<sip:10.0.0.21;lr>"},
		{say: "to where a gateway's requests come from", from: alice, route: "<sip:10.1.9.9;lr>"},
		{say: "by a name", from: alice, route: "<sip:trunk.example.net;lr>", lookup: []resolve.Target{target("10.1.9.9:5060")}},
		{say: "to a name with another address, too", from: alice, route: "<sip:far.example.net;lr>", lookup: []resolve.Target{target("10.1.9.9:5060"), target("10.9.9.9:5060")}, want: "10.9.9.9:5060"},
		{say: "to somebody else", from: alice, route: "<sip:10.9.9.9;lr>", want: "10.9.9.9:5060"},
		{say: "a gateway's Route to a gateway", from: gw2, route: "<sip:10.0.0.21:5080;lr>", want: "10.0.0.21:5080"},
		{say: "a user's Path", from: alice, path: "<sip:10.0.0.21:5080;lr>", register: bob.addr},
		{say: "by a name", from: alice, path: "<sip:trunk.example.net;lr>", register: bob.addr, lookup: []resolve.Target{target("10.1.9.9:5060")}},
		{say: "to somebody else", from: alice, path: "<sip:10.9.9.9;lr>", register: bob.addr, want: "10.9.9.9:5060"},
		{say: "an edge proxy's", from: alice, path: "<sip:10.1.2.5;lr>", register: edge, want: "10.1.2.5:5060"},
	} {
		t.Run(c.say+" "+c.route+c.path, func(t *testing.T) {
			cl := newCluster(t)
			cl.putGateway("gw3", "trunk.example.net", "10.1.0.0/16")
			if c.path != "" {
				from := transport.Flow{Group: 1, Port: 5060, Remote: netip.MustParseAddrPort(c.register)}
				r := cl.apply(&pb.Command{Op: &pb.Command_Register{Register: &pb.Register{
					Aor: "bob@example.com", CallId: "r", Cseq: 1, Txn: []byte("r"), Group: 1,
					Changes: []*pb.BindingChange{{ExpiresS: 3600, Binding: &pb.Binding{Contact: "sip:+1900@10.0.0.21", Q: 1000, Path: []string{c.path}, Flow: from.PB()}}},
				}}})
				if r.Code != pb.Code_OK {
					t.Fatal(r)
				}
			}
			for _, method := range []string{"INVITE", "MESSAGE"} {
				w := newWorld(t, cl)
				uri, routes := "sip:bob@example.com", []string(nil)
				if c.route != "" {
					uri, routes = "sip:+1900@elsewhere.example", []string{"Route: " + c.route}
				}
				w.in(1, c.from.addr, c.from.request(method, uri, "c-"+method, 1, "c"+method, "", routes...))
				if c.lookup != nil {
					w.resolved(c.lookup...)
				}
				got := w.takeBut100()
				if len(got) != 1 {
					t.Fatalf("%s: sent %v", method, got)
				}
				line, _, _ := strings.Cut(got[0].data, "\r\n")
				switch to := got[0].to.Remote.String(); {
				case c.want == "" && (to != c.from.addr || line != "SIP/2.0"+forbidden || w.stats.KeptOff.Load() != 1):
					t.Errorf("%s: %s to %s; kept off %d", method, line, to, w.stats.KeptOff.Load())
				case c.want != "" && (to != c.want || !strings.HasPrefix(line, method+" ")):
					t.Errorf("%s: %s to %s", method, line, to)
				}
			}
		})
	}
}
