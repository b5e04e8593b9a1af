package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"

	"holdline/fsm/pb"
)

// conn is one stream connection. One goroutine reads; another writes while there is something to write, so nobody who sends
// waits for a slow peer.
type conn struct {
	s      *Streams
	flow   Flow       // Conn is its number; never changed once it is in the table
	epoch  uint64     // of the lease under which it began
	dialed bool       // by us
	source netip.Addr // that it counts for, unless we have dialed it: see sourceOf

	// Guarded by Streams.mu:
	proof      []string // dialed over TLS: the names of which the peer is to prove one, then that which it has proven; none: it need prove nothing
	alias      peerKey  // see Streams.Reuse
	listed     bool     // in Streams.unproven
	prev, next *conn

	// Of the goroutine that serves the connection; set before open, read by the writer after it:
	proven bool // has sent a whole message
	raw    *net.TCPConn
	rw     net.Conn // raw, or TLS over it
	ws     *websocket.Conn

	mu      sync.Mutex    // guards what follows; taken within no other lock of the package
	idle    time.Duration // between messages or pings
	waiting bool          // what is to come next is the first byte of a message or ping
	open    bool          // may be written to
	closed  bool
	writing bool // the writer runs
	queue   *[]byte
	ends    []int         // of the messages in queue
	drained chan struct{} // closed when the writer has nothing left; nil: nobody waits for that
}

// ending says why a connection was closed.
type ending uint8

const (
	endPeer      ending = iota // by the peer, or the network
	endClosed                  // the endpoint or the transport is closed
	endLost                    // the group has another owner
	endEvicted                 // it said nothing, and room was needed
	endIdle                    // nothing was said for too long, or a message took too long
	endFraming                 // what it sent is not SIP
	endSlow                    // it does not read what is written
	endHandshake               // TLS or WebSocket failed
	numEndings
)

// serve serves an accepted connection to its end.
func (c *conn) serve() {
	defer c.reset(endPeer)
	limit := time.Now().Add(c.s.o.Limits.First)
	if c.raw.SetDeadline(limit) != nil {
		return
	}
	if c.flow.Proto == pb.Transport_TLS || c.flow.Proto == pb.Transport_WSS {
		if !c.handshake(tls.Server(c.raw, c.s.server), limit) {
			return
		}
	}
	if c.flow.Proto == pb.Transport_WS || c.flow.Proto == pb.Transport_WSS {
		c.s.serveWeb(c)
		return
	}
	c.read(limit)
}

// handshake agrees on TLS.
func (c *conn) handshake(t *tls.Conn, limit time.Time) bool {
	ctx, cancel := context.WithDeadline(context.Background(), limit)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		c.s.log.Debug("TLS handshake failed", "remote", c.flow.Remote.String(), "err", err)
		c.reset(endHandshake)
		return false
	}
	c.rw = t
	return true
}

// read reads messages until the connection ends; the first must have come by limit.
func (c *conn) read(limit time.Time) {
	var f framer
	limits := &c.s.o.Limits
	begun := false // a message is under way, and limit is its deadline
	for {
		if c.await(limit, c.proven && !begun) != nil {
			return
		}
		n, err := c.rw.Read(f.space())
		if n > 0 {
			f.filled(n)
			more, said := c.frames(&f)
			if !more {
				return
			}
			switch {
			case !f.partial() && (said || begun): // between messages
				limit, begun = time.Now().Add(limits.Idle), false // at most: see await
			case f.partial() && (said || !begun && c.proven):
				limit, begun = time.Now().Add(limits.Message), true
			}
		}
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.reset(endIdle)
			}
			return
		}
	}
}

// await sets the deadline of the next read; between messages it is no later than the connection's own idle time allows.
func (c *conn) await(limit time.Time, between bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = between
	if between && c.idle > 0 {
		if own := time.Now().Add(c.idle); own.Before(limit) {
			limit = own
		}
	}
	return c.raw.SetReadDeadline(limit)
}

// keepAlive gives a connection an idle time of its own, from now on.
func (c *conn) keepAlive(idle time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = min(idle, c.s.o.Limits.Idle)
	if c.waiting && !c.closed {
		_ = c.raw.SetReadDeadline(time.Now().Add(c.idle)) // it fails if the connection is closed
	}
}

// frames handles all that is whole. more: read on; said: there was a message, or a ping of a peer known by then.
func (c *conn) frames(f *framer) (more, said bool) {
	w := c.s.work.Get().(*streamWork)
	defer c.s.work.Put(w)
	pongs := 0
	for {
		kind, data, err := f.next(&w.msg)
		var bad *framingError
		switch {
		case errors.As(err, &bad):
			c.s.log.Debug("SIP stream is out of step", "remote", c.flow.Remote.String(), "err", err)
			c.misframed(w, bad)
			return false, said
		case kind == frameMore:
			return true, said
		case kind == framePing:
			c.s.counters.pings.Add(1)
			if pongs++; pongs <= maxPongs && !c.send([]byte("\r\n")) {
				return false, said
			}
			said = said || c.proven
		default:
			said = true
			if !c.message(w, data) {
				return false, true
			}
		}
	}
}

// maxPongs is how many pings of one read are answered: a peer has no reason to send more at once.
const maxPongs = 4

// misframed answers the request at fault, if it can be answered, and closes (RFC 3261 §18.3).
func (c *conn) misframed(w *streamWork, bad *framingError) {
	if bad.status != 0 && len(bad.head) > 0 {
		c.handle(w, Packet{Data: bad.head, Fault: bad.status, Reason: bad.reason})
		c.linger()
	}
	c.reset(endFraming)
}

// linger has the answer reach the peer: closing while there is something to be read would take it back with a reset.
func (c *conn) linger() {
	const patience, bound = time.Second, 64 << 10
	c.drain()
	if c.raw.CloseWrite() == nil && c.raw.SetReadDeadline(time.Now().Add(patience)) == nil {
		_, _ = io.CopyN(io.Discard, c.raw, bound)
	}
}

// message hands a whole message to the handler; false: the connection is over.
func (c *conn) message(w *streamWork, data []byte) bool {
	if !c.proven {
		c.s.proven(c)
		c.proven = true
	}
	// A connection of before this node's lease says nothing to us: its peer has another by now, or will have.
	if !c.current() {
		c.reset(endLost)
		return false
	}
	c.s.counters.received.Add(1)
	c.handle(w, Packet{Data: data})
	return !c.isClosed()
}

// current reports whether this node has held the connection's group without a break since it began.
func (c *conn) current() bool {
	epoch, ok := c.s.o.Lease(c.flow.Group)
	return ok && epoch == c.epoch
}

func (c *conn) handle(w *streamWork, p Packet) {
	p.Flow, p.At = c.flow, MonotonicRaw()
	w.batch[0] = p
	c.s.o.Handler(w.out, w.batch[:])
	w.out.Flush()
	w.batch[0] = Packet{}
}

// readWeb reads the messages of a WebSocket, one in each of its messages (RFC 7118 §5).
func (c *conn) readWeb(limit time.Time) {
	ctx := context.Background() // deadlines are those of the connection below
	limits := &c.s.o.Limits
	for {
		if c.raw.SetReadDeadline(limit) != nil {
			return
		}
		_, r, err := c.ws.Reader(ctx)
		if err == nil {
			err = c.raw.SetReadDeadline(time.Now().Add(limits.Message))
		}
		var data []byte
		if err == nil {
			data, err = io.ReadAll(r)
		}
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.reset(endIdle)
			}
			return
		}
		w := c.s.work.Get().(*streamWork)
		ok := c.webMessage(w, data)
		c.s.work.Put(w)
		if !ok {
			return
		}
		limit = time.Now().Add(limits.Idle)
	}
}

func (c *conn) webMessage(w *streamWork, data []byte) bool {
	if classify(data) != kindKeepalive {
		return c.message(w, data)
	}
	c.s.counters.pings.Add(1)
	return string(data) != "\r\n\r\n" || c.send([]byte("\r\n"))
}

// reset closes a connection without delay or lingering. It may be called from any goroutine, and again.
func (c *conn) reset(why ending) {
	if c.shut(why) {
		if c.raw != nil {
			abort(c.raw)
		}
	}
}

// shut marks a connection as closed, once, and gives back what it held.
func (c *conn) shut(why ending) bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	c.closed = true
	queue, ends := c.queue, c.ends
	c.queue, c.ends = nil, nil
	c.mu.Unlock()
	c.s.leave(c)
	c.s.counters.ended[why].Add(1)
	c.failed(queue, ends)
	return true
}

func (c *conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}
