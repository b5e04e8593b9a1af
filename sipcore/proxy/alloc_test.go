package proxy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"holdline/sipcore/txn"
)

// TestRelayAllocatesNothing: what is relayed without a command costs no heap in steady state: provisional responses, a 2xx that comes again,
// its ACK, and requests in the dialog with their responses.
func TestRelayAllocatesNothing(t *testing.T) {
	if raced {
		t.Skip("the race detector makes pools forget")
	}
	c := newBenchCall(t)
	const distinct = 256
	msgs := c.script(0)
	invite, ringing, ok, ack := msgs[0], msgs[2], msgs[3], msgs[4]
	gw := phone{"gw0", "10.0.0.21:5080"}
	restart := func() {
		c.now += 4 * txn.TimerB
		c.s.Advance(c.v, c.now)
		if n := c.s.Len(); n != 0 {
			t.Fatalf("%d transactions left", n)
		}
		c.env.number = 0
		c.in1("a", invite)
	}

	// INFOs are made once, as their responses name branches of ours, which are the same each time.
	restart()
	c.in1("b", ok)
	c.in1("a", ack)
	var infos, answers [distinct][]byte
	routes := routesOf(string(ok))
	for i := range distinct {
		infos[i] = slices.Clone(c.request("INFO", "sip:gw0@10.0.0.21:5080", fmt.Sprintf("n%d-", i), ";tag=gw0-tag", routes, 10+i))
		c.in1("a", infos[i])
		answers[i] = []byte(gw.answer(string(c.env.last), 200))
		c.in1("b", answers[i])
	}

	restart()
	none := func(what string, sent int, fn func()) {
		t.Helper()
		fn() // what is made once
		before := c.env.sent
		const runs = distinct
		allocs := testing.AllocsPerRun(runs, fn)
		if got := c.env.sent - before; got != sent*(runs+1) {
			t.Errorf("%s: %d messages sent in %d runs, want %d in each", what, got, runs+1, sent)
		}
		if allocs != 0 {
			t.Errorf("%s: %.1f allocations", what, allocs)
		}
	}
	none("180", 1, func() { c.in1("b", ringing) })
	none("INVITE again", 1, func() { c.in1("a", invite) })
	c.in1("b", ok)
	none("200 again, and its ACK", 2, func() { c.in1("b", ok); c.in1("a", ack) })
	i := 0
	info := func() {
		c.in1("a", infos[i%distinct])
		c.in1("b", answers[i%distinct])
		if i++; i%distinct == 0 { // each is a transaction of its own until the first ones have ended
			c.now += int64(time.Minute)
			c.s.Advance(c.v, c.now)
		}
	}
	for range distinct {
		info()
	}
	none("INFO and its 200", 2, info)

	// To the phone, which is no gateway's side: where it goes is looked at.
	from, to := "From: "+header(string(ok), "To")[0]+"\r\n", "To: "+header(string(ok), "From")[0]+"\r\n"
	for i := range distinct {
		infos[i] = fmt.Appendf(nil, "INFO sip:alice@10.0.0.31:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.21:5080;branch=z9hG4bKup%d\r\nMax-Forwards: 70\r\n%s%s%s"+
			"Call-ID: %s\r\nCSeq: %d INFO\r\nContent-Length: 0\r\n\r\n", i, from, to, routes, header(string(ok), "Call-ID")[0], 10+i)
		c.in1("b", infos[i])
		answers[i] = []byte(alice.answer(string(c.env.last), 200))
		c.in1("a", answers[i])
	}
	c.now += int64(time.Minute)
	c.s.Advance(c.v, c.now)
	i = 0
	up := func() {
		c.in1("b", infos[i%distinct])
		c.in1("a", answers[i%distinct])
		if i++; i%distinct == 0 {
			c.now += int64(time.Minute)
			c.s.Advance(c.v, c.now)
		}
	}
	for range distinct {
		up()
	}
	none("the callee's INFO and its 200", 2, up)
}
