package torture

import "strings"

// meaning are the messages of RFC 4475 §3.2 to §3.4: what they say makes a difference, not how they are written.
var meaning = []message{
	{"badbranch", "3.2.1", "OPTIONS sip:user@example.com SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK\n" + tail + "Call-ID: badbranch\nCSeq: 8 OPTIONS\n" + empty},
	{"insuf", "3.3.1", "INVITE sip:user@example.com SIP/2.0\nCSeq: 193942 INVITE\nVia: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKkdj.insuf\nContent-Type: application/sdp\nContent-Length: CL\n\n" + sdp},
	{"unkscm", "3.3.2", "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0\n" + via + tail + "Call-ID: unkscm\nCSeq: 3 OPTIONS\n" + empty},
	{"novelsc", "3.3.3", "OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0\n" + via + tail + "Call-ID: novelsc\nCSeq: 3 OPTIONS\n" + empty},
	{"unksm2", "3.3.4", "REGISTER sip:example.com SIP/2.0\n" + via + "To: isbn:2983792873\nFrom: <http://www.example.com>;tag=3234233\nMax-Forwards: 70\nCall-ID: unksm2\nCSeq: 234902 REGISTER\nContact: <name:John_Smith>\n" + empty},
	{"bext01", "3.3.5", "OPTIONS sip:user@example.com SIP/2.0\n" + via + tail + "Call-ID: bext01\nCSeq: 8 OPTIONS\nRequire: nothingSupportsThis, nothingSupportsThisEither\n" +
		"Proxy-Require: noProxiesSupportThis, norDoAnyProxiesSupportThis\n" + empty},
	{"invut", "3.3.6", "INVITE sip:user@example.com SIP/2.0\n" + via + tail + "Call-ID: invut\nCSeq: 235448 INVITE\nContact: <sip:caller@host5.example.net>\nContent-Type: application/unknownformat\nContent-Length: CL\n\n<audio>\n <pcmu port=\"443\"/>\n</audio>\n"},
	{"regaut01", "3.3.7", "REGISTER sip:example.com SIP/2.0\n" + via + "To: sip:j.user@example.com\nFrom: sip:j.user@example.com;tag=87321hj23128\nMax-Forwards: 8\nCall-ID: regaut01\nCSeq: 9338 REGISTER\n" +
		"Contact: <sip:j.user@host.example.com>\nAuthorization: NoOneKnowsThisScheme opaque-data=here\n" + empty},
	{"multi01", "3.3.8", "INVITE sip:user@company.com SIP/2.0\nContact: <sip:caller@host25.example.net>\nVia: SIP/2.0/UDP 192.0.2.25;branch=z9hG4bKkdjuw\nMax-Forwards: 70\nMax-Forwards: 5\nMax-Forwards: 10\nCSeq: 5 INVITE\nCSeq: 59 INVITE\n" +
		"From: <sip:a@example.net>;tag=3413415\nFrom: <sip:a@example.net>;tag=2923420123\nTo: <sip:user@example.com>\nTo: <sip:other@example.net>\nCall-ID: multi01.1\nCall-ID: multi01.2\n" +
		"Content-Type: application/sdp\nContent-Length: CL\n\n" + sdp},
	{"mcl01", "3.3.9", "OPTIONS sip:user@example.com SIP/2.0\n" + via + tail + "Call-ID: mcl01\nCSeq: 3 OPTIONS\nContent-Length: 13\nContent-Length: 5\n\nThere's no way to know how many octets are supposed to be here.\n"},
	{"bcast", "3.3.10", "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\nVia: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23\n" + toFor + "Call-ID: bcast\nCSeq: 35 INVITE\nContact: <sip:user@host28.example.com>\n" + empty},
	{"zeromf", "3.3.11", "OPTIONS sip:user@example.com SIP/2.0\n" + via + strings.Replace(tail, "70", "0", 1) + "Call-ID: zeromf\nCSeq: 39234321 OPTIONS\n" + empty},
	{"cparam01", "3.3.12", "REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/UDP saturn.example.com:5060;branch=z9hG4bKkdjuw\nMax-Forwards: 70\nFrom: sip:watson@example.com;tag=DkfVgjkrtMwaerKKpe\n" +
		"To: sip:watson@example.com\nCall-ID: cparam01\nCSeq: 2 REGISTER\nContact: sip:+19725552222@gw1.example.net;unknownparam\n" + empty},
	{"cparam02", "3.3.13", "REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/UDP saturn.example.com:5060;branch=z9hG4bKkdjuw\nMax-Forwards: 70\nFrom: sip:watson@example.com;tag=838293\n" +
		"To: sip:watson@example.com\nCall-ID: cparam02\nCSeq: 3 REGISTER\nContact: <sip:+19725552222@gw1.example.net;unknownparam>\n" + empty},
	{"regescrt", "3.3.14", "REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/UDP saturn.example.com:5060;branch=z9hG4bKkdjuw\nMax-Forwards: 70\nFrom: sip:user@example.com;tag=8\n" +
		"To: sip:user@example.com\nCall-ID: regescrt\nCSeq: 14398234 REGISTER\nContact: <sip:user@host5.example.net?Route=%3Csip:sip.example.com%3E>\n" + empty},
	{"sdp01", "3.3.15", "INVITE sip:user@example.com SIP/2.0\n" + via + tail + "Call-ID: sdp01\nCSeq: 92 INVITE\nAccept: text/nobodyKnowsThis\n" + offer},
	{"inv2543", "3.4.1", "INVITE sip:UserB@example.com SIP/2.0\nVia: SIP/2.0/UDP iftgw.example.com\nFrom: <sip:+13035551111@ift.client.example.net;user=phone>\nRecord-Route: <sip:UserB@example.com;maddr=ss1.example.com>\n" +
		"To: sip:+16505552222@ss1.example.net;user=phone\nCall-ID: inv2543.1717@ift.client.example.com\nCSeq: 56 INVITE\nContent-Type: application/sdp\n\n" + sdp},
}
