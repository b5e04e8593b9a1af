package sipcore

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"holdline/fsm/pb"
)

// TestLargest: messages of up to 64 KiB come through whole over real sockets, between datagrams and between streams.
func TestLargest(t *testing.T) {
	for _, c := range []struct {
		network string
		size    int
	}{{"udp", 65_000}, {"tcp", 65_000}} {
		l := newLab(t, 1)
		ctx := within(t)
		l.pool("callers", "c", "127.0.0.9", 1)
		got := make(chan string, 1)
		where := gatewayOn(t, c.network, got)
		l.ok(&pb.Command{Op: &pb.Command_PutPool{PutPool: &pb.PutPool{Pool: &pb.Pool{Name: "p", Algorithm: "round-robin"}}}})
		l.ok(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: &pb.Member{Pool: "p", Name: "m", Address: where, Transport: c.network}}}})
		l.ok(&pb.Command{Op: &pb.Command_PutRoute{PutRoute: &pb.PutRoute{Route: &pb.Route{Domain: "example.com", Pool: "p"}}}})
		var local net.Addr = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)}
		if c.network == "tcp" {
			local = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}
		}
		d := net.Dialer{LocalAddr: local}
		conn, err := d.DialContext(ctx, c.network, l.vip(0).String())
		if err != nil {
			t.Fatal(err)
		}
		head := "MESSAGE sip:0049123@example.com SIP/2.0\r\nVia: SIP/2.0/" + strings.ToUpper(c.network) + " 127.0.0.9;branch=z9hG4bKlarge\r\n" +
			"From: <sip:x@elsewhere.org>;tag=1\r\nTo: <sip:0049123@example.com>\r\nCall-ID: large\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\n"
		body := strings.Repeat("0123456789", c.size/10)
		body = body[:c.size-len(head)-len("Content-Length: 12345\r\n\r\n")]
		if _, err := io.WriteString(conn, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body)); err != nil {
			t.Fatal(err)
		}
		msg := receive(t, ctx, got)
		if !strings.HasPrefix(msg, "MESSAGE sip:0049123@"+where) || !strings.HasSuffix(msg, "\r\n\r\n"+body) {
			t.Errorf("%s: %d bytes, %.80q", c.network, len(msg), msg)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

// gatewayOn takes one message of the largest size, and returns where.
func gatewayOn(t *testing.T, network string, got chan<- string) (address string) {
	t.Helper()
	if network == "udp" {
		pc, err := net.ListenPacket("udp4", "127.0.0.8:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = pc.Close() })
		go func() {
			b := make([]byte, 1<<16)
			if n, _, err := pc.ReadFrom(b); err == nil {
				got <- string(b[:n])
			}
		}()
		return pc.LocalAddr().String()
	}
	ln, err := net.Listen("tcp4", "127.0.0.8:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		var b []byte
		for chunk := make([]byte, 1<<16); ; {
			n, err := c.Read(chunk)
			b = append(b, chunk[:n]...)
			if head, body, whole := strings.Cut(string(b), "\r\n\r\n"); whole {
				var length int
				i := strings.Index(head, "Content-Length: ")
				if _, scan := fmt.Sscanf(head[i:], "Content-Length: %d", &length); scan == nil && len(body) == length {
					got <- string(b)
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	return ln.Addr().String()
}
