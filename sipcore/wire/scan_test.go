package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func mustScan(t *testing.T, raw []byte) *Msg {
	t.Helper()
	var m Msg
	if err := m.Scan(raw); err != nil {
		t.Fatalf("scan: %v\n%s", err, raw)
	}
	return &m
}

// expect compares parts of a message by name.
func expect(t *testing.T, m *Msg, parts map[string]string) {
	t.Helper()
	for name, want := range parts {
		if got := part(m, name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

func part(m *Msg, name string) string {
	spans := map[string]Span{
		"uri": m.URI, "method": m.MethodName, "reason": m.Reason, "body": m.Body, "call-id": m.CallID, "cseq": m.CSeqMethod,
		"from": m.From.URI, "from tag": m.From.Tag, "to": m.To.URI, "to tag": m.To.Tag,
		"via1": m.Via1.Value, "via1 transport": m.Via1.Transport, "via1 host": m.Via1.Host, "via1 branch": m.Via1.Branch,
		"via1 received": m.Via1.Received, "via1 rport": m.Via1.RPort, "via1 maddr": m.Via1.MAddr, "via1 ttl": m.Via1.TTL,
		"via2": m.Via2.Value, "via2 transport": m.Via2.Transport, "via2 host": m.Via2.Host, "via2 branch": m.Via2.Branch,
		"via2 received": m.Via2.Received, "via2 rport": m.Via2.RPort,
	}
	if s, ok := spans[name]; ok {
		return string(m.Bytes(s))
	}
	if i := m.Find(name); i >= 0 {
		return string(m.Bytes(m.Header(i).Value))
	}
	return "(none)"
}

func TestScanInvite(t *testing.T) {
	m := mustScan(t, sampleInvite())
	expect(t, m, map[string]string{
		"method": "INVITE", "uri": "sip:bob@biloxi.example.com;user=phone",
		"via1": "SIP/2.0/UDP 10.77.0.101:5060;branch=z9hG4bK1a2b3c4d5e6f708192a3b4c5;rport", "via1 rport": "",
		"via1 host": "10.77.0.101", "via1 branch": "z9hG4bK1a2b3c4d5e6f708192a3b4c5",
		"via2 host": "192.0.2.101", "via2 rport": "5062", "via2 received": "192.0.2.101", "via2 branch": "z9hG4bKnashds8c1d2",
		"from": "sip:alice@atlanta.example.com", "from tag": "9fxced76sl", "to": "sip:bob@biloxi.example.com", "to tag": "",
		"call-id": "3848276298220188511@atlanta.example.com", "cseq": "INVITE", "body": string(crlf(sampleSDP)),
		"user-agent": "Example Phone 8.1.2.3", "no-such": "(none)",
	})
	if !m.Request || m.Method != Invite || m.CSeq != 314159 || m.MaxForwards != 69 || m.Via1.Port != 5060 || !m.Via1.HasRPort ||
		int(m.ContentLength) != len(crlf(sampleSDP)) || m.Expires != -1 {
		t.Errorf("numbers: %+v", m)
	}
	var routes []string
	for it := m.Values(HdrRoute); ; {
		_, v, ok := it.Next()
		if !ok {
			break
		}
		routes = append(routes, string(m.Bytes(v)))
	}
	if got := strings.Join(routes, "|"); got != "<sip:edge.example.com;lr>|<sip:core.example.com;lr>" {
		t.Errorf("routes %q", got)
	}
	if !m.Answerable() {
		t.Error("not answerable")
	}
}

// TestScanHeaderLines: the lines cover the header block without gap or overlap.
func TestScanHeaderLines(t *testing.T) {
	m := mustScan(t, sampleInvite())
	at := m.Start.End
	for i := range m.Len() {
		if h := m.Header(i); h.Line.Off != at {
			t.Fatalf("line %d begins at %d, not %d", i, h.Line.Off, at)
		} else {
			at = h.Line.End
		}
	}
	if int(at)+2 != int(m.Body.Off) {
		t.Errorf("headers end at %d, body begins at %d", at, m.Body.Off)
	}
}

// request puts header lines into an otherwise complete request; a line that begins with ! takes that header out.
func request(lines ...string) []byte {
	base := []string{
		"OPTIONS sip:b@example.com SIP/2.0", "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx", "From: <sip:a@example.com>;tag=1",
		"To: <sip:b@example.com>", "Call-ID: abc", "CSeq: 1 OPTIONS",
	}
	for _, l := range lines {
		if name, drop := strings.CutPrefix(l, "!"); drop {
			for i, b := range base {
				if strings.HasPrefix(b, name) {
					base = append(base[:i], base[i+1:]...)
					break
				}
			}
		} else if first := strings.Fields(l); len(first) > 2 && strings.HasPrefix(first[len(first)-1], "SIP/") {
			base[0] = l
		} else {
			base = append(base, l)
		}
	}
	return []byte(strings.Join(base, "\r\n") + "\r\n\r\n")
}

func TestScanFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  ScanError
	}{
		{"nothing wrong", nil, ErrNone},
		{"version 3", []string{"OPTIONS sip:b@x SIP/3.0"}, ErrVersion},
		{"version in lower case", []string{"OPTIONS sip:b@x SIP/2.0"}, ErrNone},
		{"no URI", []string{"OPTIONS  SIP/2.0 SIP/2.0"}, ErrNone}, // odd, but a URI to the scanner
		{"space in the URI", []string{"OPTIONS sip:b@x ;lr SIP/2.0"}, ErrBadURI},
		{"brackets around the URI", []string{"OPTIONS <sip:b@x> SIP/2.0"}, ErrBadURI},
		{"no Via", []string{"!Via"}, ErrMissingVia},
		{"no From", []string{"!From"}, ErrMissingFrom},
		{"no To", []string{"!To"}, ErrMissingTo},
		{"no Call-ID", []string{"!Call-ID"}, ErrMissingCallID},
		{"no CSeq", []string{"!CSeq"}, ErrMissingCSeq},
		{"two From", []string{"f: <sip:c@x>"}, ErrDuplicateFrom},
		{"two To", []string{"t: <sip:c@x>"}, ErrDuplicateTo},
		{"two Call-ID", []string{"i: y"}, ErrDuplicateCallID},
		{"two CSeq", []string{"cseq: 1 OPTIONS"}, ErrDuplicateCSeq},
		{"two Max-Forwards", []string{"Max-Forwards: 1", "MAX-FORWARDS: 1"}, ErrDuplicateMaxForwards},
		{"two Content-Length", []string{"Content-Length: 0", "l: 0"}, ErrDuplicateContentLength},
		{"Via: nothing", []string{"!Via", "Via:"}, ErrBadVia},
		{"Via: no host", []string{"!Via", "Via: SIP/2.0/UDP"}, ErrBadVia},
		{"Via: no transport", []string{"!Via", "Via: SIP/2.0 host"}, ErrBadVia},
		{"Via: port 0", []string{"!Via", "Via: SIP/2.0/UDP host:0"}, ErrBadVia},
		{"Via: port 70000", []string{"!Via", "Via: SIP/2.0/UDP host:70000"}, ErrBadVia},
		{"Via: port of letters", []string{"!Via", "Via: SIP/2.0/UDP host:sip"}, ErrBadVia},
		{"Via: IPv6 without brackets", []string{"!Via", "Via: SIP/2.0/UDP 2001:db8::9:1;branch=z9hG4bKx"}, ErrBadVia},
		{"Via: open bracket", []string{"!Via", "Via: SIP/2.0/UDP [2001:db8::1;branch=x"}, ErrBadVia},
		{"Via: junk after the host", []string{"!Via", "Via: SIP/2.0/UDP host junk"}, ErrBadVia},
		{"Via: open quote", []string{"!Via", `Via: SIP/2.0/UDP host;x="a;branch=z9hG4bKx`}, ErrBadVia},
		{"Via: second is junk", []string{"!Via", "Via: SIP/2.0/UDP host, junk"}, ErrBadVia},
		{"From: open quote", []string{"!From", `From: "a <sip:a@x>;tag=1`}, ErrBadFrom},
		{"From: open bracket", []string{"!From", `From: <sip:a@x;tag=1`}, ErrBadFrom},
		{"From: nothing", []string{"!From", `From: `}, ErrBadFrom},
		{"From: empty URI", []string{"!From", `From: <>;tag=1`}, ErrBadFrom},
		{"From: empty tag", []string{"!From", `From: <sip:a@x>;tag=`}, ErrBadFrom},
		{"To: text after the URI", []string{"!To", `To: <sip:a@x> text`}, ErrBadTo},
		{"To: space in the URI", []string{"!To", `To: sip:a@x y`}, ErrBadTo},
		{"Call-ID: nothing", []string{"!Call-ID", "Call-ID: "}, ErrBadCallID},
		{"Call-ID: two words", []string{"!Call-ID", "Call-ID: a b"}, ErrBadCallID},
		{"CSeq: no method", []string{"!CSeq", "CSeq: 1"}, ErrBadCSeq},
		{"CSeq: no number", []string{"!CSeq", "CSeq: OPTIONS"}, ErrBadCSeq},
		{"CSeq: no space", []string{"!CSeq", "CSeq: 1OPTIONS"}, ErrBadCSeq},
		{"CSeq: negative", []string{"!CSeq", "CSeq: -1 OPTIONS"}, ErrBadCSeq},
		{"CSeq: 2^32", []string{"!CSeq", "CSeq: 4294967296 OPTIONS"}, ErrBadCSeq},
		{"CSeq: text after it", []string{"!CSeq", "CSeq: 1 OPTIONS x"}, ErrBadCSeq},
		{"CSeq: other method", []string{"!CSeq", "CSeq: 1 INVITE"}, ErrCSeqMethod},
		{"CSeq: other letter case", []string{"!CSeq", "CSeq: 1 options"}, ErrCSeqMethod},
		{"Max-Forwards: 256", []string{"Max-Forwards: 256"}, ErrBadMaxForwards},
		{"Max-Forwards: -1", []string{"Max-Forwards: -1"}, ErrBadMaxForwards},
		{"Max-Forwards: nothing", []string{"Max-Forwards:"}, ErrBadMaxForwards},
		{"Content-Length: -1", []string{"Content-Length: -1"}, ErrBadContentLength},
		{"Content-Length: +1", []string{"Content-Length: +1"}, ErrBadContentLength},
		{"Content-Length: giant", []string{"Content-Length: 99999999999999999999999"}, ErrBadContentLength},
		{"Content-Length: 1 without body", []string{"Content-Length: 1"}, ErrShortBody},
		{"header without colon", []string{"Subject"}, ErrBadHeader},
		{"header without name", []string{": x"}, ErrBadHeader},
		{"space in the name", []string{"Sub ject: x"}, ErrBadHeader},
		{"stray CR", []string{"Subject: x\rVia: SIP/2.0/UDP evil"}, ErrBadHeader},
		{"first fault is named", []string{"!From", "!CSeq", "CSeq: x", "Max-Forwards: x"}, ErrBadCSeq},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m Msg
			raw := request(c.lines...)
			err := m.Scan(raw)
			var got ScanError
			if err != nil && !errors.As(err, &got) {
				t.Fatalf("error of type %T", err)
			}
			if got != c.want {
				t.Errorf("got %q, want %q\n%s", got.Reason(), c.want.Reason(), raw)
			}
			if got != ErrNone && got != ErrMissingVia && (got.Reason() == "" || got.Status() < 400) {
				t.Errorf("no answer: %d %q", got.Status(), got.Reason())
			}
			if !m.Answerable() {
				return
			}
			out, err := AppendResponse(nil, &m, &Response{Status: 400, Reason: got.Reason(), ToTag: []byte("t")})
			if err != nil {
				t.Fatalf("cannot answer: %v", err)
			}
			if bytes.Contains(out, []byte("\r\nVia: SIP/2.0/UDP evil")) {
				t.Errorf("the answer has a smuggled header:\n%s", out)
			}
		})
	}
}

func TestScanNotSIP(t *testing.T) {
	for _, c := range []struct {
		raw  string
		want ScanError
	}{
		{"", ErrNotSIP},
		{"\r\n\r\n", ErrNotSIP},
		{"hello", ErrNotSIP},
		{"hello\r\n\r\n", ErrNotSIP},
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ErrNotSIP},
		{"\x16\x03\x01\n\n", ErrNotSIP},
		{"SIP/2.0\r\n\r\n", ErrNotSIP},
		{"OPTIONS SIP/2.0\r\n\r\n", ErrBadRequestLine},
		{"OPTIONS  SIP/2.0\r\n\r\n", ErrBadRequestLine},
		{"OPTIONS sip:x SIP/2.0\r\n", ErrNoHeaderEnd},
		{"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP x", ErrNoHeaderEnd},
		{"SIP/2.0 99 x\r\n\r\n", ErrBadStatus},
		{"SIP/2.0 700 x\r\n\r\n", ErrBadStatus},
		{"SIP/2.0 0200 x\r\n\r\n", ErrBadStatus},
		{"SIP/2.0 200OK\r\n\r\n", ErrBadStatus},
		{"SIP/2.0 x\r\n\r\n", ErrBadStatus},
		{"SIP/3.0 200 OK\r\n\r\n", ErrVersion},
		{strings.Repeat("x", MaxMessage+1), ErrTooLarge},
		{"OPTIONS sip:x SIP/2.0\r\n" + strings.Repeat("A: b\r\n", MaxHeaders+1) + "\r\n", ErrTooLarge},
	} {
		var m Msg
		if err := m.Scan([]byte(c.raw)); err != c.want {
			t.Errorf("%.40q: %v, want %v", c.raw, err, c.want)
		}
		if m.Answerable() {
			t.Errorf("%.40q is answerable", c.raw)
		}
	}
}

// TestScanTolerates lists what is odd and understood nevertheless.
func TestScanTolerates(t *testing.T) {
	for _, c := range []struct {
		name  string
		raw   []byte
		parts map[string]string
	}{
		{"LF only", bytes.ReplaceAll(request("Subject: x"), []byte("\r\n"), []byte("\n")), map[string]string{"subject": "x", "via1 branch": "z9hG4bKx"}},
		{"empty lines first", append([]byte("\r\n\n\r\n"), request()...), map[string]string{"method": "OPTIONS"}},
		{"letter case and space", request("!Via", "!From", "vIA\t : sip/2.0/udp  h ; BRANCH = z9hG4bKQ ; RPORT", "fROM:sip:a@x ; TAG = T"), map[string]string{
			"via1 branch": "z9hG4bKQ", "via1 host": "h", "via1 transport": "udp", "from": "sip:a@x", "from tag": "T",
		}},
		{"two Via values in a line", request("!Via", "v: SIP/2.0/TLS a:5061;branch=1,SIP/2.0/UDP b;branch=2, SIP/2.0/UDP c"), map[string]string{
			"via1": "SIP/2.0/TLS a:5061;branch=1", "via2": "SIP/2.0/UDP b;branch=2",
		}},
		{"IPv6", request("!Via", "Via: SIP/2.0/UDP [2001:db8::1]:5070;received=2001:db8::2;rport=7;maddr=[2001:db8::3];ttl=3"), map[string]string{
			"via1 host": "[2001:db8::1]", "via1 received": "2001:db8::2", "via1 rport": "7", "via1 maddr": "[2001:db8::3]", "via1 ttl": "3",
		}},
		{"quoted Via parameter", request("!Via", `Via: SIP/2.0/UDP a;x="p,q;\"branch=no";branch=yes`), map[string]string{"via1 branch": "yes", "via2": ""}},
		{"quoted name with everything", request("!From", `From: "a\"b;,<sip:no>" <sip:u;p@x;q?h=1>;x="tag=no";tag=yes`), map[string]string{
			"from": "sip:u;p@x;q?h=1", "from tag": "yes",
		}},
		{"folded", request("Subject: one\r\n two\r\n\tthree", "!CSeq", "CSeq: 1\r\n OPTIONS"), map[string]string{"subject": "one\r\n two\r\n\tthree", "cseq": "OPTIONS"}},
		{"extension method", []byte(strings.ReplaceAll(string(request()), "OPTIONS", "x!%*_+`'~.")), map[string]string{"method": "x!%*_+`'~."}},
		{"bytes after Content-Length", append(request("Content-Length: 2"), "hiINVITE"...), map[string]string{"body": "hi"}},
		{"body without Content-Length", append(request(), "hi"...), map[string]string{"body": "hi"}},
	} {
		t.Run(c.name, func(t *testing.T) { expect(t, mustScan(t, c.raw), c.parts) })
	}
}

func TestScanManyHeaders(t *testing.T) {
	lines := make([]string, 0, 300)
	for range 300 {
		lines = append(lines, "X-Pad: y")
	}
	m := mustScan(t, request(append(lines, "Expires: 7", "Route: <sip:last>")...))
	if m.Expires != 7 || string(m.Value(HdrRoute)) != "<sip:last>" || m.Len() != 307 {
		t.Errorf("expires %d, route %q, %d lines", m.Expires, m.Value(HdrRoute), m.Len())
	}
	m2 := m
	if err := m2.Scan(request()); err != nil || m2.Has(HdrRoute) || m2.Len() != 5 {
		t.Errorf("the Msg remembers the former message: %v, %d lines", err, m2.Len())
	}
}

func TestHeaderNames(t *testing.T) {
	for id := HdrVia; id < numHeaderIDs; id++ {
		name := id.String()
		if name == "" {
			t.Errorf("header %d has no name", id)
		}
		for _, n := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if got := LookupHeader([]byte(n)); got != id {
				t.Errorf("%s is %v", n, got)
			}
		}
	}
	for c, id := range map[string]HeaderID{
		"v": HdrVia, "F": HdrFrom, "t": HdrTo, "i": HdrCallID, "m": HdrContact, "L": HdrContentLength, "c": HdrContentType,
		"e": HdrContentEncoding, "k": HdrSupported, "o": HdrEvent, "r": HdrReferTo, "b": HdrReferredBy, "s": HdrSubject,
		"x": HdrSessionExpires, "u": HdrAllowEvents, "q": HdrOther, "X-Something-Of-Great-Length": HdrOther, "": HdrOther,
	} {
		if got := LookupHeader([]byte(c)); got != id {
			t.Errorf("%q is %v", c, got)
		}
	}
}

func TestMethodNames(t *testing.T) {
	for m := Invite; m <= Publish; m++ {
		if m.String() == "" || ParseMethod([]byte(m.String())) != m {
			t.Errorf("method %d: %q", m, m)
		}
	}
	if ParseMethod([]byte("invite")) != MethodOther || ParseMethod(nil) != MethodNone {
		t.Error("methods are compared with regard to case")
	}
}
