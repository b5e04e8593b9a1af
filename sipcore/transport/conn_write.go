package transport

import (
	"context"
	"errors"
	"os"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// send queues a copy of data; false: the connection is closed, or its peer reads too slowly.
func (c *conn) send(data []byte) bool {
	c.mu.Lock()
	switch {
	case c.closed:
		c.mu.Unlock()
		return false
	case c.queue == nil:
		c.queue = c.s.buffers.Get().(*[]byte)
	case len(*c.queue)+len(data) > c.s.o.Limits.Queue:
		c.mu.Unlock()
		c.reset(endSlow)
		return false
	}
	*c.queue = append(*c.queue, data...)
	c.ends = append(c.ends, len(*c.queue))
	if c.open && !c.writing {
		c.writing = true
		c.s.wg.Go(c.write)
	}
	c.mu.Unlock()
	return true
}

// opened lets a connection that was being opened be written to.
func (c *conn) opened() {
	c.mu.Lock()
	c.open = true
	if len(c.ends) > 0 && !c.writing && !c.closed {
		c.writing = true
		c.s.wg.Go(c.write)
	}
	c.mu.Unlock()
}

// drain waits until all is written, or writing has failed.
func (c *conn) drain() {
	c.mu.Lock()
	if !c.writing {
		c.mu.Unlock()
		return
	}
	drained := make(chan struct{})
	c.drained = drained
	c.mu.Unlock()
	<-drained
}

// write writes until the queue is empty.
func (c *conn) write() {
	for {
		c.mu.Lock()
		if c.closed || len(c.ends) == 0 {
			c.writing = false
			if c.drained != nil {
				close(c.drained)
				c.drained = nil
			}
			c.mu.Unlock()
			return
		}
		batch, ends := c.queue, c.ends
		c.queue, c.ends = nil, nil
		c.mu.Unlock()
		err := c.raw.SetWriteDeadline(time.Now().Add(c.s.o.Limits.Write))
		if err == nil {
			err = c.put(*batch, ends)
		}
		if err != nil {
			c.failed(batch, ends)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.reset(endSlow)
			}
			c.reset(endPeer)
			continue // to leave in order
		}
		if c.ws != nil {
			// The reader answers Ping and Close over the same socket (RFC 6455 §5.5), however late, and has 5 s for that.
			_ = c.raw.SetWriteDeadline(time.Time{}) // it fails if the connection is closed
		}
		c.s.counters.sent.Add(uint64(len(ends)))
		c.recycle(batch)
	}
}

// put writes messages: a stream takes them in one piece, a WebSocket one by one.
func (c *conn) put(batch []byte, ends []int) error {
	if c.ws == nil {
		_, err := c.rw.Write(batch)
		return err
	}
	from := 0
	for _, end := range ends {
		msg := batch[from:end]
		from = end
		kind := websocket.MessageText
		if !utf8.Valid(msg) {
			kind = websocket.MessageBinary
		}
		if err := c.ws.Write(context.Background(), kind, msg); err != nil {
			return err
		}
	}
	return nil
}

// failed tells of messages that were not sent.
func (c *conn) failed(batch *[]byte, ends []int) {
	if batch == nil {
		return
	}
	from := 0
	for _, end := range ends {
		c.s.undelivered(c.flow.Conn, (*batch)[from:end])
		from = end
	}
	c.recycle(batch)
}

// recycle keeps a buffer for others unless it has grown large.
func (c *conn) recycle(b *[]byte) {
	if cap(*b) <= maxKept {
		*b = (*b)[:0]
		c.s.buffers.Put(b)
	}
}

const maxKept = 16 << 10
