package wire

import "strings"

// crlf turns the line ends of a readable literal into those of the wire.
func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

const sampleSDP = `v=0
o=alice 2890844526 2890844526 IN IP4 192.0.2.101
s=-
c=IN IP4 192.0.2.101
t=0 0
m=audio 49172 RTP/AVP 0 8 101
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=sendrecv
`

// sampleInvite is an INVITE as a desk phone sends it through one proxy.
func sampleInvite() []byte {
	sdp := string(crlf(sampleSDP))
	return append(crlf(`INVITE sip:bob@biloxi.example.com;user=phone SIP/2.0
Via: SIP/2.0/UDP 10.77.0.101:5060;branch=z9hG4bK1a2b3c4d5e6f708192a3b4c5;rport
Via: SIP/2.0/UDP 192.0.2.101:5062;branch=z9hG4bKnashds8c1d2;rport=5062;received=192.0.2.101
Record-Route: <sip:10.77.0.101;lr;t=0123456789abcdef>
Route: <sip:edge.example.com;lr>, <sip:core.example.com;lr>
Max-Forwards: 69
From: "Alice, the \"caller\"" <sip:alice@atlanta.example.com>;tag=9fxced76sl
To: Bob <sip:bob@biloxi.example.com>
Call-ID: 3848276298220188511@atlanta.example.com
CSeq: 314159 INVITE
Contact: <sip:alice@192.0.2.101:5062;transport=udp>;+sip.instance="<urn:uuid:0c67446e-f1a1-11d9-94d3-000a95a0e128>"
Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO, UPDATE, PRACK
Supported: replaces, timer, 100rel
Session-Expires: 1800;refresher=uac
User-Agent: Example Phone 8.1.2.3
P-Asserted-Identity: <sip:alice@atlanta.example.com>
Content-Type: application/sdp
Content-Length: `+itoa(len(sdp))+`

`), sdp...)
}

func itoa(n int) string {
	var b [12]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}

func sampleOK() []byte {
	sdp := string(crlf(sampleSDP))
	return append(crlf(`SIP/2.0 200 OK
Via: SIP/2.0/UDP 10.77.0.101:5060;branch=z9hG4bK1a2b3c4d5e6f708192a3b4c5;rport=5060
Via: SIP/2.0/UDP 192.0.2.101:5062;branch=z9hG4bKnashds8c1d2;rport=5062;received=192.0.2.101
Record-Route: <sip:10.77.0.101;lr;t=0123456789abcdef>
From: "Alice" <sip:alice@atlanta.example.com>;tag=9fxced76sl
To: Bob <sip:bob@biloxi.example.com>;tag=8321234356
Call-ID: 3848276298220188511@atlanta.example.com
CSeq: 314159 INVITE
Contact: <sip:bob@192.0.2.201:5060>
Content-Type: application/sdp
Content-Length: `+itoa(len(sdp))+`

`), sdp...)
}

func sampleRegister() []byte {
	return crlf(`REGISTER sip:example.com SIP/2.0
Via: SIP/2.0/UDP 192.0.2.101:5062;branch=z9hG4bKnashds7;rport
Max-Forwards: 70
From: <sip:alice@example.com>;tag=456248
To: <sip:alice@example.com>
Call-ID: 843817637684230@998sdasdh09
CSeq: 1826 REGISTER
Contact: <sip:alice@192.0.2.101:5062>;expires=3600
Authorization: Digest username="alice", realm="example.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="sip:example.com", response="6629fae49393a05397450978507c4ef1", algorithm=MD5, qop=auth, nc=00000001, cnonce="0a4f113b"
Content-Length: 0

`)
}
