package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"holdline/deploy/lab/netlab"
)

// registerUsers is how many users register in turn; sockets carry many users each, as a NAT would.
const (
	registerUsers   = 2000
	registerSockets = 4
)

// registrant is one user's state: the nonce it was given is used until the server calls it stale.
type registrant struct {
	name         string
	nonce, realm string
	cseq         int
	sent         time.Time
	first        time.Time
	tries        int
	waiting      bool
}

// registerLoad sends REGISTERs with digest at l.rate for l.time. Calls counts REGISTERs begun, OK the bindings accepted;
// 401 rounds are extra. A request without an answer is sent again after 500 ms (Timer E), and lost after 12 s.
func registerLoad(ctx context.Context, from *netlab.Box, target string, l load) (outcome, error) {
	var mu sync.Mutex
	var sum outcome
	var delays []float64
	errs := make(chan error, registerSockets)
	for i := range registerSockets {
		conn, err := dialFrom(from, target)
		if err != nil {
			return outcome{}, err
		}
		go func() {
			defer conn.Close()
			s := &registerSocket{conn: conn, local: conn.LocalAddr().String(), rate: l.rate / registerSockets}
			for u := i; u < registerUsers; u += registerSockets {
				s.users = append(s.users, &registrant{name: benchUser(u)})
			}
			err := s.run(ctx, l.time)
			mu.Lock()
			sum.Calls += s.o.Calls
			sum.OK += s.o.OK
			sum.Failed += s.o.Failed
			sum.Retransmissions += s.o.Retransmissions
			delays = append(delays, s.delays...)
			mu.Unlock()
			errs <- err
		}()
	}
	for range registerSockets {
		if err := <-errs; err != nil {
			return outcome{}, err
		}
	}
	sum.Rate = float64(sum.Calls) / l.time.Seconds()
	slices.Sort(delays)
	if n := len(delays); n > 0 {
		sum.P50, sum.P99 = delays[n/2], delays[n*99/100]
	}
	return sum, nil
}

func dialFrom(from *netlab.Box, target string) (conn net.Conn, err error) {
	err = from.Do(func() error {
		conn, err = net.Dial("udp4", target)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a socket to %s: %w", target, err)
	}
	return conn, conn.(*net.UDPConn).SetReadBuffer(8 << 20)
}

type registerSocket struct {
	conn   net.Conn
	local  string
	rate   int
	mu     sync.Mutex // guards all below: the sender and the reader share it
	users  []*registrant
	o      outcome
	delays []float64
}

func (s *registerSocket) run(ctx context.Context, d time.Duration) error {
	done := make(chan error, 1)
	go func() { done <- s.read() }()
	limit := rate.NewLimiter(rate.Limit(s.rate), 8)
	end := time.Now().Add(d)
	checked := time.Now()
	for next := 0; time.Now().Before(end); {
		if err := limit.Wait(ctx); err != nil {
			return err
		}
		if time.Since(checked) > 100*time.Millisecond {
			checked = time.Now()
			s.pending()
		}
		s.mu.Lock()
		for range s.users { // the next one that is not waiting
			u := s.users[next%len(s.users)]
			next++
			if !u.waiting {
				u.waiting, u.tries, u.first = true, 0, time.Now()
				s.o.Calls++
				s.send(u)
				break
			}
		}
		s.mu.Unlock()
	}
	deadline := time.Now().Add(13 * time.Second)
	for time.Now().Before(deadline) && s.pending() {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	if err := s.conn.SetReadDeadline(time.Now()); err != nil {
		return err
	}
	if err := <-done; err != nil {
		return err
	}
	for _, u := range s.users {
		if u.waiting {
			s.o.Failed++
		}
	}
	return nil
}

// pending sends again what has waited for 500 ms and tells whether anything still waits.
func (s *registerSocket) pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	some := false
	for _, u := range s.users {
		if !u.waiting {
			continue
		}
		if time.Since(u.first) > 12*time.Second {
			u.waiting = false
			s.o.Failed++
			continue
		}
		some = true
		if time.Since(u.sent) > 500*time.Millisecond {
			s.o.Retransmissions++
			u.cseq-- // the same request again
			s.send(u)
		}
	}
	return some
}

// send writes the user's REGISTER with the nonce it has, if any. s.mu is held.
func (s *registerSocket) send(u *registrant) {
	u.cseq++
	uri := "sip:" + benchDomain
	auth := ""
	if u.nonce != "" {
		ha1 := md5hex(u.name + ":" + u.realm + ":" + benchPassword)
		resp := md5hex(ha1 + ":" + u.nonce + ":" + md5hex("REGISTER:"+uri))
		auth = fmt.Sprintf("Authorization: Digest username=%q, realm=%q, nonce=%q, uri=%q, response=%q, algorithm=MD5\r\n", u.name, u.realm, u.nonce, uri, resp)
	}
	msg := fmt.Sprintf("REGISTER %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bK%s-%d\r\nFrom: <sip:%s@%s>;tag=%s\r\nTo: <sip:%s@%s>\r\nCall-ID: reg-%s-%s\r\n"+
		"CSeq: %d REGISTER\r\nContact: <sip:%s@%s>;expires=3600\r\nMax-Forwards: 70\r\n%sContent-Length: 0\r\n\r\n",
		uri, s.local, u.name, u.cseq, u.name, benchDomain, u.name, u.name, benchDomain, u.name, s.local, u.cseq, u.name, s.local, auth)
	u.sent = time.Now()
	_, _ = s.conn.Write([]byte(msg)) // what is not sent is sent again, and counted
}

func md5hex(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }

func (s *registerSocket) read() error {
	byName := make(map[string]*registrant, len(s.users))
	for _, u := range s.users {
		byName[u.name] = u
	}
	buf := make([]byte, 65536)
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				return nil
			}
			continue // ECONNREFUSED while the server is away: the retransmission counts it
		}
		s.answer(buf[:n], byName)
	}
}

// answer takes one response: the branch names user and CSeq.
func (s *registerSocket) answer(b []byte, byName map[string]*registrant) {
	branch := field(b, "branch=z9hG4bK", ";\r, ")
	name, num, ok := bytes.Cut(branch, []byte("-"))
	u := byName[string(name)]
	if !ok || u == nil || len(b) < 12 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !u.waiting || string(num) != fmt.Sprint(u.cseq) {
		return
	}
	switch string(b[8:11]) {
	case "200":
		u.waiting = false
		s.o.OK++
		s.delays = append(s.delays, float64(time.Since(u.first).Microseconds())/1000)
	case "401":
		u.tries++
		nonce, realm := challenge(b)
		if u.tries > 3 || nonce == "" {
			u.waiting = false
			s.o.Failed++
			return
		}
		u.nonce, u.realm = nonce, realm
		s.send(u)
	default:
		u.waiting = false
		s.o.Failed++
	}
}

// challenge takes nonce and realm of the MD5 challenge out of a 401.
func challenge(b []byte) (nonce, realm string) {
	for line := range bytes.Lines(b) {
		if !bytes.HasPrefix(bytes.ToLower(line), []byte("www-authenticate:")) {
			continue
		}
		if alg := field(line, "algorithm=", ",\r\n "); len(alg) > 0 && !bytes.EqualFold(bytes.Trim(alg, `"`), []byte("MD5")) {
			continue
		}
		return string(field(line, `nonce="`, `"`)), string(field(line, `realm="`, `"`))
	}
	return "", ""
}

// field returns what follows name up to any byte of end.
func field(b []byte, name, end string) []byte {
	_, rest, ok := bytes.Cut(b, []byte(name))
	if !ok {
		return nil
	}
	if i := bytes.IndexAny(rest, end); i >= 0 {
		return rest[:i]
	}
	return rest
}
