package main

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // RFC 2617
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// avalanche is all phones that register at one moment, as after a power cut: with digest, repeated as RFC 3261 §17.1.2 says, and
// again when a Retry-After is over.
type avalanche struct {
	conn *net.UDPConn
	to   *net.UDPAddr

	mu     sync.Mutex
	phones []*phone
	left   int
	busy   int // 503s that came
	done   chan struct{}
}

type phone struct {
	cseq      int
	challenge []byte
	sent      []byte
	next      time.Time
	wait      time.Duration
	ok        bool
}

// register lets n phones register and returns when all have, or ctx ends: how many have, and how often phones were sent away.
func register(ctx context.Context, conn *net.UDPConn, to *net.UDPAddr, n int) (registered, busy int) {
	a := &avalanche{conn: conn, to: to, left: n, done: make(chan struct{})}
	go a.read() // until the socket is closed
	now := time.Now()
	a.mu.Lock()
	for i := range n {
		p := &phone{}
		a.phones = append(a.phones, p)
		a.ask(i, p, now)
	}
	a.mu.Unlock()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
		case <-a.done:
		case now := <-tick.C:
			a.repeat(now)
			continue
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		return n - a.left, a.busy
	}
}

// ask sends a phone's next REGISTER; a.mu is held.
func (a *avalanche) ask(i int, p *phone, now time.Time) {
	p.cseq++
	p.sent = a.request(i, p)
	p.wait, p.next = timerA, now.Add(timerA)
	_, _ = a.conn.WriteToUDP(p.sent, a.to) // repeated if it is lost
}

func (a *avalanche) repeat(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, p := range a.phones {
		switch {
		case p.ok || now.Before(p.next):
		case p.sent == nil: // its Retry-After is over
			a.ask(i, p, now)
		default:
			p.wait = min(2*p.wait, 4*time.Second)
			p.next = now.Add(p.wait)
			_, _ = a.conn.WriteToUDP(p.sent, a.to)
		}
	}
}

func (a *avalanche) read() {
	b := make([]byte, 65536)
	for {
		n, err := a.conn.Read(b)
		if err != nil {
			return
		}
		a.response(b[:n])
	}
}

func (a *avalanche) response(b []byte) {
	id, _, _ := bytes.Cut(headerOf(b, "Call-ID"), []byte("@"))
	i, err := strconv.Atoi(string(id))
	cseq, _, _ := bytes.Cut(headerOf(b, "CSeq"), []byte(" "))
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil || i < 0 || i >= len(a.phones) || len(b) < 12 {
		return
	}
	p := a.phones[i]
	if p.ok || p.sent == nil || string(cseq) != strconv.Itoa(p.cseq) {
		return // repeated, or late
	}
	switch string(b[8:11]) {
	case "200":
		p.ok = true
		if a.left--; a.left == 0 {
			close(a.done)
		}
	case "401":
		if p.challenge = md5Challenge(b); p.challenge != nil {
			a.ask(i, p, time.Now())
		}
	case "503":
		after, err := strconv.Atoi(string(headerOf(b, "Retry-After")))
		if err != nil {
			after = 1
		}
		a.busy++
		p.sent, p.next = nil, time.Now().Add(time.Duration(after)*time.Second)
	}
}

// md5Challenge is the nonce of the challenge that asks for MD5.
func md5Challenge(b []byte) []byte {
	for line := range bytes.SplitSeq(b, []byte("\r\n")) {
		if bytes.HasPrefix(line, []byte("WWW-Authenticate:")) && bytes.Contains(line, []byte("algorithm=MD5")) {
			_, rest, _ := bytes.Cut(line, []byte(`nonce="`))
			nonce, _, ok := bytes.Cut(rest, []byte(`"`))
			if ok {
				return bytes.Clone(nonce)
			}
		}
	}
	return nil
}

func hash(parts ...string) string {
	sum := md5.Sum([]byte(strings.Join(parts, ":"))) //nolint:gosec // RFC 2617
	return hex.EncodeToString(sum[:])
}

func (a *avalanche) request(i int, p *phone) []byte {
	local, user, uri, auth := a.conn.LocalAddr().String(), userName(i), "sip:"+domain, ""
	if p.challenge != nil {
		nonce := string(p.challenge)
		r := hash(hash(user, domain, password), nonce, "00000001", "c", "auth", hash("REGISTER", uri))
		auth = fmt.Sprintf("Authorization: Digest username=%q, realm=%q, nonce=%q, uri=%q, response=%q, algorithm=MD5, qop=auth, nc=00000001, cnonce=\"c\"\r\n",
			user, domain, nonce, uri, r)
	}
	return fmt.Appendf(nil, "REGISTER %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKr%d-%d\r\nMax-Forwards: 70\r\nFrom: <sip:%s@%s>;tag=r\r\nTo: <sip:%s@%s>\r\n"+
		"Call-ID: %d@avalanche\r\nCSeq: %d REGISTER\r\nContact: <sip:%s@%s>\r\nExpires: 600\r\n%sContent-Length: 0\r\n\r\n",
		uri, local, i, p.cseq, user, domain, user, domain, i, p.cseq, user, local, auth)
}
