package transport

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	batchSize   = 32    // datagrams per recvmmsg
	slotSize    = 65536 // the largest datagram and more
	controlSize = 64    // room for a time stamp and a drop count
	// turns is how many full batches a reader handles before it lets other goroutines run.
	turns = 16
)

// rxBatch is what one recvmmsg fills, and the collector for what is sent in answer. Readers take one when there is
// something to read, so memory follows the number of readers at work, not that of sockets.
type rxBatch struct {
	msgs    [batchSize]mmsghdr
	iovs    [batchSize]unix.Iovec
	names   [batchSize]sockaddr
	control [batchSize][controlSize]byte
	packets [batchSize]Packet
	data    []byte
	out     Sender
}

func newBatch(u *UDP) *rxBatch {
	b := &rxBatch{data: make([]byte, batchSize*slotSize)}
	b.out.u = u
	for i := range b.msgs {
		b.iovs[i].Base = &b.data[i*slotSize]
		b.iovs[i].SetLen(slotSize)
		h := &b.msgs[i].hdr
		h.Name = b.names[i].pointer()
		h.Iov = &b.iovs[i]
		h.SetIovlen(1)
		h.Control = &b.control[i][0]
	}
	return b
}

// recv receives what is waiting.
func (b *rxBatch) recv(fd uintptr) (int, unix.Errno) {
	for i := range b.msgs {
		h := &b.msgs[i].hdr
		h.Namelen = sockaddr6
		h.SetControllen(controlSize)
	}
	return recvmmsg(fd, b.msgs[:])
}

// run reads until the socket is closed.
func (s *socket) run() {
	for !s.closing.Load() {
		if err := s.raw.Read(s.readable); err != nil && !s.closing.Load() {
			// The poller gives a descriptor up when it tells of an error and of nothing else: an ICMP error while the send
			// buffer is full. It comes round with the next datagram, and until then we look ourselves.
			s.u.counters.readErrors.Add(1)
			if err := s.raw.Control(func(fd uintptr) { s.takeErrors(fd); s.readable(fd) }); err != nil && !s.closing.Load() {
				s.u.log.Error("reading SIP socket", "local", s.ep.Local.String(), "err", err)
				return
			}
		}
		time.Sleep(gatherTime) // readable comes back without an error only to let more gather
	}
}

// readable handles what is waiting on the socket. It returns false to be called again when more comes, and true to be called
// again in a moment: when datagrams come fast. Less than a full batch means that the queue was empty: the poller tells of
// what came since, so no call is spent on finding nothing.
func (s *socket) readable(fd uintptr) bool {
	b := s.u.batches.take()
	defer s.u.batches.put(b)
	for turn := 1; !s.closing.Load(); turn++ {
		n, errno := b.recv(fd)
		switch errno {
		case 0:
		case unix.EAGAIN:
			return false
		case unix.EINTR:
			continue
		default:
			if pending(errno) {
				s.takeErrors(fd)
				if turn%turns == 0 {
					runtime.Gosched()
				}
				continue // what came besides is still in the queue
			}
			s.u.counters.readErrors.Add(1)
			if turn >= turns {
				return false // an error that stays must not keep a CPU busy
			}
			continue
		}
		s.handle(b, n)
		if n < batchSize {
			return s.pace.fast
		}
		if turn%turns == 0 {
			runtime.Gosched()
		}
	}
	return true
}

// handle hands the n datagrams of a batch to the handler and sends what it wants sent.
func (s *socket) handle(b *rxBatch, n int) {
	raw, now := s.u.clock.read()
	s.pace.count(raw, n)
	distance := s.u.clock.widest(now)
	flow := Flow{Group: s.ep.Group, VIP: s.ep.VIP, Port: s.ep.Local.Port()}
	batch := b.packets[:0]
	var bytes, keepalives, stun uint64
	for i := range n {
		m := &b.msgs[i]
		data := b.data[i*slotSize : i*slotSize+int(m.n) : i*slotSize+int(m.n)]
		c := parseControl(b.control[i][:m.hdr.Controllen])
		if c.hasDrop && c.drops != s.drops {
			s.u.counters.kernelDrops.Add(uint64(c.drops - s.drops))
			s.drops = c.drops
		}
		switch classify(data) {
		case kindKeepalive:
			keepalives++
			continue
		case kindSTUN:
			stun++
			flow.Remote = b.names[i].get()
			batch = append(batch, Packet{Data: data, Flow: flow, At: min(raw, c.stamp-distance), Queued: raw + now - c.stamp, STUN: true})
			continue
		}
		bytes += uint64(len(data))
		flow.Remote = b.names[i].get()
		batch = append(batch, Packet{Data: data, Flow: flow, At: min(raw, c.stamp-distance), Queued: raw + now - c.stamp})
	}
	if keepalives+stun > 0 {
		s.u.counters.keepalives.Add(keepalives)
		s.u.counters.stun.Add(stun)
	}
	if len(batch) == 0 {
		return
	}
	s.u.counters.received.Add(uint64(len(batch)) - stun)
	s.u.counters.receivedBytes.Add(bytes)
	s.u.counters.batches.Add(1)
	b.out.index = s.index
	s.u.o.Handler(&b.out, batch)
	b.out.Flush()
}

// batchPool keeps batches for readers, the last used first: its memory is in the CPU's cache.
type batchPool struct {
	u    *UDP
	mu   sync.Mutex
	free []*rxBatch
}

func (p *batchPool) take() *rxBatch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	return newBatch(p.u)
}

func (p *batchPool) put(b *rxBatch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < 2*runtime.GOMAXPROCS(0) {
		p.free = append(p.free, b)
	}
}
