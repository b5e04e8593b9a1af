package link

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"holdline/sipcore/beat"
)

// peer is the stream that this node dials to another, and what waits for it.
type peer struct {
	link   *Link
	node   uint32
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{}
	there  chan struct{} // it has dialled us
	heard  atomic.Int64  // Link.now
	denied atomic.Int64  // Link.now of the last refusal
	rtt    atomic.Int64

	mu        sync.Mutex
	connected bool
	control   []byte  // encoded messages other than SIP frames
	queue     []frame // SIP frames not written yet
	sent      []frame // written on the present connection, not acknowledged; data nil: recalled or refused
	sipBytes  int     // of queue and sent
	acked     uint64  // SIP frames of this connection that are done with
}

func newPeer(l *Link, node uint32) *peer {
	ctx, cancel := context.WithCancel(l.ctx)
	return &peer{link: l, node: node, ctx: ctx, cancel: cancel, wake: make(chan struct{}, 1), there: make(chan struct{}, 1)}
}

// cameIn says that the peer has dialled this node, so it runs again: the way back need not wait for the next try.
func (p *peer) cameIn() {
	select {
	case p.there <- struct{}{}:
	default:
	}
}

func (p *peer) kick() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *peer) sendFrame(f frame) bool {
	p.mu.Lock()
	room := p.sipBytes+len(f.data) <= sipQueueBytes
	if room {
		p.queue = append(p.queue, f)
		p.sipBytes += len(f.data)
	}
	p.mu.Unlock()
	p.kick()
	return room
}

func (p *peer) sendControl(kind byte, payload []byte) bool {
	p.mu.Lock()
	room := p.connected && len(p.control)+len(payload) <= ctlQueueBytes
	if room {
		p.control = appendMessage(p.control, kind, payload)
	}
	p.mu.Unlock()
	p.kick()
	return room
}

func (p *peer) state() PeerState {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PeerState{Node: p.node, Connected: p.connected, RTT: time.Duration(p.rtt.Load()), Waiting: len(p.queue) + len(p.sent)}
	if at := p.heard.Load(); at != 0 {
		s.Heard = p.link.made.Add(time.Duration(at))
	}
	if at := p.denied.Load(); at > p.heard.Load() {
		s.Refused = p.link.made.Add(time.Duration(at))
	}
	return s
}

// run keeps a connection up until the peer is removed.
func (p *peer) run() {
	defer func() { // nobody will take them here any more: to their groups' owners
		for _, f := range p.recallAll() {
			p.link.route(f)
		}
	}()
	pause := redialFirst
	for p.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(p.ctx, dialTimeout)
		conn, err := p.link.opt.Dial(ctx, p.node)
		cancel()
		if err == nil {
			var up bool
			if up, err = p.serve(conn); up {
				pause = redialFirst
			}
		}
		if p.ctx.Err() != nil {
			return
		}
		if refusal := p.link.opt.Refusal; refusal != nil && refusal(err) {
			p.denied.Store(p.link.now())
		}
		p.link.opt.Logger.Debug("node link down", "node", p.node, "err", err)
		p.dropExpired()
		select {
		case <-time.After(pause):
			pause = min(2*pause, redialMost)
		case <-p.there:
			pause = redialFirst
		case <-p.ctx.Done():
		}
	}
}

// serve writes what is queued and reads acknowledgements until the connection fails. It counts as up once the peer has answered:
// in TLS 1.3 the dialling side learns only then whether it is welcome.
func (p *peer) serve(conn net.Conn) (up bool, err error) {
	p.mu.Lock()
	p.acked = 0
	p.mu.Unlock()
	failed := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { failed <- p.read(conn) })
	err = p.write(conn, failed)
	_ = conn.Close()
	wg.Wait()
	p.mu.Lock()
	up = p.connected
	p.connected, p.control = false, nil
	p.requeue()
	p.mu.Unlock()
	if up {
		p.link.opt.Handler.Peer(p.node, false)
	}
	return up, err
}

// answered notes that the peer is there.
func (p *peer) answered() {
	p.heard.Store(p.link.now())
	p.mu.Lock()
	first := !p.connected
	p.connected = true
	p.mu.Unlock()
	if first {
		p.link.opt.Handler.Peer(p.node, true)
		p.kick()
	}
}

// requeue puts what was not acknowledged in front of the queue, for the next connection or owner. p.mu is held.
func (p *peer) requeue() {
	again := make([]frame, 0, len(p.sent)+len(p.queue))
	for _, f := range p.sent {
		if f.data != nil {
			again = append(again, f)
		}
	}
	p.queue = append(again, p.queue...)
	p.sent = nil
}

// write sends everything that is queued with one call each time, and pings.
func (p *peer) write(conn net.Conn, failed <-chan error) error {
	ping := beat.NewAlarm()
	defer ping.Stop()
	ping.Next(pingEvery)
	began := time.Now()
	buf := appendMessage(make([]byte, 0, 64<<10), kindPing, appendU64(nil, uint64(p.link.now())))
	for {
		buf = p.gather(buf)
		if len(buf) > 0 {
			if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
				return err
			}
			if _, err := conn.Write(buf); err != nil {
				return err
			}
			if buf = buf[:0]; cap(buf) > 1<<20 {
				buf = make([]byte, 0, 64<<10)
			}
		}
		select {
		case <-p.wake:
		case <-ping.C:
			ping.Next(pingEvery)
			if time.Since(began) > silentAfter && p.link.now()-p.heard.Load() > int64(silentAfter) {
				return context.DeadlineExceeded
			}
			p.sendControl(kindPing, appendU64(nil, uint64(p.link.now())))
		case err := <-failed:
			return err
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
}

func (p *peer) gather(buf []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.connected {
		return buf
	}
	buf = append(buf, p.control...)
	p.control = p.control[:0]
	if cap(p.control) > 1<<20 {
		p.control = nil
	}
	for i := range p.queue {
		buf = appendFrame(buf, &p.queue[i])
	}
	p.sent = append(p.sent, p.queue...)
	clear(p.queue)
	p.queue = p.queue[:0]
	return buf
}

// read takes what the accepting side answers.
func (p *peer) read(conn net.Conn) error {
	r := newReader(conn)
	for {
		kind, b, err := r.next()
		if err != nil {
			return err
		}
		p.answered()
		switch {
		case kind == kindAck && len(b) == 8:
			p.ack(u64(b))
		case kind == kindRefuse && len(b) == 20:
			p.refused(u64(b), binary.BigEndian.Uint32(b[8:]), u64(b[12:]))
		case kind == kindNoBatch:
			p.link.opt.Handler.BatchRefused(p.node)
		case kind == kindIndex && len(b) == 17:
			p.link.readAnswered(u64(b), u64(b[8:]), b[16] == 1)
		case kind == kindPong && len(b) == 8:
			p.rtt.Store(p.link.now() - int64(u64(b)))
		default:
			return errMalformed
		}
	}
}

func (p *peer) ack(count uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := min(int(count-p.acked), len(p.sent))
	if n <= 0 {
		return
	}
	for i := range p.sent[:n] {
		p.sipBytes -= len(p.sent[i].data)
	}
	p.acked += uint64(n)
	rest := copy(p.sent, p.sent[n:])
	clear(p.sent[rest:])
	p.sent = p.sent[:rest]
}

// refused takes back the frame with this number: the peer does not own its group. It goes on to the owner the peer named,
// if we have not heard better, or waits a moment.
func (p *peer) refused(number uint64, _ uint32, _ uint64) {
	p.mu.Lock()
	i := int(number - p.acked - 1)
	if i < 0 || i >= len(p.sent) || p.sent[i].data == nil {
		p.mu.Unlock()
		return
	}
	f := p.sent[i]
	p.sent[i].data = nil
	p.sipBytes -= len(f.data)
	p.mu.Unlock()
	p.link.stats.refused.Add(1)
	p.link.park(f, false)
}

// recall takes back the frames of a group.
func (p *peer) recall(group uint32) []frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []frame
	for i := range p.sent {
		if f := &p.sent[i]; f.group == group && f.data != nil {
			out = append(out, *f)
			f.data = nil // keeps its number on this connection
		}
	}
	kept := p.queue[:0]
	for _, f := range p.queue {
		if f.group == group {
			out = append(out, f)
		} else {
			kept = append(kept, f)
		}
	}
	clear(p.queue[len(kept):])
	p.queue = kept
	for i := range out {
		p.sipBytes -= len(out[i].data)
	}
	return out
}

func (p *peer) recallAll() []frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requeue()
	out := p.queue
	p.queue, p.sipBytes = nil, 0
	return out
}

// dropExpired forgets frames that nobody waits for any more, while the peer cannot be reached.
func (p *peer) dropExpired() {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.queue[:0]
	for _, f := range p.queue {
		if time.Since(f.born) > frameLife {
			p.sipBytes -= len(f.data)
			p.link.stats.dropped.Add(1)
			continue
		}
		kept = append(kept, f)
	}
	clear(p.queue[len(kept):])
	p.queue = kept
}
