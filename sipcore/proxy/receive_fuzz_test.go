package proxy

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// FuzzReceive hands a shard whatever somebody may send who takes part in a call, and so has tokens and branches of ours: ROUTE stands for the caller's Route,
// TAG for the callee's tag and VIA for our Via. Nothing may crash it, each request that it sends can be read, none of the dialog but a BYE goes to a gateway, and in
// the end no transaction is left over.
func FuzzReceive(f *testing.F) {
	const head = "From: <sip:alice@example.com>;tag=alice-tag\r\nTo: <sip:bob@example.com>;tag=TAG\r\nCall-ID: c1\r\n"
	const via = "Via: SIP/2.0/UDP 10.0.0.31:5060;branch=z9hG4bKf;rport\r\nMax-Forwards: 70\r\n"
	for _, s := range []string{
		"INFO ROUTE SIP/2.0\r\nRoute: <sip:10.0.0.101>, <sip:bob@10.0.0.32>\r\n" + via + head + "CSeq: 2 INFO\r\n\r\n",
		"ACK ROUTE SIP/2.0\r\nRoute: <sip:10.0.0.101>, <sip:10.0.0.101>, <sip:x@10.0.0.50>\r\n" + via + head + "CSeq: 1 ACK\r\n\r\n",
		"BYE sip:bob@10.0.0.32 SIP/2.0\r\nRoute: <ROUTE>\r\n" + via + head + "CSeq: 2 BYE\r\n\r\n",
		"INVITE sip:bob@10.0.0.32 SIP/2.0\r\nRoute: <ROUTE>, <sip:strict@10.0.0.50>\r\nContact: <sip:a@10.0.0.31>\r\nSession-Expires: 90\r\n" + via + head + "CSeq: 2 INVITE\r\n\r\n",
		"UPDATE sip:bob@name.example SIP/2.0\r\nRoute: <ROUTE>\r\nProxy-Authorization: Digest realm=\"example.com\", nonce=\"ours\"\r\n" + via + head + "CSeq: 2 UPDATE\r\n\r\n",
		"INVITE sip:900@10.0.0.21:5080 SIP/2.0\r\nRoute: <ROUTE>\r\n" + via + head + "CSeq: 3 INVITE\r\n\r\n",
		"ACK sip:900@h SIP/2.0\r\nRoute: <ROUTE>, <sip:10.0.0.22;lr>\r\n" + via + head + "CSeq: 3 ACK\r\n\r\n",
		"REFER ROUTE SIP/2.0\r\nRoute: <sip:900@[::ffff:10.0.0.22]>\r\n" + via + head + "CSeq: 4 REFER\r\n\r\n",
		"MESSAGE sip:bob@example.com SIP/2.0\r\nRoute: <sip:example.com;lr>\r\nMax-Breadth: 1\r\n" + via + "From: <sip:alice@example.com>;tag=m\r\nTo: <sip:bob@example.com>\r\nCall-ID: m\r\nCSeq: 1 MESSAGE\r\n\r\n",
		"INVITE sip:0123%40x%0d%0a@example.com SIP/2.0\r\nContact: <sip:a@h;ob>\r\n" + via + "From: <sip:anonymous@anonymous.invalid>;tag=n\r\nTo: <sip:0123@example.com>\r\nCall-ID: n\r\nCSeq: 1 INVITE\r\n\r\n",
		"CANCEL sip:bob@example.com SIP/2.0\r\nReason: Q.850;cause=16\r\n" + via + head + "CSeq: 1 CANCEL\r\n\r\n",
		"SIP/2.0 603 No\r\nVia: VIA\r\nVia: SIP/2.0/UDP 10.0.0.31:5060;branch=z9hG4bKc1;rport=5060;received=10.0.0.31\r\n" + head + "CSeq: 1 INVITE\r\n\r\n",
		"SIP/2.0 200 OK\r\nVia: VIA\r\nVia: SIP/2.0/UDP 10.0.0.31:5060;branch=z9hG4bKc1;rport=5060;received=10.0.0.31\r\nRecord-Route: <ROUTE>\r\nContact: <sip:b@h>\r\n" + head + "CSeq: 1 INVITE\r\n\r\n",
	} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, text string, ringing bool) {
		w := newTestCall(t)
		w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
		invite := w.take()[1].data
		if !ringing {
			w.in(1, bob.addr, bob.answer(invite, 200))
		}
		text = strings.NewReplacer("ROUTE", strings.Trim(header(invite, "Record-Route")[0], "<>"), "TAG", "bob-tag", "VIA", header(invite, "Via")[0]).Replace(text)
		var m wire.Msg
		if m.Scan([]byte(text)) != nil {
			return
		}
		in := Inbound{Msg: &m, Flow: transport.Flow{Group: 1, Port: 5060, Remote: netip.MustParseAddrPort(alice.addr)}}
		if !w.v.Classify(&in) {
			return
		}
		in.Epoch = w.epochs[in.Home]
		dialog := m.Request && in.HasToken && w.s.inDialog(&in) && m.Method != wire.Bye
		check := func(s sent) {
			if dialog && !strings.HasPrefix(s.data, "SIP/2.0 ") && w.v.Config.MemberAt(s.to.Remote.Addr()) {
				t.Fatalf("to a gateway:\n%s", s.data)
			}
		}
		w.s.Receive(w.v, w.now, &in)
		w.commit()
		for _, s := range w.take() {
			check(s)
			// Of a response the Vias below the second one are not looked at: with ours gone another becomes the second.
			if !strings.HasPrefix(s.data, "SIP/2.0 ") && m.Scan([]byte(s.data)) != nil {
				t.Fatalf("we sent a request that nobody can read:\n%s", s.data)
			}
		}
		for len(w.lookups) > 0 {
			w.resolved(target("10.0.0.77:5070"), target("10.0.0.21:5080"))
			w.lookups = w.lookups[:len(w.lookups)-1]
		}
		for range 600 { // Timer C, and what follows it
			w.now += int64(time.Second)
			w.s.Advance(w.v, w.now)
			w.commit()
		}
		for _, s := range w.take() {
			check(s)
		}
		if n := w.s.Len(); n != 0 {
			t.Fatalf("%d transactions left over", n)
		}
	})
}
