package netlab

import (
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"holdline/deploy/lab/userns"
)

func TestMain(m *testing.M) {
	userns.ForTests()
	goleak.VerifyTestMain(m)
}

func pair(t *testing.T) (*Network, *Box, *Box) {
	t.Helper()
	n, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	a, err := n.AddBox("a", 1, netip.MustParsePrefix("10.77.0.11/24"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := n.AddBox("b", 2, netip.MustParsePrefix("10.77.0.12/24"))
	if err != nil {
		t.Fatal(err)
	}
	return n, a, b
}

func listen(t *testing.T, b *Box, addr string) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	err := b.Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// reaches sends until something that it sent itself arrives, or the deadline passes: what was sent before may still be queued.
func reaches(t *testing.T, from, to *net.UDPConn, patience time.Duration) bool {
	t.Helper()
	mine, buf := rand.Text(), make([]byte, 64)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if _, err := from.WriteTo([]byte(mine), to.LocalAddr()); err != nil {
			t.Log("send:", err)
		}
		if err := to.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		for {
			n, _, err := to.ReadFrom(buf)
			if err != nil {
				break
			}
			if string(buf[:n]) == mine {
				return true
			}
		}
	}
	return false
}

func TestCable(t *testing.T) {
	_, a, b := pair(t)
	ca, cb := listen(t, a, "10.77.0.11:4000"), listen(t, b, "10.77.0.12:4000")
	if !reaches(t, ca, cb, 3*time.Second) {
		t.Fatal("plugged in, but nothing arrives")
	}
	if err := b.Unplug(); err != nil {
		t.Fatal(err)
	}
	card, err := b.Links().LinkByName(Card)
	if err != nil {
		t.Fatal(err)
	}
	if card.Attrs().RawFlags&unix.IFF_LOWER_UP != 0 {
		t.Error("cable pulled, but the box still has a carrier")
	}
	if reaches(t, ca, cb, 100*time.Millisecond) {
		t.Error("cable pulled, but a datagram arrives")
	}
	if err := b.Plug(); err != nil {
		t.Fatal(err)
	}
	if !reaches(t, ca, cb, 3*time.Second) {
		t.Error("plugged back, but nothing arrives")
	}
}

func TestProcessesEndWithTheirSpace(t *testing.T) {
	n, a, b := pair(t)
	cmd := exec.Command("sleep", "300")
	if err := a.Start(cmd); err != nil {
		t.Fatal(err)
	}
	procs, err := a.Processes()
	if err != nil || len(procs) != 1 || procs[0].PID != cmd.Process.Pid {
		t.Fatalf("processes of a: %v, %v; want only %d", procs, err, cmd.Process.Pid)
	}
	if procs, err := b.Processes(); err != nil || len(procs) != 0 {
		t.Errorf("processes of b: %v, %v; want none", procs, err)
	}
	n.Close()
	if err := cmd.Wait(); err == nil {
		t.Error("the process ended by itself; want it killed")
	}
	if err := a.Do(func() error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("Do after Close: %v", err)
	}
}

func TestMainThreadStaysOutside(t *testing.T) {
	var before, after unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &before); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		s, err := NewSpace("x")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
	}
	if err := unix.Stat("/proc/self/ns/net", &after); err != nil {
		t.Fatal(err)
	}
	if before.Ino != after.Ino {
		t.Errorf("process %d moved to another namespace", os.Getpid())
	}
}
