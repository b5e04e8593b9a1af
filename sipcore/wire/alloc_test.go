package wire

import (
	"net/netip"
	"testing"
)

// relay does to an INVITE what the proxy does: request line, Via, Record-Route, Max-Forwards, Route, source.
func relay(e *Edit, m *Msg, dst []byte) ([]byte, error) {
	e.Begin(m)
	e.SetURI(relayURI)
	e.SetSource(relaySource)
	e.Prepend(HdrVia, relayVia)
	e.Prepend(HdrRecordRoute, relayRoute)
	e.SetMaxForwards(int(m.MaxForwards) - 1)
	e.PopRoute(1)
	return e.AppendTo(dst)
}

var (
	relayURI    = []byte("sip:bob@192.0.2.201:5060")
	relayVia    = []byte("SIP/2.0/UDP 10.77.0.102:5060;branch=z9hG4bK0102030405060708090a0b0c;rport")
	relayRoute  = []byte("<sip:10.77.0.102;lr;t=0123456789abcdef>")
	relaySource = netip.MustParseAddrPort("10.77.0.101:5060")
)

// TestNoAllocation: nothing on the way of a message through the proxy allocates.
func TestNoAllocation(t *testing.T) {
	var m, resp Msg
	var e Edit
	var d Digest
	invite, ok, register := sampleInvite(), sampleOK(), sampleRegister()
	buf := make([]byte, 0, 4096)
	if err := resp.Scan(ok); err != nil {
		t.Fatal(err)
	}
	check := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	for name, f := range map[string]func(){
		"scan INVITE":   func() { check(m.Scan(invite)) },
		"scan 200":      func() { check(m.Scan(ok)) },
		"scan and fail": func() { _ = m.Scan(invite[:300]) },
		"relay request": func() {
			check(m.Scan(invite))
			_, err := relay(&e, &m, buf)
			check(err)
		},
		"relay response": func() {
			check(m.Scan(ok))
			e.Begin(&m)
			e.PopVia()
			_, err := e.AppendTo(buf)
			check(err)
		},
		"respond": func() {
			check(m.Scan(invite))
			_, err := AppendResponse(buf, &m, &Response{Status: 100, Source: relaySource})
			check(err)
		},
		"ACK and CANCEL": func() {
			check(m.Scan(invite))
			_, err := AppendACK(buf, &m, &resp)
			check(err)
			_, err = AppendCANCEL(buf, &m)
			check(err)
		},
		"URI, address, contact, credentials": func() {
			check(m.Scan(register))
			u, err := ParseURI(m.Bytes(m.To.URI))
			check(err)
			_ = u.AppendAoR(buf)
			_ = u.Addr()
			_, err = ParseNameAddr(m.Value(HdrFrom))
			check(err)
			for it := m.Values(HdrContact); ; {
				_, v, more := it.Next()
				if !more {
					break
				}
				_, err = ParseContact(m.Bytes(v))
				check(err)
			}
			check(d.Parse(m.Value(HdrAuthorization)))
			_ = m.ReplyAddr(&m.Via1)
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %.0f allocations", name, n)
		}
	}
}

// BenchmarkSplice edits an INVITE that is scanned already and writes it.
func BenchmarkSplice(b *testing.B) {
	var m Msg
	if err := m.Scan(sampleInvite()); err != nil {
		b.Fatal(err)
	}
	var e Edit
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := relay(&e, &m, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSplicePopVia is the way of a response.
func BenchmarkSplicePopVia(b *testing.B) {
	var m Msg
	if err := m.Scan(sampleOK()); err != nil {
		b.Fatal(err)
	}
	var e Edit
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		e.Begin(&m)
		e.PopVia()
		if _, err := e.AppendTo(buf); err != nil {
			b.Fatal(err)
		}
	}
}
