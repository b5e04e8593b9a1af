package port

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// pair is a connection between two ends on loopback.
func pair(t *testing.T) (a, b *conn) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	for c, to := range map[*net.TCPConn]**conn{dialled: &a, accepted: &b} {
		if *to, err = newConn(c); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	return a, b
}

// TestConnCarries: much more than the kernel's buffers hold arrives whole, both ways at once, and then the end.
func TestConnCarries(t *testing.T) {
	a, b := pair(t)
	sent := make([]byte, 16<<20)
	_, _ = rand.Read(sent) // never fails: crypto/rand
	var all sync.WaitGroup
	for _, c := range []*conn{a, b} {
		all.Go(func() {
			n, err := c.Write(sent)
			if n != len(sent) || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
			if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("read %d bytes of %d, %v", len(got), len(sent), err)
			}
		})
	}
	all.Wait()
}

// TestConnEnds: who waits is woken by a deadline and by Close, and an error of the kernel says what failed.
func TestConnEnds(t *testing.T) {
	a, b := pair(t)
	if err := a.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := a.Read(make([]byte, 1))
	var timeout net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("after its deadline a read says %v", err)
	}
	if err := a.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	woken := make(chan error, 1)
	go func() {
		_, err := a.Read(make([]byte, 1))
		woken <- err
	}()
	if err := b.Conn.(*net.TCPConn).SetLinger(0); err != nil { // the other end resets
		t.Fatal(err)
	}
	_ = b.Close()
	if err := <-woken; err == nil || err == io.EOF {
		t.Errorf("a connection that was reset reads %v", err)
	}
	if _, err := a.Write([]byte("x")); err == nil {
		t.Error("wrote on a connection that was reset")
	}
	c, _ := pair(t)
	go func() {
		_, err := c.Read(make([]byte, 1))
		woken <- err
	}()
	_ = c.Close()
	if err := <-woken; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a connection that was closed here reads %v", err)
	}
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("reading nothing: %d, %v", n, err)
	}
}
