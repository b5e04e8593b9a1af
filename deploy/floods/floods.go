package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// flood is one way of misbehaving. It runs until ctx ends and returns how much it has sent or opened.
type flood struct {
	name string
	what string // one line for the report
	run  func(ctx context.Context, l *lab) (int64, error)
}

func floods() []flood {
	return []flood{
		{"junk", "datagrams of random octets, 20 000/s", func(ctx context.Context, l *lab) (int64, error) {
			return l.datagrams(ctx, attackerAddr, 20_000, func(i int) []byte { return junk(i, 400) })
		}},
		{"almost SIP", "INVITEs with a few octets changed, 10 000/s", func(ctx context.Context, l *lab) (int64, error) {
			return l.datagrams(ctx, attackerAddr, 10_000, func(i int) []byte { return changed(stranger(i, "192.0.2.1:5060", ""), i) })
		}},
		{"giant headers", "INVITEs of 60 KB: one long header, 1 000 short ones, or 2 000 Vias in turn, 300/s", func(ctx context.Context, l *lab) (int64, error) {
			return l.datagrams(ctx, attackerAddr, 300, giant)
		}},
		{"100 000 sources", "INVITEs of strangers, each from an address and port of its own, 5 000/s", sources},
		{"half-open TCP", "connections that never say anything, up to 3 000", func(ctx context.Context, l *lab) (int64, error) {
			return l.connections(ctx, 3000, []uint16{5060, 5061, 5062, 5063}, nil)
		}},
		{"slow-loris", "TLS, WebSocket and TCP connections that send an octet now and then, up to 1 000", func(ctx context.Context, l *lab) (int64, error) {
			return l.connections(ctx, 1000, []uint16{5061, 5062, 5060}, loris)
		}},
	}
}

// longCalls are what a caller who is trusted can fill the memory with: they ring, and their INVITEs are kept all the while.
func longCalls(ctx context.Context, l *lab) (int64, error) {
	body := bytes.Repeat([]byte("x"), 40_000)
	return l.datagrams(ctx, callerAddr, 1000, func(i int) []byte {
		head := bytes.Replace(stranger(i, callerAddr+":5060", ""), []byte(" sip:"), []byte(" sip:"+ringUser), 1)
		head, _ = bytes.CutSuffix(head, []byte("Content-Length: 0\r\n\r\n"))
		return append(fmt.Appendf(head, "Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n", len(body)), body...)
	})
}

// datagrams sends what text makes at a rate, from one socket.
func (l *lab) datagrams(ctx context.Context, from string, rate float64, text func(int) []byte) (int64, error) {
	conn, err := l.udp(from, 0)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return paced(ctx, rate, func(i int) error {
		_, err := conn.WriteToUDP(text(i), l.vip(5060))
		if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ECONNREFUSED) {
			return nil // the next one may go
		}
		return err
	})
}

// paced calls do at a rate until ctx ends.
func paced(ctx context.Context, rate float64, do func(int) error) (int64, error) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	start, n := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return int64(n), nil
		case now := <-tick.C:
			for due := int(rate * now.Sub(start).Seconds()); n < due; n++ {
				if err := do(n); err != nil {
					return int64(n), err
				}
			}
		}
	}
}

func junk(i, size int) []byte {
	b := make([]byte, size-i%100)
	_, _ = rand.Read(b) // never fails
	return b
}

// stranger is an INVITE of somebody whom nobody knows, to a number.
func stranger(i int, local, headers string) []byte {
	return fmt.Appendf(nil, "INVITE sip:%d@flood.example SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKs%d\r\n%sMax-Forwards: 70\r\nFrom: <sip:s%d@flood.example>;tag=s%d\r\n"+
		"To: <sip:%d@flood.example>\r\nCall-ID: s%d\r\nCSeq: 1 INVITE\r\nContact: <sip:s@%s>\r\nContent-Length: 0\r\n\r\n", i, local, i, headers, i, i, i, i, local)
}

// changed overwrites a few octets.
func changed(b []byte, i int) []byte {
	for k := range 1 + i%5 {
		b[(i*7919+k*104729)%len(b)] = byte(i>>(k%8)) ^ 0x5a
	}
	return b
}

// giant is an INVITE of nearly the largest datagram.
func giant(i int) []byte {
	const room = 58_000
	var h string
	switch i % 3 {
	case 0:
		h = "Subject: " + strings.Repeat("x", room) + "\r\n"
	case 1:
		h = strings.Repeat("X-"+strings.Repeat("y", 20)+": "+strings.Repeat("z", 30)+"\r\n", room/58)
	default:
		h = strings.Repeat("v: SIP/2.0/UDP 192.0.2.1\r\n", room/26)
	}
	return stranger(i, attackerAddr+":5060", h)
}

// sources sends INVITEs with 100 000 source addresses and ports in turn. Answers find their way back to the attacker's box, which
// has nobody who listens.
func sources(ctx context.Context, l *lab) (int64, error) {
	fd := -1
	err := l.peers.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("open a raw socket: %w", err)
	}
	defer unix.Close(fd)
	to := &unix.SockaddrInet4{Addr: netip.MustParseAddr(vipAddr).As4()}
	return paced(ctx, 5000, func(i int) error {
		from := netip.AddrFrom4([4]byte{10, 128, byte(i % 100_000 >> 8), byte(i % 100_000)})
		if i%100_000 >= 1<<16 {
			from = netip.AddrFrom4([4]byte{10, 129, byte(i % 100_000 >> 8), byte(i % 100_000)})
		}
		port := uint16(1024 + i%60_000)
		b := ipDatagram(from, port, netip.MustParseAddr(vipAddr), 5060, stranger(i, netip.AddrPortFrom(from, port).String(), ""))
		if err := unix.Sendto(fd, b, 0, to); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return fmt.Errorf("send from %v: %w", from, err)
		}
		return nil
	})
}

// ipDatagram is an IPv4 packet of a UDP datagram without a checksum, which UDP over IPv4 may lack.
func ipDatagram(from netip.Addr, fromPort uint16, to netip.Addr, toPort uint16, payload []byte) []byte {
	b := make([]byte, 28, 28+len(payload))
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(b[2:], uint16(28+len(payload)))
	copy(b[12:16], from.AsSlice())
	copy(b[16:20], to.AsSlice())
	binary.BigEndian.PutUint16(b[20:], fromPort)
	binary.BigEndian.PutUint16(b[22:], toPort)
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(payload)))
	return append(b, payload...)
}

// connections opens connections to the ports in turn, as fast as 50 at a time go, and keeps up to limit of them open; those that the server
// ends are replaced. speak, if any, has one connection to itself.
func (l *lab) connections(ctx context.Context, limit int, ports []uint16, speak func(context.Context, net.Conn, uint16)) (int64, error) {
	var n atomic.Int64
	var all sync.WaitGroup
	dialing, open := make(chan struct{}, 50), make(chan struct{}, limit)
	for ctx.Err() == nil {
		select {
		case open <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		dialing <- struct{}{}
		port := ports[int(n.Add(1))%len(ports)]
		all.Go(func() {
			defer func() { <-open }()
			dctx, cancel := context.WithTimeout(ctx, 3*time.Second)
			c, err := l.peers.DialTCP(dctx, netip.AddrPortFrom(netip.MustParseAddr(attackerAddr), 0), netip.AddrPortFrom(netip.MustParseAddr(vipAddr), port))
			cancel()
			<-dialing
			if err != nil {
				return // refused or too busy: the server's right
			}
			defer c.Close()
			if speak != nil {
				speak(ctx, c, port)
				return
			}
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			_, _ = c.Read(make([]byte, 1)) // until either side ends it
		})
	}
	all.Wait()
	return n.Load(), nil
}

// loris begins what the port is for and goes on with an octet every 200 ms.
func loris(ctx context.Context, c net.Conn, port uint16) {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	w := c
	text := string(stranger(1, attackerAddr+":5060", ""))
	switch port {
	case 5061:
		t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: "flood.example"}) //nolint:gosec // the peer is the one under test
		if t.HandshakeContext(ctx) != nil {
			return
		}
		w = t
	case 5062:
		text = "GET / HTTP/1.1\r\nHost: flood.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := range len(text) {
		if _, err := w.Write([]byte{text[i]}); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
