package wire

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestAppendResponse(t *testing.T) {
	req := crlf(`INVITE sip:bob@example.com SIP/2.0
v: SIP/2.0/UDP 192.0.2.1:5070;rport;branch=z9hG4bK1 ,
 SIP/2.0/TCP b
X: y
Via: SIP/2.0/UDP c
f: "A
  B" <sip:a@example.com>;tag=1
t: <sip:bob@example.com>
i: abc
cSEQ: 0007   INVITE
Timestamp: 54
Record-Route: <sip:r1>, <sip:r2>
Record-Route: <sip:r3>
Content-Length: 0

`)
	const common = "From: \"A B\" <sip:a@example.com>;tag=1\nTo: <sip:bob@example.com>%TAG%\nCall-ID: abc\nCSeq: 0007   INVITE\n"
	for _, c := range []struct {
		name string
		r    Response
		want string
	}{
		{
			"100 has no tag, and the time stamp",
			Response{Status: 100, ToTag: []byte("t")},
			"SIP/2.0 100 Trying\nVia: SIP/2.0/UDP 192.0.2.1:5070;rport;branch=z9hG4bK1 , SIP/2.0/TCP b\nVia: SIP/2.0/UDP c\n" +
				strings.Replace(common, "%TAG%", "", 1) + "Timestamp: 54\nContent-Length: 0\n\n",
		},
		{
			"with source, tag, fields",
			Response{
				Status: 404, ToTag: []byte("t"), Source: netip.MustParseAddrPort("198.51.100.1:1024"),
				Fields: []Field{{ID: HdrServer, Value: []byte("Holdline")}, {Name: "X-Y", Value: nil}},
			},
			"SIP/2.0 404 Not Found\nVia: SIP/2.0/UDP 192.0.2.1:5070;rport=1024;branch=z9hG4bK1;received=198.51.100.1 , SIP/2.0/TCP b\nVia: SIP/2.0/UDP c\n" +
				strings.Replace(common, "%TAG%", ";tag=t", 1) + "Server: Holdline\nX-Y: \nContent-Length: 0\n\n",
		},
		{
			"200 with Record-Route and body",
			Response{
				Status: 200, Reason: "Fine", ToTag: []byte("t"), RecordRoute: true, ContentType: "text/plain", Body: []byte("hello"),
			},
			"SIP/2.0 200 Fine\nVia: SIP/2.0/UDP 192.0.2.1:5070;rport;branch=z9hG4bK1 , SIP/2.0/TCP b\nVia: SIP/2.0/UDP c\n" +
				"Record-Route: <sip:r1>, <sip:r2>\nRecord-Route: <sip:r3>\n" +
				strings.Replace(common, "%TAG%", ";tag=t", 1) + "Content-Type: text/plain\nContent-Length: 5\n\nhello",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := AppendResponse(nil, mustScan(t, req), &c.r)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(c.want, "\n", "\r\n")
			if string(got) != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			mustScan(t, got)
		})
	}
}

func TestAppendResponseKeepsToTag(t *testing.T) {
	m := mustScan(t, sampleOKRequest())
	got, err := AppendResponse(nil, m, &Response{Status: 481, ToTag: []byte("mine")})
	if err != nil || !strings.Contains(string(got), "To: <sip:b@example.com>;tag=theirs\r\n") {
		t.Errorf("%v\n%s", err, got)
	}
}

func sampleOKRequest() []byte { return request("!To", "To: <sip:b@example.com>;tag=theirs") }

func TestAppendResponseRefuses(t *testing.T) {
	m := mustScan(t, request())
	for name, r := range map[string]Response{
		"status":       {Status: 99},
		"reason":       {Status: 200, Reason: "OK\r\nA: b"},
		"tag":          {Status: 200, ToTag: []byte("a;b")},
		"field":        {Status: 200, Fields: []Field{{ID: HdrServer, Value: []byte("x\ny")}}},
		"content type": {Status: 200, ContentType: "a\r\nb", Body: []byte("x")},
	} {
		if out, err := AppendResponse([]byte("dst"), m, &r); !errors.Is(err, ErrUnsafe) || string(out) != "dst" {
			t.Errorf("%s: %v, %q", name, err, out)
		}
	}
	if _, err := AppendResponse(nil, m, &Response{Status: 200, Body: make([]byte, MaxMessage)}); !errors.Is(err, ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
	if _, err := AppendResponse(nil, mustScan(t, sampleOK()), &Response{Status: 200}); !errors.Is(err, ErrNoField) {
		t.Errorf("to a response: %v", err)
	}
}

func TestAppendACKAndCANCEL(t *testing.T) {
	invite := mustScan(t, sampleInvite())
	final := mustScan(t, crlf(`SIP/2.0 486 Busy Here
v: SIP/2.0/UDP 10.77.0.101:5060;branch=z9hG4bK1a2b3c4d5e6f708192a3b4c5;rport
f: <sip:alice@atlanta.example.com>;tag=9fxced76sl
t: Bob <sip:bob@biloxi.example.com>;tag=busy
i: 3848276298220188511@atlanta.example.com
CSeq: 314159 INVITE

`))
	const want = `%s sip:bob@biloxi.example.com;user=phone SIP/2.0
Via: SIP/2.0/UDP 10.77.0.101:5060;branch=z9hG4bK1a2b3c4d5e6f708192a3b4c5;rport
Route: <sip:edge.example.com;lr>, <sip:core.example.com;lr>
Max-Forwards: 70
From: "Alice, the \"caller\"" <sip:alice@atlanta.example.com>;tag=9fxced76sl
To: Bob <sip:bob@biloxi.example.com>%t
Call-ID: 3848276298220188511@atlanta.example.com
CSeq: 314159 %s
%fContent-Length: 0

`
	expand := func(method, tag, fields string) string {
		return string(crlf(strings.NewReplacer("%s", method, "%t", tag, "%f", fields).Replace(want)))
	}
	ack, err := AppendACK(nil, invite, final)
	if err != nil || string(ack) != expand("ACK", ";tag=busy", "") {
		t.Errorf("%v\n%s", err, ack)
	}
	cancel, err := AppendCANCEL(nil, invite, Field{ID: HdrReason, Value: []byte("SIP;cause=200")})
	if err != nil || string(cancel) != expand("CANCEL", "", "Reason: SIP;cause=200\n") {
		t.Errorf("%v\n%s", err, cancel)
	}
	mustScan(t, ack)
	mustScan(t, cancel)
	if _, err := AppendCANCEL(nil, final); !errors.Is(err, ErrNoField) {
		t.Errorf("CANCEL of a response: %v", err)
	}
	if _, err := AppendCANCEL(nil, invite, Field{ID: HdrReason, Value: []byte("x\r\ny")}); !errors.Is(err, ErrUnsafe) {
		t.Errorf("CANCEL with a bad field: %v", err)
	}
}

func TestReplyAddr(t *testing.T) {
	for via, want := range map[string]string{
		"SIP/2.0/UDP 192.0.2.1":                                    "192.0.2.1:5060",
		"SIP/2.0/TLS 192.0.2.1":                                    "192.0.2.1:5061",
		"SIP/2.0/UDP 192.0.2.1:5070;rport=9":                       "192.0.2.1:5070",
		"SIP/2.0/UDP host:5070;received=192.0.2.2":                 "192.0.2.2:5070",
		"SIP/2.0/UDP host:5070;received=192.0.2.2;rport=9":         "192.0.2.2:9",
		"SIP/2.0/UDP host:5070;received=[2001:db8::1];rport":       "[2001:db8::1]:5070",
		"SIP/2.0/UDP h;received=192.0.2.2;rport=9;maddr=192.0.2.3": "192.0.2.3:5060",
		"SIP/2.0/UDP host":                                         "invalid AddrPort",
	} {
		m := mustScan(t, request("!Via", "Via: "+via))
		if got := m.ReplyAddr(&m.Via1).String(); got != want {
			t.Errorf("%s: %s, want %s", via, got, want)
		}
	}
}

// TestSourceInResponseAndRequest: both ways of noting the source give the same Via.
func TestSourceInResponseAndRequest(t *testing.T) {
	src := netip.MustParseAddrPort("[2001:db8::9]:1234")
	for _, via := range []string{
		"SIP/2.0/UDP h", "SIP/2.0/UDP h;rport", "SIP/2.0/UDP h;rport;x", "SIP/2.0/UDP h;received=1.1.1.1;x;rport=2;y", "SIP/2.0/UDP h;rport=;received=",
		"SIP/2.0/UDP [2001:DB8:0::9];branch=1",
	} {
		m := mustScan(t, request("!Via", "Via: "+via))
		var e Edit
		e.Begin(m)
		e.SetSource(src)
		out, err := e.AppendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := AppendResponse(nil, m, &Response{Status: 100, Source: src})
		if err != nil {
			t.Fatal(err)
		}
		a, b := mustScan(t, out), mustScan(t, resp)
		if x, y := string(a.Bytes(a.Via1.Value)), string(b.Bytes(b.Via1.Value)); x != y {
			t.Errorf("request %s, response %s", x, y)
		}
		if a.Via1.HasRPort && string(a.Bytes(a.Via1.RPort)) != "1234" {
			t.Errorf("%s: rport %q", via, a.Bytes(a.Via1.RPort))
		}
		if got := a.ReplyAddr(&a.Via1).Addr(); got != src.Addr() {
			t.Errorf("%s: answers go to %v", via, got)
		}
	}
}
