package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"holdline/fsm/pb"
	"holdline/sipcore/transport"
)

// TestPath: a request to a phone behind an edge proxy goes to the first hop of its Path, whatever the REGISTER came from (RFC 3327
// §5.4), and has the Path as Route.
func TestPath(t *testing.T) {
	const edge = "10.0.0.70:5060" // where the REGISTER came from
	for _, c := range []struct {
		path  []string
		came  pb.Transport
		proto pb.Transport
		to    string // "": looked up
	}{
		{[]string{"<sip:10.0.0.70;lr>"}, pb.Transport_UDP, pb.Transport_UDP, edge},
		{[]string{"<sip:token@10.0.0.70:5090;lr;ob>", "<sip:10.0.0.71;lr>"}, pb.Transport_UDP, pb.Transport_UDP, "10.0.0.70:5090"},
		{[]string{"<sip:10.0.0.72;lr>"}, pb.Transport_TCP, pb.Transport_UDP, "10.0.0.72:5060"},
		{[]string{"<sip:10.0.0.70;lr>"}, pb.Transport_TCP, pb.Transport_TCP, edge},
		{[]string{"<sip:10.0.0.70;transport=udp;lr>"}, pb.Transport_TCP, pb.Transport_UDP, edge},
		{[]string{"<sip:10.0.0.70;transport=tcp;lr>"}, pb.Transport_UDP, pb.Transport_TCP, edge},
		{[]string{"<sips:10.0.0.70;lr>"}, pb.Transport_UDP, pb.Transport_TLS, "10.0.0.70:5061"},
		{[]string{"<sip:edge.example.net;lr>"}, pb.Transport_UDP, pb.Transport_UDP, ""},
	} {
		cl := newCluster(t)
		r := cl.apply(&pb.Command{Op: &pb.Command_Register{Register: &pb.Register{
			Aor: "bob@example.com", CallId: "r", Cseq: 1, Txn: []byte("r"), Group: 1,
			Changes: []*pb.BindingChange{{ExpiresS: 3600, Binding: &pb.Binding{
				Contact: "sip:bob@192.168.0.2", Q: 1000, Path: c.path,
				Flow: transport.Flow{Group: 1, Proto: c.came, Port: 5060, Remote: netip.MustParseAddrPort(edge), Conn: 7}.PB(),
			}}},
		}}})
		if r.Code != pb.Code_OK {
			t.Fatal(r)
		}
		w := newWorld(t, cl)
		w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
		if c.to == "" {
			if len(w.lookups) != 1 || w.lookups[0].q.Host != "edge.example.net" || w.lookups[0].q.Fixed {
				t.Errorf("%v: looked up %+v", c.path, w.lookups)
			}
			continue
		}
		out := w.take()
		if len(out) != 2 {
			t.Errorf("%v: sent %+v", c.path, out)
			continue
		}
		got := out[1]
		if got.to.Remote.String() != c.to || got.to.Proto != c.proto || got.to.Conn != 0 || !strings.HasPrefix(got.data, "INVITE sip:bob@192.168.0.2 ") {
			t.Errorf("%v: to %+v\n%s", c.path, got.to, got.data)
		}
		if r := header(got.data, "Route"); strings.Join(r, " ") != strings.Join(c.path, " ") {
			t.Errorf("%v: Route %q", c.path, r)
		}
		via := "SIP/2.0/" + protoNames[c.proto] + " "
		if v := header(got.data, "Via")[0]; !strings.HasPrefix(v, via) {
			t.Errorf("%v: Via %s", c.path, v)
		}
	}
}

// TestPathOfDialog: the edge proxy that stays in the dialog gets its requests, by its Record-Route; so does it our BYE.
func TestPathOfDialog(t *testing.T) {
	cl := newCluster(t)
	cl.registerFlow(phone{"bob", "10.0.0.70:5060"}, "urn:uuid:a", 1, 1, 1000, "<sip:10.0.0.70;lr;ob>")
	w := newWorld(t, cl)
	edge := phone{"bob", "10.0.0.70:5060"}
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	inv := w.want(alice.addr+" 100 Trying", edge.addr+" INVITE sip:bob@10.0.0.70:5060")[1]
	answer := strings.Replace(edge.answer(inv, 200, "Session-Expires: 1800"), "Record-Route: ", "Record-Route: <sip:10.0.0.70;lr>, ", 1)
	answer = strings.Replace(answer, "Contact: <sip:bob@10.0.0.70:5060>", "Contact: <sip:bob@192.168.0.2>", 1)
	w.in(1, edge.addr, answer)
	ok := w.want(alice.addr + " 200 X")[0]
	w.in(1, alice.addr, alice.request("ACK", "sip:bob@192.168.0.2", "c1", 1, "ack", header(ok, "To")[0], routeValues(ok)...))
	ack := w.want(edge.addr + " ACK sip:bob@192.168.0.2")[0]
	if r := header(ack, "Route"); len(r) != 1 || r[0] != "<sip:10.0.0.70;lr>" {
		t.Errorf("Route %q", r)
	}
	w.overdue(cl.m.Call(1).DeadlineMs + sessionSlack)
	bye := w.want(alice.addr+" BYE sip:alice@"+alice.addr, edge.addr+" BYE sip:bob@192.168.0.2")[1]
	if r := header(bye, "Route"); len(r) != 1 || r[0] != "<sip:10.0.0.70;lr>" {
		t.Errorf("Route %q", r)
	}
}

// routeValues is the caller's route set from a 200, one value a line.
func routeValues(ok string) []string {
	var out []string
	for _, line := range header(ok, "Record-Route") {
		for _, v := range strings.Split(line, ", ") {
			out = append([]string{"Route: " + v}, out...)
		}
	}
	return out
}
