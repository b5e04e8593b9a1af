package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Timers of RFC 3261 §17.1.1.2, and when a call that nobody answers is given up. It is less than Timer B, so that a round has an end.
const (
	timerA = 500 * time.Millisecond
	giveUp = 8 * time.Second
)

// outcome is what became of calls.
type outcome struct {
	Started, Completed, Refused, Failed int
	delays                              []time.Duration // from INVITE to 200, of those answered
	read                                int             // responses
	waited                              time.Duration   // of all of them in our own socket
}

// lag is how long responses waited for the caller on average.
func (o *outcome) lag() time.Duration { return o.waited / time.Duration(max(o.read, 1)) }

// percentile of the answer delays, 0 without any.
func (o *outcome) percentile(p float64) time.Duration {
	if len(o.delays) == 0 {
		return 0
	}
	d := slices.Sorted(slices.Values(o.delays))
	return d[min(int(p*float64(len(d))), len(d)-1)]
}

// call is one call under way.
type call struct {
	id      int
	began   time.Time
	sent    []byte // the request that waits for a response
	next    time.Time
	wait    time.Duration
	bye     bool
	answers bool // something was heard of the INVITE: it is not repeated
}

// caller makes calls of zero length and hangs up: INVITE, ACK, BYE, with retransmissions. One socket, one goroutine that
// reads, one that begins and repeats.
type caller struct {
	name string
	conn *net.UDPConn
	to   *net.UDPAddr
	user string // who is called

	mu    sync.Mutex
	calls map[int]*call
	last  int
	out   outcome
	idle  chan struct{} // one token for each call that ended, for closed loops
}

func newCaller(conn *net.UDPConn, to *net.UDPAddr, name, user string) *caller {
	c := &caller{name: name, conn: conn, to: to, user: user, calls: make(map[int]*call), idle: make(chan struct{}, 1<<16)}
	go c.read() // until the socket is closed
	return c
}

// take returns what became of calls since the last take. Calls under way count where they end.
func (c *caller) take() outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.out
	c.out = outcome{}
	return o
}

// open makes rate calls a second, whatever becomes of them, until ctx ends.
func (c *caller) open(ctx context.Context, rate float64) {
	const step, burst = 2 * time.Millisecond, 20 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	start, begun, repeat := time.Now(), 0, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			due := int(rate * now.Sub(start).Seconds())
			begun = max(begun, due-int(rate*burst.Seconds())-1) // what was missed is not made up for: it would be another load
			for ; begun < due; begun++ {
				c.begin()
			}
			if now.Sub(repeat) > 20*time.Millisecond {
				c.repeat(now)
				repeat = now
			}
		}
	}
}

// closed keeps n calls under way until ctx ends: the rate at which they complete is what the server can do.
func (c *caller) closed(ctx context.Context, n int) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range n {
		c.begin()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.idle:
			c.begin()
		case now := <-tick.C:
			c.repeat(now)
		}
	}
}

// drain repeats what is under way until all of it has ended.
func (c *caller) drain(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c.mu.Lock()
		n := len(c.calls)
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-c.idle:
		case now := <-tick.C:
			if n == 0 {
				return
			}
			c.repeat(now)
		}
	}
}

func (c *caller) begin() {
	c.mu.Lock()
	c.last++
	id := c.last
	now := time.Now()
	b := c.request("INVITE", id, "sip:"+c.user, "", "<sip:"+c.user+">", 1, "i")
	c.calls[id] = &call{id: id, began: now, sent: b, wait: timerA, next: now.Add(timerA)}
	c.out.Started++
	c.mu.Unlock()
	c.send(b)
}

func (c *caller) send(b []byte) {
	_, _ = c.conn.WriteToUDP(b, c.to) // what is lost is repeated; the socket is closed at the end
}

func (c *caller) repeat(now time.Time) {
	c.mu.Lock()
	var out [][]byte
	for id, x := range c.calls {
		switch {
		case now.Sub(x.began) > giveUp:
			c.out.Failed++
			c.ended(id)
		case now.After(x.next) && (x.bye || !x.answers):
			x.wait *= 2
			x.next = now.Add(x.wait)
			out = append(out, x.sent)
		}
	}
	c.mu.Unlock()
	for _, b := range out {
		c.send(b)
	}
}

// ended forgets a call; c.mu is held.
func (c *caller) ended(id int) {
	delete(c.calls, id)
	select {
	case c.idle <- struct{}{}:
	default: // nobody counts on them in an open loop
	}
}

func (c *caller) read() {
	b, oob := make([]byte, 65536), make([]byte, 64)
	for {
		n, oobn, _, _, err := c.conn.ReadMsgUDPAddrPort(b, oob)
		if err != nil {
			return
		}
		c.late(oob[:oobn])
		if out := c.response(b[:n]); out != nil {
			for _, m := range out {
				c.send(m)
			}
		}
	}
}

// late notes how long a response has waited for us: a caller that is behind does not measure the server.
func (c *caller) late(oob []byte) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) == 0 || len(msgs[0].Data) < 16 {
		return
	}
	b := msgs[0].Data
	stamp := time.Unix(int64(binary.NativeEndian.Uint64(b)), int64(binary.NativeEndian.Uint64(b[8:])))
	c.mu.Lock()
	c.out.read++
	c.out.waited += time.Since(stamp)
	c.mu.Unlock()
}

// response takes a response and returns what to send for it.
func (c *caller) response(b []byte) [][]byte {
	if len(b) < 12 || string(b[:8]) != "SIP/2.0 " {
		return nil
	}
	status, _ := strconv.Atoi(string(b[8:11]))
	idText, _, _ := bytes.Cut(headerOf(b, "Call-ID"), []byte("@"))
	id, err := strconv.Atoi(string(idText))
	if err != nil {
		return nil
	}
	invite := bytes.HasSuffix(headerOf(b, "CSeq"), []byte("INVITE"))
	to := string(headerOf(b, "To"))
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.calls[id]
	switch {
	case invite && status >= 300: // its ACK goes out for a retransmission too
		if x != nil {
			if status == 503 {
				c.out.Refused++
			} else {
				c.out.Failed++
			}
			c.ended(id)
		}
		return [][]byte{c.request("ACK", id, "sip:"+c.user, "", to, 1, "i")}
	case x == nil || status < 200:
		if x != nil {
			x.answers = true
		}
		return nil
	case invite:
		now := time.Now()
		contact := string(bytes.Trim(headerOf(b, "Contact"), "<>"))
		route := "Route: " + string(headerOf(b, "Record-Route")) + "\r\n"
		ack := c.request("ACK", id, contact, route, to, 1, "a")
		if x.bye {
			return [][]byte{ack}
		}
		c.out.delays = append(c.out.delays, now.Sub(x.began))
		x.bye, x.wait, x.next = true, timerA, now.Add(timerA)
		x.sent = c.request("BYE", id, contact, route, to, 2, "b")
		return [][]byte{ack, x.sent}
	default:
		c.out.Completed++
		c.ended(id)
		return nil
	}
}

func (c *caller) request(method string, id int, uri, route, to string, cseq int, branch string) []byte {
	local := c.conn.LocalAddr().String()
	contact := ""
	if method == "INVITE" {
		contact = "Contact: <sip:" + c.name + "@" + local + ">\r\n"
	}
	return fmt.Appendf(nil, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%s%d\r\nMax-Forwards: 70\r\n%sFrom: <sip:%s@flood.example>;tag=%s%d\r\nTo: %s\r\n"+
		"Call-ID: %d@%s\r\nCSeq: %d %s\r\n%sContent-Length: 0\r\n\r\n",
		method, uri, local, c.name, branch, id, route, c.name, c.name, id, to, id, c.name, cseq, method, contact)
}

// headerOf is the value of a header as Holdline and the gateway write it.
func headerOf(b []byte, name string) []byte {
	_, rest, ok := bytes.Cut(b, []byte("\r\n"+name+": "))
	if !ok {
		return nil
	}
	v, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return v
}
