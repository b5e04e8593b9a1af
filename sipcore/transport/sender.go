package transport

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"holdline/fsm/pb"
)

const (
	queueLen  = 64      // datagrams per sendmmsg
	queueSize = 1 << 17 // bytes per sendmmsg; more than the largest datagram
)

// MaxDatagram is the largest UDP payload, in bytes, that IPv4 carries.
const MaxDatagram = 65507

// Sender collects datagrams and sends them with one system call per socket. One goroutine uses it at a time.
type Sender struct {
	u     *UDP
	index int        // which of an endpoint's sockets to use
	last  *txQueue   // where the last datagram went
	lastK key        // of last
	queue []*txQueue // with something in them
	free  []*txQueue
}

// Send queues a copy of data for the flow's peer; when enough is queued for one socket it is flushed. It never blocks.
// Over a stream it goes at once (see Streams). What cannot be sent is counted and forgotten: SIP over UDP repeats itself. Whether this node may send from the VIP is
// for the caller to know (the lease); the kernel's fence is behind it.
func (s *Sender) Send(to Flow, data []byte) {
	c := &s.u.counters
	if to.Proto != pb.Transport_UDP {
		if t := s.u.streams.Load(); t != nil {
			t.send(to, data)
		} else {
			c.sendNoSocket.Add(1)
		}
		return
	}
	if len(data) > MaxDatagram || !to.Remote.IsValid() || to.Remote.Port() == 0 {
		c.sendErrors.Add(1)
		return
	}
	q := s.queueFor(to.key())
	if q == nil {
		c.sendNoSocket.Add(1)
		return
	}
	if to.Remote.Addr().Is4() != q.sock.ep.Local.Addr().Is4() {
		c.sendErrors.Add(1)
		return
	}
	if q.n == queueLen || len(q.data)+len(data) > queueSize {
		q.flush()
	}
	q.add(to, data)
}

// queueFor returns the queue of the endpoint's socket, nil when it is not open.
func (s *Sender) queueFor(k key) *txQueue {
	if s.last != nil && s.lastK == k {
		return s.last
	}
	l := s.u.table.Load().open[k]
	if l == nil {
		return nil
	}
	sock := l.sockets[s.index%len(l.sockets)]
	var q *txQueue
	for _, o := range s.queue {
		if o.sock == sock {
			q = o
		}
	}
	if q == nil {
		if n := len(s.free); n > 0 {
			q, s.free = s.free[n-1], s.free[:n-1]
		} else {
			q = newQueue()
		}
		q.sock = sock
		s.queue = append(s.queue, q)
	}
	s.last, s.lastK = q, k
	return q
}

// Flush sends what is queued. The reader does it after each call of the handler.
func (s *Sender) Flush() {
	for i, q := range s.queue {
		q.flush()
		q.sock = nil
		s.free = append(s.free, q)
		s.queue[i] = nil
	}
	s.queue = s.queue[:0]
	s.last = nil
}

// txQueue holds the datagrams for one socket.
type txQueue struct {
	sock  *socket
	n     int
	data  []byte // copies, never grown: the iovecs point into it
	msgs  [queueLen]mmsghdr
	iovs  [queueLen]unix.Iovec
	names [queueLen]sockaddr
	write func(fd uintptr) // q.writeTo, kept so that flushing does not allocate
}

func newQueue() *txQueue {
	q := &txQueue{data: make([]byte, 0, queueSize)}
	q.write = q.writeTo
	for i := range q.msgs {
		h := &q.msgs[i].hdr
		h.Name = q.names[i].pointer()
		h.Iov = &q.iovs[i]
		h.SetIovlen(1)
	}
	return q
}

// add queues a copy of data; there is room.
func (q *txQueue) add(to Flow, data []byte) {
	i := q.n
	q.n++
	off := len(q.data)
	q.data = append(q.data, data...)
	q.msgs[i].hdr.Namelen = q.names[i].set(to.Remote)
	q.iovs[i].Base = nil
	if len(data) > 0 {
		q.iovs[i].Base = &q.data[off]
	}
	q.iovs[i].SetLen(len(data))
}

// payload is a queued datagram.
func (q *txQueue) payload(i int) []byte {
	v := &q.iovs[i]
	return unsafe.Slice(v.Base, v.Len)
}

// flush sends all of the queue. Control keeps the descriptor from being closed meanwhile, and unlike Write lets other
// goroutines send on the socket at the same time.
func (q *txQueue) flush() {
	if q.n == 0 {
		return
	}
	if err := q.sock.raw.Control(q.write); err != nil { // closed
		q.sock.u.counters.sendNoSocket.Add(uint64(q.n))
	}
	q.n, q.data = 0, q.data[:0]
}

// maxResend is how often a datagram is tried that fails. An ICMP error about an earlier one makes the next call fail that sends.
const maxResend = 3

// writeTo calls sendmmsg until every datagram was sent or given up. An error is reported for the first datagram of a
// call only; that one is skipped when it keeps failing. An error that ends a call early may have been one that was pending.
func (q *txQueue) writeTo(fd uintptr) {
	c := &q.sock.u.counters
	var sent, bytes uint64
	tries := 0
	for pos := 0; pos < q.n; {
		n, errno := sendmmsg(fd, q.msgs[pos:q.n])
		switch errno {
		case 0:
			for i := pos; i < pos+n; i++ {
				bytes += uint64(q.msgs[i].n)
			}
			sent += uint64(n)
			pos += n
			tries = 0
			if pos < q.n {
				q.sock.takeErrors(fd)
			}
			continue
		case unix.EINTR:
			continue
		case unix.EAGAIN: // the socket's buffer is full: nothing more goes now, and the reader does not wait
			c.sendFull.Add(uint64(q.n - pos))
			pos = q.n
			continue
		case unix.ENOBUFS:
			c.sendFull.Add(1)
		case unix.EPERM:
			c.sendFenced.Add(1)
		default:
			if tries++; tries <= maxResend && pending(errno) {
				q.sock.takeErrors(fd)
				continue
			}
			c.sendErrors.Add(1)
			q.sock.u.unreachable(q.names[pos].get(), errno, q.payload(pos))
		}
		pos++
		tries = 0
	}
	c.sent.Add(sent)
	c.sentBytes.Add(bytes)
}
