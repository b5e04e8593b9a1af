package wire

import (
	"bytes"
	"net/netip"
	"testing"

	"holdline/sipcore/internal/torture"
)

func seeds(f *testing.F) {
	for _, raw := range [][]byte{sampleInvite(), sampleOK(), sampleRegister(), request("Subject: a\r\n b")} {
		f.Add(raw)
	}
	for _, c := range torture.All() {
		if len(c.Bytes) < 3000 {
			f.Add(c.Bytes)
		}
	}
}

// FuzzScan: no input breaks the scanner, and every span lies within the message.
func FuzzScan(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m Msg
		before := bytes.Clone(raw)
		err := m.Scan(raw)
		if !bytes.Equal(before, raw) {
			t.Fatal("the scanner changed the message")
		}
		at := m.Start.End
		for i := range m.Len() {
			h := m.Header(i)
			if h.Line.Off < at || !h.Line.contains(h.Name) || !h.Line.contains(h.Value) {
				t.Fatalf("header %d: %+v after %d", i, h, at)
			}
			at = h.Line.End
		}
		for _, s := range []Span{
			m.URI, m.MethodName, m.Version, m.Reason, m.Body, m.CallID, m.CSeqMethod, m.From.URI, m.From.Tag, m.To.URI, m.To.Tag,
			m.Via1.Value, m.Via1.Branch, m.Via2.Value, m.Via2.Received,
		} {
			if s.Off > s.End || int(s.End) > len(m.B) {
				t.Fatalf("span %+v in %d bytes", s, len(m.B))
			}
		}
		for id := HdrVia; id < numHeaderIDs; id++ {
			for it := m.Values(id); ; {
				i, v, ok := it.Next()
				if !ok {
					break
				}
				if !m.Header(i).Value.contains(v) || v.Empty() {
					t.Fatalf("value %+v of line %+v", v, m.Header(i))
				}
				_, _ = ParseContact(m.Bytes(v))
			}
		}
		if m.Answerable() {
			out, rerr := AppendResponse(nil, &m, &Response{Status: 400, ToTag: []byte("t"), Source: relaySource})
			if rerr != nil && len(raw) < MaxMessage/2 {
				t.Fatalf("cannot answer: %v", rerr)
			}
			if rerr == nil && err == nil {
				var r Msg
				if serr := r.Scan(out); serr != nil {
					t.Fatalf("the answer does not scan: %v\n%q", serr, out)
				}
				if r.Len() > m.Len()+1 {
					t.Fatalf("the answer has more headers than the request\n%q", out)
				}
			}
		}
	})
}

// FuzzSplice: an edited message scans, says what the edits said, and is otherwise as it was.
func FuzzSplice(f *testing.F) {
	for _, c := range torture.All() {
		if len(c.Bytes) < 3000 {
			f.Add(c.Bytes, []byte("sip:x@y"), []byte("value"), uint8(0xff))
		}
	}
	f.Add(sampleInvite(), []byte("sip:x@y"), []byte("a\r\nb"), uint8(0x55))
	f.Add(sampleOK(), []byte("sip:x@y z"), []byte("a"), uint8(0xaa))
	f.Fuzz(func(t *testing.T, raw, uri, value []byte, which uint8) {
		var m Msg
		if m.Scan(raw) != nil || len(raw) > 30000 || len(value)+len(uri) > 10000 {
			return
		}
		relayedAsItWas(t, &m)
		via1 := bytes.Clone(m.Bytes(m.Via1.Value))
		body := bytes.Clone(m.Bytes(m.Body))
		var e Edit
		e.Begin(&m)
		lines := m.Len()
		if which&1 != 0 && m.Request {
			e.SetURI(uri)
		}
		if which&2 != 0 {
			e.Prepend(HdrVia, relayVia)
			lines++
		}
		if which&4 != 0 {
			e.Append(Field{Name: "X-Fuzz", Value: value})
			lines++
		}
		if which&8 != 0 {
			if !m.Has(HdrMaxForwards) {
				lines++
			}
			e.SetMaxForwards(7)
		}
		if which&16 != 0 {
			e.PopRoute(2)
			it := m.Values(HdrRoute)
			for range 2 {
				it.Next()
			}
			if hdr, v, ok := it.Next(); ok {
				e.RemoveValue(hdr, v)
			}
		}
		if which&32 != 0 {
			if !m.Has(HdrContentLength) {
				lines++
			}
			e.SetBody(nil, value)
			body = value
		}
		if which&64 != 0 {
			e.SetSource(netip.MustParseAddrPort("192.0.2.77:7777"))
		}
		if which&128 != 0 {
			e.RemoveAll(HdrSubject)
			e.QuoteNames()
		}
		out, err := e.AppendTo(nil)
		if err != nil {
			if allOf(uri, classURI) && safe(value) {
				t.Fatalf("harmless edits refused: %v", err)
			}
			return
		}
		var got Msg
		if err := got.Scan(out); err != nil {
			t.Fatalf("edited message: %v\n%q\n%q", err, raw, out)
		}
		if got.Len() > lines {
			t.Fatalf("%d header lines, expected at most %d\n%q", got.Len(), lines, out)
		}
		switch {
		case which&1 != 0 && m.Request && !bytes.Equal(got.Bytes(got.URI), uri):
			t.Fatalf("URI %q", got.Bytes(got.URI))
		case which&2 != 0 && which&64 == 0 && (!bytes.Equal(got.Bytes(got.Via1.Value), relayVia) || !bytes.Equal(got.Bytes(got.Via2.Value), via1)):
			t.Fatalf("Via %q, %q", got.Bytes(got.Via1.Value), got.Bytes(got.Via2.Value))
		case which&8 != 0 && got.MaxForwards != 7:
			t.Fatalf("Max-Forwards %d", got.MaxForwards)
		case which&64 != 0 && which&2 == 0 && got.Via1.HasRPort && string(got.Bytes(got.Via1.RPort)) != "7777":
			t.Fatalf("rport %q in %q", got.Bytes(got.Via1.RPort), got.Bytes(got.Via1.Value))
		case !bytes.Equal(got.Bytes(got.Body), body):
			t.Fatalf("body %q, want %q", got.Bytes(got.Body), body)
		}
	})
}

// FuzzURI: parsing does not fail badly, and every SIP URI has an address-of-record.
func FuzzURI(f *testing.F) {
	for _, s := range []string{
		"sip:alice:pw@example.com:5060;transport=tcp?to=x", "sips:[2001:db8::1]", "tel:+1-201;ext=5", "urn:service:sos",
		"sip:a;b?c@h;lr", "sip:%00@h", "sip:a@h?x=y&z", "sip:h;a;a=1",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, a []byte) {
		u, err := ParseURI(a)
		if err != nil {
			return
		}
		_ = u.Addr()
		if aor := u.AppendAoR(nil); u.Scheme == SchemeSIP && len(aor) == 0 {
			t.Fatalf("%q has no address-of-record", a)
		}
	})
}

// FuzzDigestParams: credentials of any shape are read or refused.
func FuzzDigestParams(f *testing.F) {
	for _, s := range []string{
		`Digest username="a\"b", realm=x, nonce="", uri="sip:x", response="r", nc=00000001, cnonce="c", qop=auth`,
		`Digest a`, `Basic x`, `Digest realm="x\\", realm="y"`, "Digest\r\n realm = x ,, nonce=\"\\",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var d Digest
		if d.Parse(raw) != nil {
			return
		}
		for _, v := range [][]byte{d.Username, d.Realm, d.Nonce, d.URI, d.Response, d.Algorithm, d.QOP, d.NC, d.CNonce, d.Opaque} {
			if len(v) > len(raw) {
				t.Fatalf("%q is longer than the header", v)
			}
		}
		if len(d.buf) > len(raw) {
			t.Fatal("more text than there was")
		}
	})
}
