package transport

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdline/sipcore/wire"
)

func sipText(body string, headers ...string) string {
	var b strings.Builder
	b.WriteString("MESSAGE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\n" +
		"From: <sip:a@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: c1\r\nCSeq: 1 MESSAGE\r\n")
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n" + body)
	return b.String()
}

func lengthHeader(body string) string { return fmt.Sprintf("Content-Length: %d", len(body)) }

// frames feeds pieces to a framer and notes what comes out.
func frames(pieces ...[]byte) (out []string, err error) {
	var f framer
	var m wire.Msg
	for _, p := range pieces {
		for len(p) > 0 {
			n := copy(f.space(), p)
			f.filled(n)
			p = p[n:]
			for {
				kind, msg, err := f.next(&m)
				if err != nil {
					var fe *framingError
					if !errors.As(err, &fe) {
						return out, err
					}
					return append(out, fmt.Sprintf("error %d %s", fe.status, fe.reason)), err
				}
				if kind == frameMore {
					break
				}
				if kind == framePing {
					out = append(out, "ping")
				} else {
					out = append(out, string(msg))
				}
			}
		}
		if cap(f.buf) > 2*wire.MaxMessage {
			return out, fmt.Errorf("the buffer has grown to %d bytes", cap(f.buf))
		}
	}
	return out, nil
}

func TestFramerSplitAnywhere(t *testing.T) {
	body := "v=0\r\n\r\no=x\r\n"
	one := sipText(body, lengthHeader(body))
	two := sipText("", "l:\r\n 0")
	folded := sipText("xyz", "L : 3")
	bare := strings.ReplaceAll(sipText("abc", "Content-Length: 3"), "\r\n", "\n")
	stream := []byte("\r\n" + one + "\r\n\r\n" + two + folded + "\r\n\r\n\r\n\r\n\r\n" + bare + two)
	want := []string{one, "ping", two, folded, "ping", "ping", bare, two}
	check := func(where string, pieces ...[]byte) {
		t.Helper()
		got, err := frames(pieces...)
		if err != nil || strings.Join(got, "|") != strings.Join(want, "|") {
			t.Fatalf("%s: %v\n%q\nwant\n%q", where, err, got, want)
		}
	}
	check("whole", stream)
	for i := range stream {
		check(fmt.Sprint("split at ", i), stream[:i], stream[i:])
	}
	var single [][]byte
	for i := range stream {
		single = append(single, stream[i:i+1])
	}
	check("byte by byte", single...)
}

func TestFramerRandomSplits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var want []string
		for range rapid.IntRange(1, 4).Draw(t, "messages") {
			for range rapid.IntRange(0, 2).Draw(t, "pings") {
				stream = append(stream, "\r\n\r\n"...)
				want = append(want, "ping")
			}
			body := strings.Repeat("b\r\n\r\n", rapid.IntRange(0, 8000).Draw(t, "body"))
			m := sipText(body, "X: "+strings.Repeat("y", rapid.IntRange(0, 5000).Draw(t, "header")), lengthHeader(body))
			stream = append(stream, m...)
			want = append(want, m)
		}
		var pieces [][]byte
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), rapid.IntRange(1, 20000).Draw(t, "piece"))
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		got, err := frames(pieces...)
		if err != nil || strings.Join(got, "|") != strings.Join(want, "|") {
			t.Fatal(err, len(got), len(want))
		}
	})
}

func TestFramerFaults(t *testing.T) {
	for name, c := range map[string]struct{ stream, want string }{
		"no length":         {sipText("x"), "error 400 Missing Content-Length"},
		"two lengths":       {sipText("x", "Content-Length: 1", "l: 30"), "error 400 Duplicate Content-Length Header"},
		"not a number":      {sipText("x", "Content-Length: -1"), "error 400 Bad Content-Length Header"},
		"too long a body":   {sipText("x", "Content-Length: 65535"), "error 513 Message Too Large"},
		"endless headers":   {sipText("")[:100] + strings.Repeat("a", 2*maxHead), "error 0 headers of more than 32 KiB"},
		"many headers":      {sipText("", strings.Repeat("A:b\r\n", wire.MaxHeaders)+"l: 0"), "error 513 too many header lines"},
		"not SIP":           {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "error 0 not SIP"},
		"TLS on a TCP port": {"\x16\x03\x01\x02\x00\x01\n\n", "error 0 not SIP"},
	} {
		got, err := frames([]byte(c.stream))
		if err == nil || strings.Join(got, "|") != c.want {
			t.Errorf("%s: %q %v, want %q", name, got, err, c.want)
		}
	}
}

// FuzzFramer: however a stream is cut, the same comes out of it.
func FuzzFramer(f *testing.F) {
	f.Add([]byte(sipText("abc", "l: 3")+"\r\n\r\n"+sipText("", "Content-Length: 0")), uint16(7))
	f.Add([]byte("\r\n\r\r\n\n\r\n\r\n"), uint16(1))
	f.Fuzz(func(t *testing.T, stream []byte, step uint16) {
		var pieces [][]byte
		n := int(step)%97 + 1
		for rest := stream; len(rest) > 0; {
			k := min(len(rest), n)
			pieces = append(pieces, rest[:k])
			rest = rest[k:]
		}
		whole, err1 := frames(bytes.Clone(stream))
		cut, err2 := frames(pieces...)
		if (err1 == nil) != (err2 == nil) || strings.Join(whole, "|") != strings.Join(cut, "|") {
			t.Fatalf("whole %q %v\ncut %q %v", whole, err1, cut, err2)
		}
	})
}
