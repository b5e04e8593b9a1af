package torture

// six are the messages of RFC 5118 §4, with IPv6 addresses.
var six = []message{
	{"ipv6-good", "4.1", register6("sip:[2001:db8::10]")},
	{"ipv6-bad", "4.2", register6("sip:2001:db8::10")},
	{"port-ambiguous", "4.3", register6("sip:[2001:db8::10:5070]")},
	{"port-unambiguous", "4.4", register6("sip:[2001:db8::10]:5070")},
	{"via-received-param-with-delim", "4.5", "BYE sip:[2001:db8::10] SIP/2.0\nTo: sip:user@example.com;tag=bd76ya\nFrom: sip:user@example.com;tag=81x2\n" +
		"Via: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111\nCall-ID: received-1\nMax-Forwards: 70\nCSeq: 321 BYE\n" + empty},
	{"via-received-param-no-delim", "4.5", "OPTIONS sip:[2001:db8::10] SIP/2.0\nTo: sip:user@example.com\nFrom: sip:user@example.com;tag=81x2\n" +
		"Via: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3\nCall-ID: received-2\nMax-Forwards: 70\nContact: \"Caller\" <sip:caller@[2001:db8::9:1]>\nCSeq: 921 OPTIONS\n" + empty},
	{"ipv6-in-sdp", "4.6", invite6("2001:db8::20", "o=assistant 971731711378798081 0 IN IP6 2001:db8::20\ns=Live video feed\nc=IN IP6 2001:db8::20\nt=3338481189 3370017201\n"+
		"m=audio 6000 RTP/AVP 2\na=rtpmap:2 G726-32/8000\nm=video 6024 RTP/AVP 107\na=rtpmap:107 H263-1998/90000\n")},
	{"mult-ip-in-header", "4.7", "BYE sip:user@host.example.net SIP/2.0\nVia: SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144\n" +
		"Via: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200\nCall-ID: addresses\nMax-Forwards: 70\nCSeq: 89187 BYE\nTo: sip:user@example.net;tag=9817--94\nFrom: sip:user@example.com;tag=81x2\n" + empty},
	{"mult-ip-in-sdp", "4.8", invite6("2001:db8::9:1", "o=bob 280744730 28977631 IN IP4 host.example.com\ns=\nt=0 0\nm=audio 22334 RTP/AVP 0\nc=IN IP4 192.0.2.1\n"+
		"m=video 6024 RTP/AVP 107\nc=IN IP6 2001:db8::1\na=rtpmap:107 H263-1998/90000\n")},
	{"ipv4-mapped-ipv6", "4.9", "INVITE sip:user@example.com SIP/2.0\nTo: sip:user@example.com\nFrom: sip:user@east.example.com;tag=81x2\nVia: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19\n" +
		"Via: SIP/2.0/UDP [::ffff:192.0.2.2];branch=z9hG4bKas3-111\nCall-ID: mapped\nContact: \"T. desk phone\" <sip:ted@[::ffff:192.0.2.2]>\nCSeq: 612 INVITE\nMax-Forwards: 70\n" +
		"Content-Type: application/sdp\nContent-Length: CL\n\nv=0\no=assistant 971731711378798081 0 IN IP6 ::ffff:192.0.2.2\ns=Call me soon, please!\nc=IN IP6 ::ffff:192.0.2.2\nt=3338481189 3370017201\nm=audio 6000 RTP/AVP 2\n"},
	{"ipv6-bug-abnf-3-colons", "4.10", options6("[2001:db8:::192.0.2.1]")},
	{"ipv6-correct-abnf-2-colons", "4.10", options6("[2001:db8::192.0.2.1]")},
}

func register6(uri string) string {
	return "REGISTER " + uri + " SIP/2.0\nTo: sip:user@example.com\nFrom: sip:user@example.com;tag=81x2\nVia: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111\n" +
		"Call-ID: register-6\nMax-Forwards: 70\nContact: \"Caller\" <sip:caller@[2001:db8::1]>\nCSeq: 98176 REGISTER\n" + empty
}

func invite6(from, sdp string) string {
	return "INVITE sip:user@[2001:db8::10] SIP/2.0\nTo: sip:user@[2001:db8::10]\nFrom: sip:user@example.com;tag=81x2\nVia: SIP/2.0/UDP [" + from + "];branch=z9hG4bKas3-111\n" +
		"Call-ID: invite-6\nContact: \"Caller\" <sip:caller@[" + from + "]>\nCSeq: 8612 INVITE\nMax-Forwards: 70\nContent-Type: application/sdp\nContent-Length: CL\n\nv=0\n" + sdp
}

func options6(host string) string {
	return "OPTIONS sip:user@" + host + " SIP/2.0\nTo: sip:user@" + host + "\nFrom: sip:user@example.com;tag=810x2\nVia: SIP/2.0/UDP lab1.east.example.com;branch=z9hG4bKas3-111\n" +
		"Call-ID: options-6\nCSeq: 689 OPTIONS\nMax-Forwards: 70\n" + empty
}
