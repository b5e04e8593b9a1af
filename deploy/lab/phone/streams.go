package phone

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How a phone goes about connections.
const (
	queued     = 256                    // messages that wait for a connection; more are dropped
	dialTime   = 3 * time.Second        // for one attempt, TLS handshake included
	dialAgain  = 200 * time.Millisecond // between attempts
	dialGiveUp = 30 * time.Second       // after which what waits is dropped: its transaction is over
	maxMessage = 65536
)

// Dialer makes a connection to a VIP, ready for messages.
type Dialer func(ctx context.Context, to netip.AddrPort) (net.Conn, error)

// Streams is how a phone with TCP or TLS reaches its VIPs: one connection to each, made when there is something to send, and again
// when it has broken. It reads and writes whole messages, so an Endpoint takes it for a Conn. Safe for concurrent use.
type Streams struct {
	transport string
	local     netip.AddrPort
	dial      Dialer
	in        chan inbound
	ctx       context.Context
	stop      context.CancelFunc
	running   sync.WaitGroup

	mu     sync.Mutex
	conns  map[netip.AddrPort]*stream
	broken func(netip.AddrPort)
}

type inbound struct {
	data []byte
	from netip.AddrPort
}

// stream is one connection, or the attempt at one.
type stream struct {
	to    netip.AddrPort
	out   chan []byte
	ended chan struct{} // closed when it has broken
}

// NewStreams is a phone's transport, TCP or TLS by name. local is what the phone calls itself by in Via and Contact; nothing listens
// there, as with a phone behind a NAT.
func NewStreams(transport string, local netip.AddrPort, dial Dialer) *Streams {
	s := &Streams{transport: transport, local: local, dial: dial, in: make(chan inbound, queued), conns: map[netip.AddrPort]*stream{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Transport is the name in Via.
func (s *Streams) Transport() string { return s.transport }

// OnBreak sets who is told that the connection to a VIP has broken. To be called before the first message.
func (s *Streams) OnBreak(fn func(netip.AddrPort)) { s.broken = fn }

// LocalAddr is what the phone calls itself by.
func (s *Streams) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(s.local) }

// ReadFromUDPAddrPort returns the next message, and which VIP it came from.
func (s *Streams) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case p := <-s.in:
		return copy(b, p.data), p.from, nil
	case <-s.ctx.Done():
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

// WriteToUDPAddrPort sends a message to a VIP, over the connection there is or a new one. It does not block.
func (s *Streams) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return 0, net.ErrClosed
	}
	c := s.conns[to]
	if c == nil {
		c = &stream{to: to, out: make(chan []byte, queued), ended: make(chan struct{})}
		s.conns[to] = c
		s.running.Go(func() { s.serve(c) })
	}
	select {
	case c.out <- append([]byte(nil), b...):
		return len(b), nil
	default:
		return 0, fmt.Errorf("send to %v: %d messages wait already", to, queued)
	}
}

// Close ends every connection.
func (s *Streams) Close() error {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

// serve is a connection's life: made, used, broken.
func (s *Streams) serve(c *stream) {
	conn := s.connect(c.to)
	if conn == nil {
		s.forget(c)
		return
	}
	defer context.AfterFunc(s.ctx, func() { _ = conn.Close() })() // unblocks both ways; how it ended no longer matters
	var writing sync.WaitGroup
	writing.Go(func() { c.write(conn) })
	s.read(c, conn)
	close(c.ended)
	_ = conn.Close() // it is broken already
	writing.Wait()
	s.forget(c)
	if s.broken != nil && s.ctx.Err() == nil {
		s.broken(c.to)
	}
}

// forget drops a connection. Responses that were not sent go over the next one (RFC 3261 §18.2.2); what becomes of requests is for
// their transactions to say.
func (s *Streams) forget(c *stream) {
	s.mu.Lock()
	delete(s.conns, c.to)
	s.mu.Unlock()
	for {
		select {
		case b := <-c.out:
			if bytes.HasPrefix(b, []byte("SIP/2.0 ")) {
				_, _ = s.WriteToUDPAddrPort(b, c.to) // a full queue loses it, as the network may
			}
		default:
			return
		}
	}
}

// connect tries until there is a connection; nil when the phone has been switched off, or after long enough.
func (s *Streams) connect(to netip.AddrPort) net.Conn {
	end := time.Now().Add(dialGiveUp)
	for time.Now().Before(end) {
		ctx, cancel := context.WithTimeout(s.ctx, dialTime)
		conn, err := s.dial(ctx, to)
		cancel()
		if err == nil {
			return conn
		}
		select {
		case <-time.After(dialAgain):
		case <-s.ctx.Done():
			return nil
		}
	}
	return nil
}

func (c *stream) write(conn net.Conn) {
	for {
		select {
		case b := <-c.out:
			if _, err := conn.Write(b); err != nil {
				_ = conn.Close() // the reader tells of the break
				return
			}
		case <-c.ended:
			return
		}
	}
}

// read passes messages on until the connection breaks.
func (s *Streams) read(c *stream, conn net.Conn) {
	r := bufio.NewReaderSize(conn, maxMessage)
	for {
		msg, err := readMessage(r)
		if err != nil {
			return
		}
		select {
		case s.in <- inbound{msg, c.to}:
		case <-s.ctx.Done():
			return
		}
	}
}

var errTooLong = errors.New("message too long")

// readMessage takes one message off a stream, by its Content-Length (RFC 3261 §18.3); keep-alives before it are passed over (RFC 5626
// §3.5.1).
func readMessage(r *bufio.Reader) ([]byte, error) {
	var msg []byte
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" && len(msg) == 0 {
			continue
		}
		if msg = append(msg, line...); len(msg) > maxMessage {
			return nil, errTooLong
		}
		if text == "" {
			break
		}
		name, value, _ := strings.Cut(text, ":")
		if name = strings.TrimSpace(name); strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "l") {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil || length < 0 {
				return nil, fmt.Errorf("message with %q", text)
			}
		}
	}
	if len(msg)+length > maxMessage {
		return nil, errTooLong
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	return append(msg, body...), nil
}
