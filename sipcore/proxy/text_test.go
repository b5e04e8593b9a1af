package proxy

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"holdline/fsm/pb"
)

func TestTextIsUTF8(t *testing.T) {
	for in, want := range map[string]string{
		"sip:alice@example.com": "sip:alice@example.com",
		"sip:jörg@example.com":  "sip:jörg@example.com",
		"sip:j\xf6rg@x":         "sip:j%F6rg@x",
		"\xff\x00":              "%FF\x00",
	} {
		got := text([]byte(in))
		if got != want || !utf8.ValidString(got) {
			t.Errorf("text(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestRecordsAreBounded: what a stranger writes does not fill the memory of all nodes: what a record would keep too much of is refused, or cut.
func TestRecordsAreBounded(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	req := func(from, to, tag, id, uri string) string {
		return fmt.Sprintf("INVITE %s SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.31:5060;branch=z9hG4bKlong;rport\r\nMax-Forwards: 70\r\nFrom: <%s>;tag=%s\r\nTo: <%s>\r\n"+
			"Call-ID: %s\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@10.0.0.31>\r\nContent-Length: 0\r\n\r\n", uri, from, tag, to, id)
	}
	const from, bobs = "sip:zoe@far.example", "sip:bob@example.com"
	for _, c := range []struct{ req, want string }{
		{req(from, bobs, "t", long(257), bobs), "400 Call-ID Longer Than 256 Bytes"},
		{req(from, bobs, long(257), "c", bobs), "400 Tag In From Longer Than 256 Bytes"},
		{req("sip:"+long(500)+"@far.example", bobs, "t", "c", bobs), "400 URI In From Longer Than 512 Bytes"},
		{req(from, "sip:"+long(501)+"@example.com", "t", "c", bobs), "400 URI In To Longer Than 512 Bytes"},
		{req(from, bobs, "t", "c", "sip:"+long(501)+"@example.com"), "414 Request-URI Too Long"},
	} {
		w := newTestCall(t)
		w.in(1, alice.addr, c.req)
		w.want(alice.addr + " " + c.want)
	}
	w := newTestCall(t)
	w.in(1, alice.addr, req("sip:"+long(496)+"@far.example", bobs, long(256), long(256), bobs))
	invite := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	ok := strings.Replace(bob.answer(invite, 200), "tag=bob-tag", "tag="+long(5000), 1)
	ok = strings.Replace(ok, "Contact: <sip:bob@"+bob.addr+">", "Contact: <sip:"+long(5000)+"@"+bob.addr+">", 1)
	w.in(1, bob.addr, strings.Replace(ok, "Record-Route: ", "Record-Route: <sip:"+long(5000)+"@10.9.9.9;lr>, ", 1))
	w.take()
	row := w.cl.m.Call(1)
	if l := &row.Legs[0]; row.State != pb.CallState_CALL_ANSWERED || len(l.ToTag) != 256 || l.Contact != "" || l.Routes != "" || len(row.Dialogs[0]) != 256 {
		t.Errorf("%v: a tag of %d, a Contact of %d, Routes of %d bytes", row.State, len(l.ToTag), len(l.Contact), len(l.Routes))
	}
	w2 := newTestCall(t)
	w2.in(1, alice.addr, alice.request("INVITE", bobs, "c1", 1, "c1", ""))
	invite2 := w2.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w2.in(1, bob.addr, strings.Replace(bob.answer(invite2, 200), "Contact: <sip:bob@", "Contact: <sip:"+long(512)+"@", 1))
	w2.take()
	if l := &w2.cl.m.Call(1).Legs[0]; l.Contact != "" || l.ToTag != "bob-tag" {
		t.Errorf("a Contact of %d bytes is kept, and a tag of %q", len(l.Contact), l.ToTag)
	}
	// It is ended by the tag that is kept of it.
	end := alice.request("BYE", "sip:bob@"+bob.addr, long(256), 2, "bye", "<"+bobs+">;tag="+long(5000), routeSet(strings.Replace(invite, "\r\n\r\n", "\r\n\r\n", 1), false)...)
	end = strings.Replace(end, "<sip:alice@example.com>;tag=alice-tag", "<sip:"+long(496)+"@far.example>;tag="+long(256), 1)
	w.in(1, alice.addr, end)
	bye := w.want(bob.addr + " BYE sip:bob@" + bob.addr)[0]
	w.in(1, bob.addr, bob.answer(bye, 200))
	if row = w.cl.m.Call(1); row.State != pb.CallState_CALL_ENDED {
		t.Errorf("after the BYE: %v", row.State)
	}
}
