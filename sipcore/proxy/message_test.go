package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"holdline/fsm/pb"
	"holdline/sipcore/resolve"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// TestOddMessage: an INVITE and its 200 as only a tester would write them: compact names, odd case, folds, several values in a line,
// empty values, bytes after the body. Every byte that no rule changes goes on as it came.
func TestOddMessage(t *testing.T) {
	w := newTestCall(t)
	const rest = "f: \"A, \\\"q\\\" <x>\"\r\n <sip:alice@example.com;x=y>\r\n\t;tag=alice-tag\r\n" +
		"t :\r\n <sip:bob@example.com>\r\n" +
		"I:c1\r\n" +
		"cseq: 1\r\n INVITE\r\n" +
		"m: <sip:alice@10.0.0.31:5060>;+a=\"1,2\" ,\r\n\tsip:alice2@10.0.0.31\r\n"
	const tail = "k: a,b ,\r\n c\r\nX-Odd:\r\nx-odd: one, two;three=\"a;b\"\r\nX-Odd:  \t \r\n\t\xc3\xa4\r\nc : application/x\r\nL: 5\r\n\r\nhe\r\nl"
	w.in(1, alice.addr, "INVITE  sip:bob@example.com  SIP/2.0\r\n"+
		"v:SIP/2.0/UDP 10.0.0.31:5060 ;BRANCH=z9hG4bKodd;rport, SIP / 2.0 / TCP inner.example.com;branch=z9hG4bKx\r\n"+
		"VIA : SIP/2.0/UDP  third.example.com\r\n"+
		"max-forwards:   70\r\n"+rest+
		"rOUTE: <sip:10.0.0.101;lr> ,\r\n <sip:10.0.0.101:5060;lr>\r\n"+tail+" bytes of nobody")
	inv := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	top, below, _ := strings.Cut(inv, "Max-Breadth: 60\r\n")
	if n := strings.Count(top, "\r\n"); n != 3 || !strings.HasPrefix(top, "INVITE sip:bob@"+bob.addr+" SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.101:5060;") {
		t.Errorf("on top:\n%s", top)
	}
	want := "v:SIP/2.0/UDP 10.0.0.31:5060 ;BRANCH=z9hG4bKodd;rport=5060;received=10.0.0.31, SIP / 2.0 / TCP inner.example.com;branch=z9hG4bKx\r\n" +
		"VIA : SIP/2.0/UDP  third.example.com\r\nmax-forwards:   69\r\n" + rest + tail
	if below != want {
		t.Errorf("below:\n%q\nwant\n%q", below, want)
	}

	ours := header(inv, "Via")[0]
	const answer = "to: <sip:bob@example.com>\r\n ; Tag = bob-tag\r\nf:\"A, \\\"q\\\" <x>\" <sip:alice@example.com;x=y>;tag=alice-tag\r\ni: c1\r\n" +
		"CSEQ : 1   INVITE\r\nrecord-route:<sip:far.example.com;lr>, %s\r\nm:sip:bob@10.0.0.32\r\nX-Odd : \r\nl:0\r\n\r\n"
	text := fmt.Sprintf(answer, header(inv, "Record-Route")[0])
	w.in(1, bob.addr, "SIP/2.0 200 \r\nv: "+ours+" ,\r\n SIP/2.0/UDP 10.0.0.31:5060 ;branch=z9hG4bKodd;rport=5060;received=10.0.0.31,SIP/2.0/TCP inner.example.com\r\n"+text)
	ok := w.want(alice.addr + " 200 ")[0]
	if want := "SIP/2.0 200 \r\nv: SIP/2.0/UDP 10.0.0.31:5060 ;branch=z9hG4bKodd;rport=5060;received=10.0.0.31,SIP/2.0/TCP inner.example.com\r\n" + text; ok != want {
		t.Errorf("200:\n%q\nwant\n%q", ok, want)
	}

	// The dialog goes on with its Routes in one line, folded, under any name.
	routes := "ROUTE\t:\r\n " + header(inv, "Record-Route")[0] + "\r\n  , <sip:far.example.com;lr>\r\n"
	w.known["far.example.com"] = []resolve.Target{target("10.0.0.60:5060")}
	w.in(1, alice.addr, "ACK sip:bob@10.0.0.32 SIP/2.0\r\nv: SIP/2.0/UDP 10.0.0.31;branch=z9hG4bKack\r\n"+routes+
		"f: <sip:alice@example.com>;tag=alice-tag\r\nt: <sip:bob@example.com>;tag=bob-tag\r\ni: c1\r\ncseq: 1 ACK\r\n\r\n")
	ack := w.want("10.0.0.60:5060 ACK sip:bob@10.0.0.32")[0]
	if !strings.Contains(ack, "\r\nROUTE\t:\r\n <sip:far.example.com;lr>\r\nf:") {
		t.Errorf("ACK:\n%s", ack)
	}
}

// TestLargeMessage: up to 64 KiB go through whole; what grows beyond what its flow carries is refused, for it could not even be
// cancelled (RFC 3261 §21.5.7).
func TestLargeMessage(t *testing.T) {
	for _, c := range []struct {
		proto pb.Transport
		size  int
		want  int // status; 0: it goes on
	}{
		{pb.Transport_UDP, 60_000, 0}, {pb.Transport_UDP, transport.MaxDatagram, 513}, {pb.Transport_TCP, 65_000, 0}, {pb.Transport_TCP, wire.MaxMessage, 513},
	} {
		for _, method := range []string{"INVITE", "MESSAGE"} {
			w := newWorld(t, newCluster(t))
			w.cl.registerOver(c.proto, bob)
			head := strings.TrimSuffix(alice.request(method, "sip:bob@example.com", "c", 1, "b", ""), "Content-Length: 0\r\n\r\n")
			head += "Content-Length: 00000\r\n\r\n"
			body := strings.Repeat("0123456789", 6554)[:c.size-len(head)]
			head = strings.Replace(head, "00000", fmt.Sprintf("%05d", len(body)), 1)
			w.receiveFrom(transport.Flow{Group: 1, Proto: c.proto, Port: 5060, Remote: netip.MustParseAddrPort(alice.addr), Conn: 3}, head+body)
			w.commit()
			out := w.take()
			if len(out) == 0 {
				t.Errorf("%s of %d: nothing is sent", method, c.size)
				continue
			}
			last := out[len(out)-1]
			switch {
			case c.want == 0 && (last.to.Remote.String() != bob.addr || !strings.HasSuffix(last.data, "\r\n\r\n"+body)):
				t.Errorf("%s of %d: sent %.60q to %v", method, c.size, last.data, last.to.Remote)
			case c.want != 0 && !strings.HasPrefix(last.data, fmt.Sprintf("SIP/2.0 %d ", c.want)):
				t.Errorf("%s of %d: sent %.60q to %v", method, c.size, last.data, last.to.Remote)
			}
		}
	}
}

// registerOver binds p's contact over a transport, on connection 9 if it is a stream.
func (c *cluster) registerOver(proto pb.Transport, p phone) {
	c.t.Helper()
	f := transport.Flow{Group: 1, Proto: proto, Port: 5060, Remote: netip.MustParseAddrPort(p.addr)}
	if proto != pb.Transport_UDP {
		f.Conn = 9
	}
	r := c.apply(&pb.Command{Op: &pb.Command_Register{Register: &pb.Register{
		Aor: p.name + "@example.com", CallId: "r", Cseq: 1, Txn: []byte("r"), Group: 1,
		Changes: []*pb.BindingChange{{ExpiresS: 3600, Binding: &pb.Binding{Contact: "sip:" + p.name + "@" + p.addr, Q: 1000, Flow: f.PB()}}},
	}}})
	if r.Code != pb.Code_OK {
		c.t.Fatal(r)
	}
}

// TestMissingLength: a datagram may leave out Content-Length, a stream may not: the proxy adds it (RFC 3261 §16.6 step 9, §18.3).
func TestMissingLength(t *testing.T) {
	cut := func(s string) string { return strings.Replace(s, "Content-Length: 0\r\n\r\n", "\r\nhello", 1) }
	w := newWorld(t, newCluster(t))
	w.cl.registerOver(pb.Transport_TCP, bob)
	w.in(1, alice.addr, cut(alice.request("INVITE", "sip:bob@example.com", "c1", 1, "b1", "")))
	inv := w.take()[1].data
	if l := header(inv, "Content-Length"); len(l) != 1 || l[0] != "5" || !strings.HasSuffix(inv, "\r\n\r\nhello") {
		t.Errorf("over TCP:\n%s", inv)
	}
	n := w.moved() // a new owner sends it again, and the same
	n.s.Rearm(n.v, n.now, n.cl.m.Call(1), 2)
	if again := n.take()[1].data; again != inv {
		t.Errorf("after a takeover:\n%s", again)
	}

	w = newTestCall(t)
	tcp := transport.Flow{Group: 1, Proto: pb.Transport_TCP, Port: 5060, Remote: netip.MustParseAddrPort(alice.addr), Conn: 3}
	w.receiveFrom(tcp, strings.Replace(alice.request("INVITE", "sip:bob@example.com", "c2", 1, "b2", ""), "/UDP", "/TCP", 1))
	w.commit()
	inv = w.take()[1].data
	for _, status := range []int{180, 200} {
		w.in(1, bob.addr, cut(bob.answer(inv, status)))
		got := w.take()[0].data
		if l := header(got, "Content-Length"); len(l) != 1 || l[0] != "5" || !strings.HasSuffix(got, "\r\n\r\nhello") {
			t.Errorf("%d over TCP:\n%s", status, got)
		}
	}
	w.in(1, alice.addr, cut(alice.request("MESSAGE", "sip:bob@example.com", "c3", 1, "b3", "")))
	if got := w.take()[0].data; len(header(got, "Content-Length")) != 0 || !strings.HasSuffix(got, "\r\n\r\nhello") {
		t.Errorf("between datagrams nothing is added:\n%s", got)
	}
}

// TestResponseToUs: a response whose only Via is ours is for nobody else (§16.7 step 3); the callee's next, better one counts.
func TestResponseToUs(t *testing.T) {
	for _, status := range []int{180, 200, 486} {
		w := newTestCall(t)
		w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
		inv := w.take()[1].data
		full := bob.answer(inv, status)
		w.in(1, bob.addr, strings.Replace(full, "Via: "+header(full, "Via")[1]+"\r\n", "", 1))
		w.want()
		w.in(1, bob.addr, full)
		if got := w.byReceiver()[alice.addr]; starts(got) != fmt.Sprint(status) {
			t.Errorf("%d: sent %v", status, got)
		}
	}
}
