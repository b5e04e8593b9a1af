package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// edited scans raw, applies f and returns what is written.
func edited(t *testing.T, raw []byte, f func(*Edit, *Msg)) string {
	t.Helper()
	var m Msg
	if err := m.Scan(raw); err != nil {
		t.Fatalf("scan: %v", err)
	}
	var e Edit
	e.Begin(&m)
	f(&e, &m)
	out, err := e.AppendTo(nil)
	if err != nil {
		t.Fatalf("write: %v", err)
	}
	return string(out)
}

func TestEditWithoutEditsKeepsEveryByte(t *testing.T) {
	for _, raw := range [][]byte{sampleInvite(), sampleOK(), sampleRegister()} {
		if got := edited(t, raw, func(*Edit, *Msg) {}); got != string(raw) {
			t.Errorf("got %q", got)
		}
	}
}

// TestEdit gives for each edit the lines that go (-) and come (+); everything else must be as it was.
func TestEdit(t *testing.T) {
	src := netip.MustParseAddrPort("198.51.100.7:6060")
	const head = "OPTIONS sip:b@example.com SIP/2.0\n"
	const tail = "From: <sip:a@example.com>;tag=1\nTo: <sip:b@example.com>\nCall-ID: x\nCSeq: 1 OPTIONS\n"
	for _, c := range []struct {
		name string
		in   string
		edit func(*Edit, *Msg)
		want string
	}{
		{
			"request URI", head + "Via: SIP/2.0/UDP a\n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.SetURI([]byte("sip:c@192.0.2.1:5070;x")) },
			"OPTIONS sip:c@192.0.2.1:5070;x SIP/2.0\nVia: SIP/2.0/UDP a\n" + tail + "\n",
		},
		{
			"later URI holds", head + "Via: SIP/2.0/UDP a\n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.SetURI([]byte("sip:c@x")); e.SetURI([]byte("sip:d@y")) },
			"OPTIONS sip:d@y SIP/2.0\nVia: SIP/2.0/UDP a\n" + tail + "\n",
		},
		{
			"surplus space in the request line", "OPTIONS   sip:b@example.com \tSIP/2.0  \nv: SIP/2.0/UDP a\n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.SetURI([]byte("sip:d@y")) },
			"OPTIONS sip:d@y SIP/2.0\nv: SIP/2.0/UDP a\n" + tail + "\n",
		},
		{
			"prepend Via and double Record-Route", head + "Via: SIP/2.0/UDP a\nv: SIP/2.0/UDP b\n" + tail + "\n",
			func(e *Edit, _ *Msg) {
				e.Prepend(HdrRecordRoute, []byte("<sip:in;lr>"))
				e.Prepend(HdrVia, []byte("SIP/2.0/UDP us;branch=z9hG4bKx"))
				e.Prepend(HdrRecordRoute, []byte("<sip:out;lr>"))
			},
			head + "Via: SIP/2.0/UDP us;branch=z9hG4bKx\nVia: SIP/2.0/UDP a\nv: SIP/2.0/UDP b\n" +
				"Record-Route: <sip:out;lr>\nRecord-Route: <sip:in;lr>\n" + tail + "\n",
		},
		{
			"prepend above the existing Record-Route", head + "Via: SIP/2.0/UDP a\nX: y\nRecord-Route: <sip:r>\n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.Prepend(HdrRecordRoute, []byte("<sip:us;lr>")) },
			head + "Via: SIP/2.0/UDP a\nX: y\nRecord-Route: <sip:us;lr>\nRecord-Route: <sip:r>\n" + tail + "\n",
		},
		{
			"pop Via: line of its own", head + "Via: SIP/2.0/UDP a\nv : SIP/2.0/UDP b\n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.PopVia() },
			head + "v : SIP/2.0/UDP b\n" + tail + "\n",
		},
		{
			"pop Via: first of a folded line", head + "Via: SIP/2.0/UDP a ;branch=1 ,\n SIP/2.0/UDP b;branch=2\n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.PopVia() },
			head + "Via: SIP/2.0/UDP b;branch=2\n" + tail + "\n",
		},
		{
			"pop two Routes of three, over lines", head + "Via: SIP/2.0/UDP a\nRoute: <sip:r1,a;lr>\nRoute: \"x,\" <sip:r2;lr>;p , <sip:r3>\n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.PopRoute(2) },
			head + "Via: SIP/2.0/UDP a\nRoute: <sip:r3>\n" + tail + "\n",
		},
		{
			"pop more Routes than there are", head + "Via: SIP/2.0/UDP a\nRoute: <sip:r1>,<sip:r2>\nRoute: <sip:r3>\n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.PopRoute(9) },
			head + "Via: SIP/2.0/UDP a\n" + tail + "\n",
		},
		{
			"remove a middle and the last value", head + "Via: SIP/2.0/UDP a\nRoute: <sip:r1>, <sip:r2>, <sip:r3>, <sip:r4>\n" + tail + "\n",
			func(e *Edit, m *Msg) { removeValues(e, m, 1, 3) },
			head + "Via: SIP/2.0/UDP a\nRoute: <sip:r1>, <sip:r3>\n" + tail + "\n",
		},
		{
			"remove first and last value", head + "Via: SIP/2.0/UDP a\nRoute: <sip:r1>, <sip:r2>, <sip:r3>\n" + tail + "\n",
			func(e *Edit, m *Msg) { removeValues(e, m, 2, 0) },
			head + "Via: SIP/2.0/UDP a\nRoute: <sip:r2>\n" + tail + "\n",
		},
		{
			"all but a value in the middle, and a parameter for that", head + "Via: SIP/2.0/UDP a\nRoute: <sip:r1>, <sip:r2>, <sip:r3>\n" + tail + "\n",
			func(e *Edit, m *Msg) {
				removeValues(e, m, 0, 2)
				it := m.Values(HdrRoute)
				it.Next()
				_, v, _ := it.Next()
				e.InsertAt(v.End, []byte(";x"))
			},
			head + "Via: SIP/2.0/UDP a\nRoute: <sip:r2>;x\n" + tail + "\n",
		},
		{
			"source: other address, no rport", head + "Via: SIP/2.0/UDP 192.0.2.9:5070;branch=z9 \n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.SetSource(src) },
			head + "Via: SIP/2.0/UDP 192.0.2.9:5070;branch=z9;received=198.51.100.7 \n" + tail + "\n",
		},
		{
			"source: same address, no rport", head + "Via: SIP/2.0/UDP 198.51.100.7:5070;branch=z9\n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.SetSource(src) },
			head + "Via: SIP/2.0/UDP 198.51.100.7:5070;branch=z9\n" + tail + "\n",
		},
		{
			"source: rport in the middle", head + "Via: SIP/2.0/UDP 198.51.100.7;RPORT;branch=z9\n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.SetSource(src) },
			head + "Via: SIP/2.0/UDP 198.51.100.7;RPORT=6060;branch=z9;received=198.51.100.7\n" + tail + "\n",
		},
		{
			"source: rport last, second value in the line", head + "Via: SIP/2.0/UDP a;branch=z9;rport, SIP/2.0/UDP b\n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.SetSource(src) },
			head + "Via: SIP/2.0/UDP a;branch=z9;rport=6060;received=198.51.100.7, SIP/2.0/UDP b\n" + tail + "\n",
		},
		{
			"source: forged received and rport", head + "Via: SIP/2.0/UDP a;received=1.1.1.1;rport=9\n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.SetSource(src) },
			head + "Via: SIP/2.0/UDP a;received=198.51.100.7;rport=6060\n" + tail + "\n",
		},
		{
			"source: rport with = and no value", head + "Via: SIP/2.0/UDP a;rport = ;x\n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.SetSource(src) },
			head + "Via: SIP/2.0/UDP a;rport = 6060;x;received=198.51.100.7\n" + tail + "\n",
		},
		{
			"Max-Forwards there", head + "Via: SIP/2.0/UDP a\nMAX-forwards : 70 \n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.SetMaxForwards(69) },
			head + "Via: SIP/2.0/UDP a\nMAX-forwards : 69 \n" + tail + "\n",
		},
		{
			"Max-Forwards missing", head + "Via: SIP/2.0/UDP a\n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.SetMaxForwards(70) },
			head + "Via: SIP/2.0/UDP a\nMax-Forwards: 70\n" + tail + "\n",
		},
		{
			"set, append, remove", head + "Via: SIP/2.0/UDP a\nSubject: 1\ns: 2\nX-Y: z\n" + tail + "\n",
			func(e *Edit, m *Msg) {
				e.Set(HdrSubject, []byte("new"))
				e.RemoveLine(m.Find("x-y"))
				e.Append(Field{Name: "X-New", Value: []byte("1")})
				e.Append(Field{ID: HdrReason, Value: []byte("SIP;cause=200")})
			},
			head + "Via: SIP/2.0/UDP a\nSubject: new\n" + tail + "X-New: 1\nReason: SIP;cause=200\n\n",
		},
		{
			"an edit within a removed line goes with it", head + "Via: SIP/2.0/UDP a\nSubject: 1\n" + tail + "\n",
			func(e *Edit, m *Msg) {
				e.SetValue(m.First(HdrSubject), []byte("2"))
				e.RemoveAll(HdrSubject)
			},
			head + "Via: SIP/2.0/UDP a\n" + tail + "\n",
		},
		{
			"body replaced", head + "Via: SIP/2.0/UDP a\n" + tail + "c: text/plain\nl: 5\n\nhello",
			func(e *Edit, _ *Msg) { e.SetBody([]byte("text/html"), []byte("<p>bye</p>")) },
			head + "Via: SIP/2.0/UDP a\n" + tail + "c: text/html\nl: 10\n\n<p>bye</p>",
		},
		{
			"body added", head + "Via: SIP/2.0/UDP a\n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.SetBody([]byte("text/plain"), []byte("hi")) },
			head + "Via: SIP/2.0/UDP a\n" + tail + "Content-Length: 2\nContent-Type: text/plain\n\nhi",
		},
		{
			"body removed", head + "Via: SIP/2.0/UDP a\n" + tail + "Content-Type: text/plain\nContent-Length: 5\n\nhello",
			func(e *Edit, _ *Msg) { e.SetBody(nil, nil) },
			head + "Via: SIP/2.0/UDP a\n" + tail + "Content-Length: 0\n\n",
		},
		{
			"bytes after the body are not relayed", head + "Via: SIP/2.0/UDP a\n" + tail + "Content-Length: 5\n\nhelloINVITE",
			func(*Edit, *Msg) {},
			head + "Via: SIP/2.0/UDP a\n" + tail + "Content-Length: 5\n\nhello",
		},
		{
			"status", "SIP/2.0  180\nVia: SIP/2.0/UDP a\n" + tail + "\n",
			func(e *Edit, _ *Msg) { e.SetStatus(503, "") },
			"SIP/2.0 503 Service Unavailable\nVia: SIP/2.0/UDP a\n" + tail + "\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := edited(t, crlf(c.in), c.edit); got != string(crlf(c.want)) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// removeValues removes the Route values with these numbers.
func removeValues(e *Edit, m *Msg, which ...int) {
	for _, n := range which {
		it := m.Values(HdrRoute)
		hdr, v, ok := it.Next()
		for range n {
			hdr, v, ok = it.Next()
		}
		if ok {
			e.RemoveValue(hdr, v)
		}
	}
}

// TestQuoteNames: display names that need quotes get them, so that nothing in them ends them; what is well written stays as it is.
func TestQuoteNames(t *testing.T) {
	for in, want := range map[string]string{
		`Bell, Alexander <sip:a@example.com>;tag=1`:       `"Bell, Alexander" <sip:a@example.com>;tag=1`,
		`Ann "Nan" Bell  <sip:a@example.com>;tag=1`:       `"Ann \"Nan\" Bell"  <sip:a@example.com>;tag=1`,
		`"Ann" Bell <sip:a@example.com>;tag=1`:            `"\"Ann\" Bell" <sip:a@example.com>;tag=1`,
		`a\b<sip:a@example.com>;tag=1`:                    `"a\\b"<sip:a@example.com>;tag=1`,
		"Bell,\n Alexander <sip:a@example.com>;tag=1":     "\"Bell,\n Alexander\" <sip:a@example.com>;tag=1",
		`Jörg <sip:a@example.com>;tag=1`:                  `"Jörg" <sip:a@example.com>;tag=1`,
		`"Bell, \"A\" Alexander" <sip:a@h>;tag=1`:         "",
		`Dr.  A.-B. Bell <sip:a@example.com>;tag=1`:       "",
		`<sip:a@example.com>;tag=1`:                       "",
		`sip:a@example.com;tag=1`:                         "",
		`"" <sip:a@example.com>;tag=1;x="Bell, A <sip:>"`: "",
	} {
		if want == "" {
			want = in
		}
		for _, name := range []string{"From: ", "t: "} {
			const tail = "Via: SIP/2.0/UDP a\nCall-ID: x\nCSeq: 1 OPTIONS\n\n"
			head, other := "OPTIONS sip:b@example.com SIP/2.0\n", "To: <sip:b@example.com>\n"
			if name == "t: " {
				other = "From: <sip:b@example.com>;tag=2\n"
			}
			quote := func(e *Edit, _ *Msg) { e.QuoteNames() }
			got := edited(t, crlf(head+other+name+in+"\n"+tail), quote)
			if whole := string(crlf(head + other + name + want + "\n" + tail)); got != whole {
				t.Errorf("got\n%s\nwant\n%s", got, whole)
			}
			if again := edited(t, []byte(got), quote); again != got {
				t.Errorf("quoted twice: %s", again)
			}
		}
	}
}

func TestEditKeepsLineEndsOfOthers(t *testing.T) {
	in := strings.ReplaceAll(string(sampleInvite()), "\r\n", "\n")
	in = strings.Replace(in, "Content-Length: "+itoa(len(crlf(sampleSDP))), "Content-Length: "+itoa(len(sampleSDP)), 1)
	got := edited(t, []byte(in), func(e *Edit, _ *Msg) { e.Prepend(HdrVia, []byte("SIP/2.0/UDP us")) })
	want := strings.Replace(in, "\n", "\nVia: SIP/2.0/UDP us\r\n", 1)
	if got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestCommitShowsEdits(t *testing.T) {
	var m Msg
	if err := m.Scan(sampleInvite()); err != nil {
		t.Fatal(err)
	}
	var e Edit
	e.Begin(&m)
	e.Set(HdrSubject, []byte("first"))
	out, err := e.Commit(make([]byte, 0, 4096))
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Value(HdrSubject); string(got) != "first" {
		t.Errorf("Subject after commit: %q", got)
	}
	e.Set(HdrSubject, []byte("second"))
	if out, err = e.AppendTo(out[len(out):]); err != nil || bytes.Count(out, []byte("Subject")) != 1 || !bytes.Contains(out, []byte("Subject: second\r\n")) {
		t.Errorf("second edit: %v\n%s", err, out)
	}
}

func TestEditRefusesInjection(t *testing.T) {
	evil := []byte("x\r\nVia: SIP/2.0/UDP evil")
	for name, f := range map[string]func(*Edit){
		"URI line end":   func(e *Edit) { e.SetURI([]byte("sip:x\r\nA: b")) },
		"URI space":      func(e *Edit) { e.SetURI([]byte("sip:x SIP/2.0")) },
		"URI empty":      func(e *Edit) { e.SetURI(nil) },
		"prepend":        func(e *Edit) { e.Prepend(HdrRoute, evil) },
		"prepend other":  func(e *Edit) { e.Prepend(HdrOther, []byte("x")) },
		"append LF":      func(e *Edit) { e.Append(Field{ID: HdrReason, Value: []byte("a\nb")}) },
		"append CR":      func(e *Edit) { e.Append(Field{ID: HdrReason, Value: []byte("a\rb")}) },
		"append NUL":     func(e *Edit) { e.Append(Field{ID: HdrReason, Value: []byte("a\x00b")}) },
		"name colon":     func(e *Edit) { e.Append(Field{Name: "A: b\r\nC", Value: nil}) },
		"name empty":     func(e *Edit) { e.Append(Field{Value: []byte("x")}) },
		"set value":      func(e *Edit) { e.SetValue(0, evil) },
		"set":            func(e *Edit) { e.Set(HdrSubject, evil) },
		"insert":         func(e *Edit) { e.InsertAt(e.m.Via1.Value.End, evil) },
		"content type":   func(e *Edit) { e.SetBody(evil, []byte("x")) },
		"status":         func(e *Edit) { e.SetStatus(200, "OK") }, // of a request
		"overlap":        func(e *Edit) { s := e.m.URI; e.SetURI([]byte("sip:x")); e.Replace(Span{s.Off + 1, s.End}, []byte("y")) },
		"first one kept": func(e *Edit) { e.Set(HdrSubject, evil); e.Set(HdrSubject, []byte("fine")) },
	} {
		t.Run(name, func(t *testing.T) {
			var m Msg
			if err := m.Scan(sampleInvite()); err != nil {
				t.Fatal(err)
			}
			var e Edit
			e.Begin(&m)
			f(&e)
			out, err := e.AppendTo([]byte("dst"))
			if !errors.Is(err, ErrUnsafe) && !errors.Is(err, ErrOverlap) {
				t.Errorf("error %v", err)
			}
			if string(out) != "dst" {
				t.Errorf("wrote %q", out)
			}
		})
	}
}
