package netlab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestDialTCP(t *testing.T) {
	_, a, b := pair(t)
	from := netip.MustParseAddrPort("10.77.0.11:0")
	var l net.Listener
	if err := b.Do(func() (err error) {
		l, err = net.Listen("tcp4", "10.77.0.12:5060")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := a.DialTCP(ctx, from, netip.MustParseAddrPort("10.77.0.12:5060"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	b5 := make([]byte, 5)
	if n, err := other.Read(b5); err != nil || string(b5[:n]) != "hello" {
		t.Errorf("read %q, %v", b5[:n], err)
	}
	if _, err := a.DialTCP(ctx, from, netip.MustParseAddrPort("10.77.0.12:9")); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
	if err := b.Unplug(); err != nil {
		t.Fatal(err)
	}
	short, cancelShort := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancelShort()
	if _, err := a.DialTCP(short, from, netip.MustParseAddrPort("10.77.0.12:5060")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the cable is pulled: %v", err)
	}
}
