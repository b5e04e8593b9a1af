package sipcore

import (
	"bytes"
	"fmt"
	"net"
	"testing"
	"time"
)

// The 100 to the caller is on the wire before the INVITE leaves over the link: else a quick callee's 200 may overtake it.
func TestTryingLeavesBeforeTheInvite(t *testing.T) {
	l := newLab(t, 2)
	l.pool("gw", fmt.Sprintf("127.0.0.1:%d", freePort(t)), "127.0.0.1/32", 1)
	caller, err := net.Dial("udp4", fmt.Sprintf("127.0.0.102:%d", l.port))
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	first := make(chan string, 1)
	tap := func(frame []byte) {
		if !bytes.Contains(frame, []byte("INVITE sip:")) {
			return
		}
		buf := make([]byte, 2048)
		said := "nothing"
		if err := caller.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			said = err.Error()
		} else if n, err := caller.Read(buf); err == nil {
			said = string(buf[:min(n, 11)])
		}
		select {
		case first <- said:
		default: // a retransmission
		}
	}
	l.links.tap.Store(&tap)
	local := caller.LocalAddr()
	fmt.Fprintf(caller, "INVITE sip:100@example.com SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKorder\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:100@example.com>\r\n"+
		"Call-ID: order\r\nCSeq: 1 INVITE\r\nContact: <sip:a@%s>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n", local, local)
	select {
	case said := <-first:
		if said != "SIP/2.0 100" {
			t.Errorf("when the INVITE left, the caller had %q; want the 100", said)
		}
	case <-time.After(10 * time.Second):
		t.Error("no INVITE went over the link")
	}
}
