package sipcore

import (
	"bytes"
	"fmt"
	"net"
	"testing"
	"time"

	"holdline/fsm/pb"
)

// TestGatewayClosed: of two gateways the first is closed. The second has the call at once, whichever node owns the call and
// whichever the VIP that the closed one was called from.
func TestGatewayClosed(t *testing.T) {
	for name, callVIP := range map[string]int{"one node": 0, "two nodes": 1} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, callVIP+1)
			gw, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer gw.Close()
			l.pool("gw", fmt.Sprintf("127.0.0.1:%d", closedPort(t)), "127.0.0.9/32", 1) // m1, the first; called from the first node's VIP
			m2 := &pb.Member{Pool: "gw", Name: "m2", Address: gw.LocalAddr().String(), Sources: []string{"127.0.0.1/32"}, Group: 1}
			l.ok(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: m2}}})

			caller, err := net.Dial("udp4", l.vip(callVIP).String())
			if err != nil {
				t.Fatal(err)
			}
			defer caller.Close()
			start := time.Now()
			inviteFrom(t, caller, "closed")
			if err := gw.SetReadDeadline(start.Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 4096)
			n, err := gw.Read(b)
			if err != nil {
				t.Fatalf("the second gateway gets nothing: %v", err)
			}
			if !bytes.HasPrefix(b[:n], []byte("INVITE sip:100@")) {
				t.Fatalf("the second gateway got %.40q", b[:n])
			}
			if d := time.Since(start); d > time.Second { // silence is given up after 4 s, and 0.5 s is a retransmission
				t.Errorf("the second gateway was called after %v", d)
			} else {
				t.Logf("the second gateway was called after %v", d)
			}
			if c := l.counter("unreachable"); c != 1 {
				t.Errorf("%d legs given up for an ICMP error", c)
			}
			if callVIP == 1 && l.cores[0].udp.Stats().ICMPErrors == 0 {
				t.Error("the error did not come to the node that owns the VIP")
			}
		})
	}
}

// TestUnreachableFloods: errors that quote nothing of ours, or come too fast, cost little and are counted.
func TestUnreachableFloods(t *testing.T) {
	l := newLab(t, 1)
	c := l.cores[0]
	for range 100 {
		c.icmp.pace.Admits(1e9, icmpRate)
	}
	n := 0
	for range 3 * icmpRate {
		if c.icmp.pace.Admits(2e9, icmpRate) {
			n++
		}
	}
	if n != icmpRate {
		t.Errorf("%d errors in one second were let in, want %d", n, icmpRate)
	}
	if !c.icmp.pace.Admits(3e9, icmpRate) {
		t.Error("none are let in a second later")
	}
}

// counter is a counter's sum over all cores.
func (l *lab) counter(name string) (n uint64) {
	for _, c := range l.cores {
		c.Counters(func(have, _ string, v uint64) {
			if have == name {
				n += v
			}
		})
	}
	return n
}

// closedPort finds a UDP port of 127.0.0.1 at which nobody listens.
func closedPort(t *testing.T) int {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

// inviteFrom sends a call to a number.
func inviteFrom(t *testing.T, caller net.Conn, id string) {
	t.Helper()
	_, err := fmt.Fprintf(caller, "INVITE sip:100@example.com SIP/2.0\r\nVia: SIP/2.0/UDP %[1]s;branch=z9hG4bK%[2]s\r\nFrom: <sip:a@example.com>;tag=1\r\n"+
		"To: <sip:100@example.com>\r\nCall-ID: %[2]s\r\nCSeq: 1 INVITE\r\nContact: <sip:a@%[1]s>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
		caller.LocalAddr(), id)
	if err != nil {
		t.Fatal(err)
	}
}
