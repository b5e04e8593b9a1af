package transport

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"holdline/sipcore/beat"
)

const (
	batchSize   = 32    // datagrams per recvmmsg
	slotSize    = 65536 // the largest datagram and more
	controlSize = 64    // room for a time stamp and a drop count
	// turns is how many full batches of a socket a reader handles before it turns to the next one, and lets other goroutines run.
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

// reader reads its sockets in one goroutine.
type reader struct {
	u     *UDP
	index int
	set   *readySet

	again      []*socket // to be looked at again untold: muted, as datagrams come fast, or not finished. The goroutine's own
	unfinished bool      // one of again is not

	busy atomic.Int64 // ns of work so far

	mu      sync.Mutex // guards the rest
	sockets map[int32]*socket
	last    int32
}

func newReader(u *UDP, index int) (*reader, error) {
	set, err := newReadySet()
	if err != nil {
		return nil, err
	}
	return &reader{u: u, index: index, set: set, sockets: make(map[int32]*socket)}, nil
}

// add lets the reader read a new socket.
func (r *reader) add(s *socket) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	return r.take(s)
}

// take lets the reader read s from now on. s.reading is held, here and below.
func (r *reader) take(s *socket) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	s.reader, s.id, s.muted, s.more = r, r.last, false, false
	r.sockets[s.id] = s
	if err := r.set.watch(s.raw, s.id); err != nil {
		delete(r.sockets, s.id)
		return err
	}
	return nil
}

// drop ends that.
func (r *reader) drop(s *socket) error {
	r.forget(s)
	return r.set.unwatch(s.raw)
}

func (r *reader) forget(s *socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sockets, s.id)
}

func (r *reader) socket(id int32) *socket {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sockets[id]
}

// run reads until the set is closed. The goroutine parks in the Go runtime's poller while nothing comes, and sleeps between looks
// while datagrams come fast.
func (r *reader) run() {
	rest := beat.NewTimer()
	defer rest.Close()
	for {
		if err := r.set.raw.Read(r.turn); err != nil {
			select {
			case <-r.u.closed:
			default:
				r.u.log.Error("waiting for SIP datagrams", "err", err)
			}
			return
		}
		if r.unfinished {
			runtime.Gosched()
		} else {
			rest.Sleep(gatherTime)
		}
	}
}

// turn handles what is waiting on the sockets that are ready and on those that were to be looked at again. It returns false to be
// called when more comes, and true to be called again in a moment.
func (r *reader) turn(set uintptr) bool {
	began := time.Now()
	defer func() { r.busy.Add(int64(time.Since(began))) }()
	b := r.u.batches.take()
	defer r.u.batches.put(b)
	again := r.again
	r.again, r.unfinished = r.again[:0], false
	for _, s := range again {
		r.look(s, b)
	}
	clear(again[len(r.again):])
	for {
		events := r.set.ready(set)
		for i := range events {
			if s := r.socket(events[i].Fd); s != nil && !slices.Contains(r.again, s) {
				r.look(s, b)
			}
		}
		if len(events) < maxReady {
			b.out.Flush()
			return len(r.again) > 0
		}
	}
}

// look reads a socket, mutes or unmutes it as its pace changes, and notes whether to look again.
func (r *reader) look(s *socket, b *rxBatch) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.reader != r { // given away since
		return
	}
	s.batch, b.out.index = b, r.index
	err := s.raw.Control(s.read)
	s.batch = nil
	if err != nil { // closed
		return
	}
	if s.muted != s.pace.fast {
		s.muted = s.pace.fast
		if err := r.set.tell(s.raw, s.id, !s.muted); err != nil && !s.closing.Load() {
			r.u.log.Error("watching a SIP socket", "local", s.ep.Local.String(), "err", err)
			s.muted = true // looked at all the same, and told of again in a moment
		}
	}
	if s.muted || s.more {
		r.again = append(r.again, s)
		r.unfinished = r.unfinished || s.more
	}
}

// drain handles what is waiting on the socket, so much at a time that others have their turn. Less than a full batch means that
// the queue was empty: what came since is told of, or looked for in a moment, so no call is spent on finding nothing.
func (s *socket) drain(fd uintptr) {
	b := s.batch
	s.more = false
	for range turns {
		n, errno := b.recv(fd)
		switch errno {
		case 0:
			s.handle(b, n)
			if n < batchSize {
				return
			}
			b.out.Flush() // there is much to do: what is done need not wait for it
		case unix.EAGAIN:
			s.pace.count(MonotonicRaw(), 0)
			return
		case unix.EINTR:
		default:
			if pending(errno) {
				s.takeErrors(fd)
				continue // what came besides is still in the queue
			}
			s.u.counters.readErrors.Add(1)
		}
		if s.closing.Load() {
			return
		}
	}
	s.more = true
}

// handle hands the n datagrams of a batch to the handler.
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
	s.u.o.Handler(&b.out, batch)
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
