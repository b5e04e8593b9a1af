package torture

import "strings"

// invalid are the malformed messages of RFC 4475 §3.1.2.
var invalid = []message{
	{"badinv01", "3.1.2.1", "INVITE sip:user@example.com SIP/2.0\n" + tail + "Call-ID: badinv01\nCSeq: 8 INVITE\nVia: SIP/2.0/UDP 192.0.2.15;;,;,,\nContact: \"Joe\" <sip:joe@example.org>;;;;\nContent-Length: CL\nContent-Type: application/sdp\n\n" + sdp},
	{"clerr", "3.1.2.2", "INVITE sip:user@example.com SIP/2.0\n" + via + tail + "Call-ID: clerr\nCSeq: 8 INVITE\nContact: <sip:caller@host5.example.net>\nContent-Type: application/sdp\nContent-Length: 9999\n\n" + sdp},
	{"ncl", "3.1.2.3", "INVITE sip:user@example.com SIP/2.0\n" + via + tail + "Call-ID: ncl\nCSeq: 8 INVITE\nContact: <sip:caller@host5.example.net>\nContent-Type: application/sdp\nContent-Length: -999\n\n" + sdp},
	{"scalar02", "3.1.2.4", "REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/TCP host129.example.com;branch=z9hG4bK342sdfoi3\nTo: <sip:user@example.com>\nFrom: <sip:user@example.com>;tag=239232jh3\n" +
		"Max-Forwards: 300\nCall-ID: scalar02\nCSeq: 36893488147419103232 REGISTER\nExpires: 10000000000\nContact: <sip:user@host129.example.com>;expires=280297596632815\n" + empty},
	{"scalarlg", "3.1.2.5", "SIP/2.0 503 Service Unavailable\n" + via + toFor + "Call-ID: scalarlg\nCSeq: 9292394834772304023312 OPTIONS\nRetry-After: 949302838503028349304023988\nWarning: 1812 overture \"In Progress\"\n" + empty},
	{"quotbal", "3.1.2.6", "INVITE sip:user@example.com SIP/2.0\n" + via + "To: \"Mr. J. User <sip:j.user@example.com>\nFrom: sip:caller@example.net;tag=93334\nMax-Forwards: 10\nCall-ID: quotbal\nCSeq: 8 INVITE\n" + offer},
	{"ltgtruri", "3.1.2.7", "INVITE <sip:user@example.com> SIP/2.0\n" + via + tail + "Call-ID: ltgtruri\nCSeq: 1 INVITE\n" + offer},
	{"lwsruri", "3.1.2.8", "INVITE sip:user@example.com; lr SIP/2.0\n" + via + tail + "Call-ID: lwsruri\nCSeq: 1 INVITE\n" + offer},
	{"lwsstart", "3.1.2.9", "INVITE  sip:user@example.com  SIP/2.0\n" + via + tail + "Call-ID: lwsstart\nCSeq: 1 INVITE\n" + offer},
	{"trws", "3.1.2.10", "OPTIONS sip:remote-target@example.com SIP/2.0  \n" + via + tail + "Call-ID: trws\nCSeq: 8 OPTIONS\n" + empty},
	{"escruri", "3.1.2.11", "INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0\n" + via + tail + "Call-ID: escruri\nCSeq: 8 INVITE\n" + offer},
	{"baddate", "3.1.2.12", "INVITE sip:user@example.com SIP/2.0\n" + via + tail + "Call-ID: baddate\nCSeq: 8 INVITE\nDate: Fri, 01 Jan 2010 16:00:00 EST\n" + offer},
	{"regbadct", "3.1.2.13", "REGISTER sip:example.com SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKkdjuw\nTo: sip:user@example.com\nFrom: sip:user@example.com;tag=998332\n" +
		"Max-Forwards: 70\nCall-ID: regbadct\nCSeq: 1 REGISTER\nContact: sip:user@host5.example.net?Route=%3Csip:sip.example.com%3E\nl: 0\n\n"},
	{"badaspec", "3.1.2.14", "OPTIONS sip:user@example.org SIP/2.0\n" + via + "Max-Forwards: 70\nFrom: \"Bell, Alexander\" <sip:a.g.bell@example.net>;tag=433423\nTo: \"Watson, Thomas\" < sip:t.watson@example.org >\nCall-ID: badaspec\nCSeq: 1 OPTIONS\n" + empty},
	{"baddn", "3.1.2.15", "OPTIONS sip:t.watson@example.org SIP/2.0\n" + via + "Max-Forwards: 70\nFrom: Bell, Alexander <sip:a.g.bell@example.net>;tag=43\nTo: Watson, Thomas <sip:t.watson@example.org>\nCall-ID: baddn\nCSeq: 3 OPTIONS\n" + empty},
	{"badvers", "3.1.2.16", "OPTIONS sip:t.watson@example.org SIP/7.0\nVia: SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw\n" + tail + "Call-ID: badvers\nCSeq: 1 OPTIONS\n" + empty},
	{"mismatch01", "3.1.2.17", "OPTIONS sip:user@example.com SIP/2.0\n" + via + tail + "Call-ID: mismatch01\nCSeq: 8 INVITE\n" + empty},
	{"mismatch02", "3.1.2.18", "NEWMETHOD sip:user@example.com SIP/2.0\n" + via + tail + "Call-ID: mismatch02\nCSeq: 8 INVITE\n" + strings.Replace(offer, sdp, "<empty/>\n", 1)},
	{"bigcode", "3.1.2.19", "SIP/2.0 4294967301 better not break the receiver\n" + via + toFor + "Call-ID: bigcode\nCSeq: 353494 INVITE\nContact: <sip:user@host105.example.com>\n" + empty},
}
