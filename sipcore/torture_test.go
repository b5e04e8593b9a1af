package sipcore

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdline/sipcore/internal/torture"
)

// outcome checks what comes of a message that the sender has sent.
type outcome func(s *stage, msg []byte)

// tortureRow says what is to come of a message, by the RFC that has it. What an RFC leaves open, why says which way we go.
type tortureRow struct {
	name   string
	as     string   // how the message is changed for this row; "": not at all
	change []string // old and new by turns
	why    string
	want   outcome
	stream outcome       // over TCP, where that makes a difference
	first  time.Duration // a stream's first message must have come by then; 0: the default
}

var tortureRows = []tortureRow{
	// RFC 4475 §3.1.1: valid.
	{
		name: "wsinv", why: "valid, and so answered for what it says: To has a tag, and of that dialog we are not", want: answered(481, ""),
	},
	{
		name: "wsinv", as: "without a tag in To", change: []string{" ;   tag    = 1918181833n", ""},
		why: "valid, however it is folded and spaced; what nobody knows goes on as it is; the Route names us and goes (RFC 3261 §16.4)",
		want: relayed("vivekg", "branch=390skdjuw", "branch=390skdjuw;received="+senderAddr,
			"\r\nRoute:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>", ""),
	},
	{name: "intmeth", why: "valid: all characters that a token, a user, a quoted string may have; a method that nobody knows is relayed (RFC 3261 §16.6)", want: relayed("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*")},
	{name: "esc01", why: "valid: an escaped @ is none, and the user goes on with its escapes", want: relayed("sips%3Auser%40example.com")},
	{name: "escnull", why: "valid, and a name does not end at its NUL: it is nobody's here (RFC 3261 §10.3 step 5)", want: answered(404, "Nobody")},
	{
		name: "escnull", as: "of a user who is there", change: []string{"null-%00-null", "nul", "null-%00-null", "nul"}, why: "two contacts: neither is cut off at its NUL",
		want: registers("nul", "<sip:%00@host5.example.com>;expires=3600", "<sip:%00%00@host5.example.com>;expires=3600"),
	},
	{name: "esc02", why: "no escapes where the grammar has none: the method is not REGISTER, C%6Fntact is no Contact", want: relayed("")},
	{name: "lwsdisp", why: "valid: no space is needed before <", want: relayed("user")},
	{name: "longreq", why: "valid: long names and values", want: relayed("user")},
	{
		name: "dblreq", why: "over UDP what follows the body is noise: the REGISTER is carried out, the INVITE is not seen (RFC 3261 §18.3)",
		want: registers("j.user", "<sip:j.user@host.example.com>;expires=3600"), stream: bothAnswered,
	},
	{name: "semiuri", why: "valid: the user part has a semicolon, nothing of it is a parameter", want: relayed("user;par=u%40example.net")},
	{name: "transports", why: "valid: transports that nobody knows below the top Via are the others' affair", want: relayed("user")},
	{name: "mpart01", why: "valid: a body of any bytes goes on as it is", want: relayed("kumiko")},
	{name: "unreason", why: "a response to nothing that we have sent (RFC 3261 §18.1.2)", want: dropped("stray_responses")},
	{name: "unreason", as: "to an INVITE", why: "valid: the reason phrase goes on as it is", want: answersCall(true)},
	{name: "noreason", why: "a response to nothing that we have sent (RFC 3261 §18.1.2)", want: dropped("stray_responses")},
	{name: "noreason", as: "to an INVITE", change: []string{" 100 ", " 183 "}, why: "valid: the phrase may be empty, and stays so (a 100 goes one hop only: 183)", want: answersCall(true)},

	// RFC 4475 §3.1.2: not valid.
	{name: "badinv01", why: "commas and semicolons with nothing between: 400", want: answered(400, "Via")},
	{name: "badinv01", as: "as an ACK", change: []string{"INVITE sip", "ACK sip", "8 INVITE", "8 ACK"}, why: "an ACK is not answered (RFC 3261 §17)", want: dropped("unreadable")},
	{name: "clerr", why: "over UDP: 400; on a stream the rest is waited for, and the connection closed", want: answered(400, "Content-Length"), stream: hungUp(0, ""), first: 500 * time.Millisecond},
	{name: "ncl", why: "an error; on a stream nobody knows where the message ends, so the connection is closed", want: answered(400, "Content-Length"), stream: hungUp(400, "Content-Length")},
	{
		name: "ncl", as: "and no number", change: []string{"-999", "five"}, why: "the same", want: answered(400, "Content-Length"), stream: hungUp(400, "Content-Length"),
	},
	{name: "scalar02", why: "400: CSeq is beyond 2^32", want: answered(400, "")},
	{name: "scalar02", as: "with Max-Forwards that fits", change: []string{"300", "70"}, why: "400: CSeq is beyond 2^32", want: answered(400, "CSeq")},
	{name: "scalar02", as: "with CSeq that fits", change: []string{"36893488147419103232", "2"}, why: "Max-Forwards alone: may be taken for absent; we answer 400, who sends it is to hear of it", want: answered(400, "Max-Forwards")},
	{
		name: "scalar02", as: "with both", change: []string{"36893488147419103232", "2", "300", "70"}, why: "expiry alone: may count as the default, 3600, and does",
		want: registers("user", "<sip:user@host129.example.com>;expires=3600"),
	},
	{name: "scalarlg", why: "discarded", want: dropped("unreadable")},
	{name: "scalarlg", as: "to an INVITE", why: "discarded", want: answersCall(false, "CSeq")},
	{name: "quotbal", why: "400 (a quote may be inferred: where it would be is a guess)", want: answered(400, "To")},
	{name: "ltgtruri", why: "400 is reasonable (the brackets may be ignored; none are)", want: answered(400, "Request-URI")},
	{name: "lwsruri", why: "400 is reasonable (the space may be ignored; it is not)", want: answered(400, "Request-URI")},
	{name: "lwsstart", why: "may be refused, or the spaces ignored, as we do: they do not go on", want: relayed("user")},
	{name: "trws", why: "may be refused, or the spaces ignored, as we do: they do not go on", want: relayed("remote-target")},
	{name: "escruri", why: "may be refused, or the header ignored, as we do: it goes on neither in the Request-URI nor as a Route", want: relayed("user")},
	{
		name: "escruri", as: "on its way elsewhere", change: []string{"Max-Forwards", "Route: <sip:GATEWAY;lr>\r\nMax-Forwards"}, why: "so also where the Request-URI is not ours to choose",
		want: relayedAs("INVITE sip:user@example.com SIP/2.0"),
	},
	{name: "baddate", why: "may be refused, if one needs the date: a proxy does not, it goes on as it is", want: relayed("user")},
	{
		name: "regbadct", why: "400, or the brackets inferred, as we do: there is no doubt where they would be",
		want: registersAt("user", "sip:user@host5.example.net", "<sip:user@host5.example.net?Route=%3Csip:sip.example.com%3E>;expires=3600"),
	},
	{name: "badaspec", why: "400 is reasonable, or the spaces in < > ignored, as we do", want: relayed("user")},
	{
		name: "baddn", why: "400 is reasonable, or the quotes inferred, as we do: then the fault may not go on",
		want: relayed("t.watson", "From: Bell, Alexander <", `From: "Bell, Alexander" <`, "To: Watson, Thomas <", `To: "Watson, Thomas" <`),
	},
	{name: "badvers", why: "505", want: answered(505, "Version")},
	{name: "mismatch01", why: "400", want: answered(400, "CSeq")},
	{name: "mismatch02", why: "501 rather than 400: nobody knows the method", want: answered(501, "CSeq")},
	{name: "bigcode", why: "dropped", want: dropped("unreadable")},
	{name: "bigcode", as: "to an INVITE", why: "dropped", want: answersCall(false)},

	// RFC 4475 §3.2 to §3.4: what they mean.
	{name: "badbranch", why: "400, or transactions as in RFC 2543, as we do", want: relayed("user")},
	{name: "badbranch", as: "and another one", why: "which are told apart without a branch (RFC 3261 §17.2.3)", want: twoTransactions},
	{name: "insuf", why: "400, with what there is", want: answered(400, "From")},
	{name: "unkscm", why: "416, whatever To says", want: answered(416, "Scheme")},
	{name: "novelsc", why: "416: we serve no such URI", want: answered(416, "Scheme")},
	{name: "unksm2", why: "a registrar: 400, for To must be a SIP URI", want: answered(400, "To")},
	{name: "bext01", why: "420 with what Proxy-Require has: we are a proxy here", want: answered(420, "", "Unsupported: noProxiesSupportThis, norDoAnyProxiesSupportThis")},
	{
		name: "bext01", as: "to us", change: []string{"sip:user@example.com SIP", "sip:example.com SIP"}, why: "420 with what Require has, too: we are the user agent as well",
		want: answered(420, "", "Unsupported: noProxiesSupportThis, norDoAnyProxiesSupportThis", "Unsupported: nothingSupportsThis, nothingSupportsThisEither"),
	},
	{name: "invut", why: "a proxy relays a body of any type", want: relayed("user")},
	{name: "regaut01", why: "a registrar that wants credentials: 401 with a scheme that it knows", want: challenged("j.user")},
	{name: "multi01", why: "400: From, To, Call-ID, CSeq, Max-Forwards may be there once", want: answered(400, "Max-Forwards")},
	{name: "mcl01", why: "an error; on a stream nobody knows where the message ends, so the connection is closed", want: answered(400, "Content-Length"), stream: hungUp(400, "Content-Length")},
	{name: "bcast", why: "proxies should drop it: it is nothing's answer, and nothing goes to 255.255.255.255", want: dropped("stray_responses")},
	{name: "bcast", as: "to an INVITE", why: "who has put that Via in is not heeded: it goes to who has sent the INVITE (RFC 3261 §18.2.2)", want: broadcastAnswer},
	{name: "zeromf", why: "a proxy: 483", want: answered(483, "")},
	{name: "zeromf", as: "to us", change: []string{"sip:user@example.com SIP", "sip:example.com SIP"}, why: "an endpoint does not look at it", want: answered(200, "")},
	{
		name: "cparam01", why: "without brackets it is the header's parameter, not the URI's",
		want: registersAt("watson", "sip:+19725552222@gw1.example.net", "<sip:+19725552222@gw1.example.net>;unknownparam;expires=3600"),
	},
	{
		name: "cparam02", why: "within them it is the URI's: it is in the 200, and in requests for it",
		want: registersAt("watson", "sip:+19725552222@gw1.example.net;unknownparam", "<sip:+19725552222@gw1.example.net;unknownparam>;expires=3600"),
	},
	{
		name: "regescrt", why: "the header is part of the contact: it is in the 200; no Request-URI has it (RFC 3261 §16.6 step 2)",
		want: registersAt("user", "sip:user@host5.example.net", "<sip:user@host5.example.net?Route=%3Csip:sip.example.com%3E>;expires=3600"),
	},
	{name: "sdp01", why: "what the answer is to be is the callee's affair (406)", want: relayed("user")},
	{
		name: "inv2543", why: "a client of RFC 2543: no branch, no tag, no Max-Forwards, which it gets (RFC 3261 §16.6 step 3); a stream needs a Content-Length (§18.3)",
		want: relayed("UserB", ";received="+senderAddr, ";received="+senderAddr+"\r\nMax-Forwards: 70"), stream: hungUp(400, "Content-Length"),
	},

	// RFC 5118.
	{name: "ipv6-good", why: "valid", want: registers("user", "<sip:caller@[2001:db8::1]>;expires=3600")},
	{
		name: "ipv6-good", as: "written otherwise", change: []string{"[2001:db8::10]", "[2001:DB8:0:0::0010]"}, why: "references are compared as addresses (RFC 5954 §4.2)",
		want: registers("user", "<sip:caller@[2001:db8::1]>;expires=3600"),
	},
	{name: "ipv6-bad", why: "400: an IPv6 address without brackets", want: answered(400, "Request-URI")},
	{name: "port-ambiguous", why: "well-formed: an address whose last group is 5070, and no port; it is nobody's here", want: answered(404, "Domain")},
	{name: "port-unambiguous", why: "valid", want: registers("user", "<sip:caller@[2001:db8::1]>;expires=3600")},
	{name: "via-received-param-with-delim", why: "brackets that should not be there are no obstacle: the BYE is judged, and of no dialog; received is ours to write", want: answered(481, "")},
	{name: "via-received-param-no-delim", why: "valid: an OPTIONS to us; received is ours to write", want: answered(200, "")},
	{name: "ipv6-in-sdp", why: "valid: addresses in SDP have no brackets", want: relayed("user")},
	{name: "mult-ip-in-header", why: "valid: a BYE, of no dialog that we know", want: answered(481, "")},
	{
		name: "mult-ip-in-header", as: "without a dialog", change: []string{"BYE sip", "MESSAGE sip", "89187 BYE", "89187 MESSAGE"}, why: "valid: Vias of both kinds, the answer goes to the port of the first",
		want: relayed("user"),
	},
	{name: "mult-ip-in-sdp", why: "valid: each medium has its address", want: relayed("user")},
	{name: "ipv4-mapped-ipv6", why: "valid", want: relayed("user")},
	{name: "ipv6-bug-abnf-3-colons", why: "the third colon may be ignored; it is not: the host is nobody's here", want: answered(404, "Domain")},
	{name: "ipv6-correct-abnf-2-colons", why: "valid, and the same address as the domain's alias (RFC 5954 §4.2)", want: relayed("user")},
}

// TestTortureAnswers: what comes of each torture message, over UDP and TCP.
func TestTortureAnswers(t *testing.T) {
	played := map[string]bool{}
	for _, m := range torture.All() {
		for _, row := range tortureRows {
			if row.name != m.Name {
				continue
			}
			played[row.name] = played[row.name] || row.as == ""
			for _, name := range []string{"udp", "tcp"} {
				t.Run(strings.TrimSuffix(fmt.Sprintf("%s %s %s", &m, name, row.as), " "), func(t *testing.T) { row.play(t, name, bytes.Clone(m.Bytes)) })
			}
		}
		if !played[m.Name] {
			t.Errorf("nothing is said of %s", &m)
		}
	}
}

func (row *tortureRow) play(t *testing.T, name string, msg []byte) {
	s := newStage(t, name, row.first)
	text := string(msg)
	for i := 0; i < len(row.change); i += 2 {
		if !strings.Contains(text, row.change[i]) {
			t.Fatalf("%q is not in it", row.change[i])
		}
		text = strings.Replace(text, row.change[i], row.change[i+1], 1)
	}
	text = strings.Replace(text, "GATEWAY", s.gateway.udp.LocalAddr().String(), 1)
	for _, port := range []string{"6050", "19823"} {
		if strings.Contains(text, "]:"+port+";") {
			s.answersAt(port)
		}
	}
	want := row.want
	if name == "tcp" && row.stream != nil {
		want = row.stream
	}
	want(s, []byte(text))
	if t.Failed() {
		t.Logf("it should: %s", row.why)
	}
}
