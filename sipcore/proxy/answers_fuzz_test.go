package proxy

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// FuzzAnswers has a phone, or a gateway at which we have an account, answer its INVITE with whatever it may say: VIA stands for our Via, BELOW for the rest of what it must repeat.
// What that makes the cluster send to itself comes back to it. Nothing may crash it, each request that it sends can be read, nobody makes it send without end, and in the end no
// transaction is left over.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{
		"SIP/2.0 302 Moved\r\nVIA\r\nBELOW\r\nContact: <sip:carol@example.com>\r\n\r\n",
		"SIP/2.0 302 Moved\r\nVIA\r\nBELOW\r\nContact: <sip:0123@example.com;user=phone>;q=0.1, \"x\" <sip:alice@10.0.0.101?Subject=x>\r\nDiversion: <sip:b@c>;reason=away\r\n\r\n",
		"SIP/2.0 300 Many\r\nVIA\r\nBELOW\r\nContact: sip:bob@example.com;q=1, <tel:+0123;npdi>\r\nm: *\r\n\r\n",
		"SIP/2.0 301 Moved\r\nVIA\r\nBELOW\r\nContact: <sip:0123%0d%0a@example.com>\r\n\r\n",
		"SIP/2.0 401 No\r\nVIA\r\nBELOW\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\", opaque=\"o\"\r\n\r\n",
		"SIP/2.0 407 No\r\nVIA\r\nBELOW\r\nProxy-Authenticate: Digest realm=\"r\\\"\", nonce=\"n\", stale=true, algorithm=SHA-256, userhash=true\r\nProxy-Authenticate: Basic\r\n\r\n",
		"SIP/2.0 183 Ringing\r\nVIA\r\nBELOW\r\nRequire: 100rel\r\nRSeq: 1\r\n\r\n",
		"SIP/2.0 200 OK\r\nVIA\r\nBELOW\r\nContact: <sip:b@h>\r\nSession-Expires: 90;refresher=uas\r\n\r\n",
	} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, text string, gateway bool) {
		cl := newCluster(t)
		cl.register("bob@example.com", "sip:bob@"+bob.addr, bob.addr, 1, 1000)
		cl.register("carol@example.com", "sip:carol@"+carol.addr, carol.addr, 1, 1000)
		w := withAccount(t, cl, "gw1", "gw2")
		callee, uri := bob, "sip:bob@example.com"
		if gateway {
			callee, uri = gw1, "sip:0123@example.com"
		}
		w.in(1, alice.addr, alice.request("INVITE", uri, "c1", 1, "c1", ""))
		invite := w.want(alice.addr+" 100 Trying", callee.addr+" INVITE "+invitee(gateway))[1]
		sends := 0
		deliver := func(to phone, text string) {
			var m wire.Msg
			if m.Scan([]byte(text)) != nil {
				return
			}
			in := Inbound{Msg: &m, Flow: transport.Flow{Group: 1, Port: 5060, Remote: netip.MustParseAddrPort(to.addr)}}
			if !w.v.Classify(&in) {
				return
			}
			in.Epoch = w.epochs[in.Home]
			w.s.Receive(w.v, w.now, &in)
			w.commit()
		}
		// settle hands the cluster what it has sent to itself, and has whoever else gets an INVITE answer as the callee did.
		settle := func() {
			for len(w.sent) > 0 {
				s := w.sent[0]
				w.sent = w.sent[1:]
				if sends++; sends > 2000 {
					t.Fatalf("it sends without end:\n%s", s.data)
				}
				if strings.HasPrefix(s.data, "SIP/2.0 ") {
					if s.to.Remote.String() == ourVIP {
						deliver(phone{"us", ourVIP}, s.data)
					}
					continue
				}
				var m wire.Msg
				if m.Scan([]byte(s.data)) != nil {
					t.Fatalf("we sent a request that nobody can read:\n%s", s.data)
				}
				switch at := s.to.Remote.String(); {
				case at == ourVIP:
					deliver(phone{"us", ourVIP}, s.data)
				case m.Method == wire.Invite:
					deliver(phone{"x", at}, answerAs(text, s.data))
				}
			}
		}
		deliver(callee, answerAs(text, invite))
		settle()
		for range 600 { // Timer C, and what follows it
			w.now += int64(time.Second)
			w.s.Advance(w.v, w.now)
			w.commit()
			settle()
		}
		if n := w.s.Len(); n != 0 {
			t.Fatalf("%d transactions left over", n)
		}
	})
}

// invitee is the Request-URI that the callee of FuzzAnswers gets.
func invitee(gateway bool) string {
	if gateway {
		return "sip:123@" + gw1.addr
	}
	return "sip:bob@" + bob.addr
}

// answerAs fills in what a response repeats of its request.
func answerAs(text, req string) string {
	var via, below []string
	for _, line := range strings.Split(req, "\r\n") {
		switch name, _, _ := strings.Cut(line, ":"); name {
		case "Via":
			via = append(via, line)
		case "From", "Call-ID", "CSeq", "Record-Route":
			below = append(below, line)
		case "To":
			below = append(below, line+";tag=x")
		}
	}
	return strings.NewReplacer("VIA", strings.Join(via, "\r\n"), "BELOW", strings.Join(below, "\r\n")).Replace(text)
}
