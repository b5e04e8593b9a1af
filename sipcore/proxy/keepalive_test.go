package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// TestAliveFlow: who gets keep-alives.
func TestAliveFlow(t *testing.T) {
	udp := fsm.Flow{Group: 2, Port: 5070, Remote: netip.MustParseAddrPort("198.51.100.7:40000")}
	udp6 := fsm.Flow{Group: 2, Remote: netip.MustParseAddrPort("[2001:db8::7]:5060")}
	for _, c := range []struct {
		name string
		b    fsm.Binding
		want bool
	}{
		{"behind a NAT", fsm.Binding{Contact: "sip:bob@192.168.1.20:5060", Flow: udp}, true},
		{"a name", fsm.Binding{Contact: "sip:bob@bobspc.example", Flow: udp}, true},
		{"another port", fsm.Binding{Contact: "sip:bob@198.51.100.7:5060", Flow: udp}, true},
		{"the port that no port means", fsm.Binding{Contact: "sip:bob@198.51.100.7", Flow: udp}, true},
		{"not behind a NAT", fsm.Binding{Contact: "sip:bob@198.51.100.7:40000;ob", Flow: udp}, false},
		{"not behind a NAT, on 5060", fsm.Binding{
			Contact: "sip:198.51.100.7;line=1", Flow: fsm.Flow{Group: 2, Remote: netip.MustParseAddrPort("198.51.100.7:5060")},
		}, false},
		{"not behind a NAT, on IPv6", fsm.Binding{Contact: "sip:bob@[2001:db8::7]", Flow: udp6}, false},
		{"not behind a NAT, on IPv6 with a port", fsm.Binding{Contact: "sip:bob@[2001:db8::7]:5060;ob", Flow: udp6}, false},
		{"not behind a NAT, written another way", fsm.Binding{Contact: "SIP:bob@[2001:DB8:0::7]", Flow: udp6}, false},
		{"a flow of RFC 5626", fsm.Binding{Contact: "sip:bob@192.168.1.20:5060", Flow: udp, RegID: 1, KeepsFlow: true}, false},
		{"a reg-id alone", fsm.Binding{Contact: "sip:bob@192.168.1.20:5060", Flow: udp, RegID: 1}, true},
		{"behind an edge proxy", fsm.Binding{Contact: "sip:bob@192.168.1.20:5060", Flow: udp, Path: []string{"<sip:edge.example;lr>"}}, false},
		{"a connection", fsm.Binding{
			Contact: "sip:bob@192.168.1.20:5060", Flow: fsm.Flow{Group: 2, Proto: pb.Transport_TCP, Remote: udp.Remote, Conn: 9},
		}, false},
		{"nowhere", fsm.Binding{Contact: "sip:bob@192.168.1.20:5060", Flow: fsm.Flow{Group: 2}}, false},
	} {
		f, got := AliveFlow(&c.b)
		if got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
		if got && f != (transport.Flow{Group: 2, Port: 5070, Remote: udp.Remote}) {
			t.Errorf("%s: over %+v", c.name, f)
		}
	}
	old := fsm.Binding{Contact: "sip:bob@192.168.1.20", Flow: fsm.Flow{Group: 2, Remote: udp.Remote}}
	if f, ok := AliveFlow(&old); !ok || f.Port != transport.DefaultPort {
		t.Errorf("a flow without a port: %+v, %v", f, ok)
	}
}

// TestOptionsKeepAlive: the OPTIONS is whole, and its answer is known by any node, whatever it says; nothing else is taken for one.
func TestOptionsKeepAlive(t *testing.T) {
	w := newTestCall(t)
	flow := transport.Flow{Group: 2, Port: 5060, Remote: netip.MustParseAddrPort("198.51.100.7:40000")}
	out, ok := w.v.AppendOptions(nil, "sip:bob@192.168.1.20:5060;line=1", flow, 7)
	if !ok {
		t.Fatal("nothing to send")
	}
	text := string(out)
	id := header(text, "Call-ID")[0]
	want := strings.ReplaceAll("OPTIONS sip:bob@192.168.1.20:5060;line=1 SIP/2.0\r\n"+
		"Via: SIP/2.0/UDP 10.0.0.102:5060;branch=z9hG4bKk$\r\n"+
		"Max-Forwards: 70\r\n"+
		"From: <sip:10.0.0.102:5060>;tag=$\r\n"+
		"To: <sip:bob@192.168.1.20:5060;line=1>\r\n"+
		"Call-ID: $\r\n"+
		"CSeq: 1 OPTIONS\r\n"+
		"Contact: <sip:10.0.0.102:5060>\r\n"+
		"Accept: application/sdp\r\n"+
		"Content-Length: 0\r\n\r\n", "$", id)
	if text != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
	if again, _ := w.v.AppendOptions(nil, "sip:bob@192.168.1.20:5060;line=1", flow, 8); header(string(again), "Call-ID")[0] == header(text, "Call-ID")[0] {
		t.Error("two have the same Call-ID")
	}
	if _, ok := w.v.AppendOptions(nil, "sip:bob@192.168.1.20", transport.Flow{Group: 9, Remote: flow.Remote}, 9); ok {
		t.Error("it leaves through a VIP that is not there")
	}

	answers := func(v *View, text string, f transport.Flow) bool {
		var m wire.Msg
		if err := m.Scan([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return v.AnswersOptions(&m, f)
	}
	other := flow
	other.Remote = netip.MustParseAddrPort("198.51.100.8:40000")
	elsewhere, _ := NewView(w.cl.m.Config(), testGroups, nil)
	w.rotate()
	for name, is := range map[string]bool{
		"200 OK": answers(w.v, bob.answer(text, 200), flow), "404": answers(w.v, bob.answer(text, 404), flow), "another node": answers(elsewhere, bob.answer(text, 481), flow),
	} {
		if !is {
			t.Errorf("%s: not known", name)
		}
	}
	for name, is := range map[string]bool{
		"100": answers(w.v, bob.answer(text, 100), flow), "from elsewhere": answers(w.v, bob.answer(text, 200), other), "a request": answers(w.v, text, flow),
		"another MAC":  answers(w.v, strings.Replace(bob.answer(text, 200), "z9hG4bKk"+id, "z9hG4bKk"+id[:20]+"AAAA", 1), flow),
		"no base64url": answers(w.v, strings.Replace(bob.answer(text, 200), "z9hG4bKk"+id, "z9hG4bKk!"+id[1:], 1), flow),
		"a call's":     answers(w.v, bob.answer(strings.Replace(text, "z9hG4bKk"+id, "z9hG4bKhAAAA", 1), 200), flow),
	} {
		if is {
			t.Errorf("%s: taken for an answer", name)
		}
	}
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { buf, _ = w.v.AppendOptions(buf[:0], "sip:bob@192.168.1.20:5060;line=1", flow, 7) }); n != 0 && !raced {
		t.Errorf("%v allocations", n)
	}
}

// FuzzKeptAlive: the replicated state, which reads a contact without our parser, never takes a phone for not behind a NAT that we take for behind one.
func FuzzKeptAlive(f *testing.F) {
	for _, contact := range []string{
		"sip:bob@198.51.100.7", "sip:198.51.100.7:5060;ob", "sip:bob@198.51.100.7?x=y", "sip:bob@[2001:db8::7]:5060", "sip:a@b@198.51.100.7", "sip:bob;x@198.51.100.7",
		"sips:bob@198.51.100.7", "sip:bob:pw@198.51.100.7:05060", "SIP:bob@198.51.100.7", "sip:@198.51.100.7", "sip:bob@198.51.100.7;transport=tcp", "sip:bob@198.51.100.7;maddr=192.0.2.1",
	} {
		f.Add(contact)
	}
	f.Fuzz(func(t *testing.T, contact string) {
		for _, remote := range []string{"198.51.100.7:5060", "[2001:db8::7]:5060", "[::ffff:198.51.100.7]:5061", "198.51.100.7:40000"} {
			b := fsm.Binding{Contact: contact, Flow: fsm.Flow{Group: 2, Remote: netip.MustParseAddrPort(remote)}}
			flow := transport.Flow(b.Flow)
			flow.Remote = addrPort(flow.Remote.Addr(), flow.Remote.Port())
			if _, err := wire.ParseURI([]byte(contact)); err == nil && !b.KeptAlive() && !uriNames([]byte(contact), flow) {
				t.Errorf("%q from %s gets no keep-alive", contact, remote)
			}
		}
	})
}
