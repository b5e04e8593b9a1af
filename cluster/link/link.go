// Package link is the node-to-node link: one mTLS stream from every node to every other, over which go SIP frames between
// owners of VIP groups, batches of commands to the leader, read indexes, pings and gossip. Nothing here blocks a caller.
//
// SIP frames are addressed to a VIP group. A frame is kept until the peer acknowledges it; when the group gets another
// owner, when the peer says that it is not the owner, or when the connection dies, it goes on to the owner then. Duplicates are
// possible and harmless: SIP over UDP has them anyway.
package link

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Bounds.
const (
	MaxFrame      = 64 << 10        // a SIP frame
	maxMessage    = 2 << 20         // anything on the stream
	sipQueueBytes = 8 << 20         // SIP frames waiting for, or unacknowledged by, one peer
	ctlQueueBytes = 16 << 20        // batches and the rest waiting for one peer
	parkedMost    = 4096            // SIP frames without a known owner
	frameLife     = 4 * time.Second // then SIP's own retransmissions have long taken over
	retryAfter    = 10 * time.Millisecond
	pingEvery     = 100 * time.Millisecond
	silentAfter   = 600 * time.Millisecond // without a pong the connection is given up
	redialFirst   = 20 * time.Millisecond
	redialMost    = 500 * time.Millisecond
	dialTimeout   = time.Second
	writeTimeout  = time.Second
)

// Owners tells who owns a VIP group (sipcore.Owners).
type Owners interface {
	Lease(group uint32) (epoch uint64, since int64, ok bool)
	Owner(group uint32) (node uint32, epoch uint64)
}

// Handler is what a Link calls; all of it from the link's own goroutines, one per connection.
type Handler interface {
	// Frame delivers a SIP frame for a group whose lease this node holds, under epoch.
	Frame(from, group uint32, epoch uint64, frame []byte)
	// Batch delivers a forwarded batch; false: this node does not lead, or has no room.
	Batch(from uint32, batch []byte) bool
	// BatchRefused says that node did not take a batch that was forwarded to it.
	BatchRefused(node uint32)
	// ReadIndex answers a peer's question for the commit index; reply may be called later, from anywhere, once.
	ReadIndex(from uint32, reply func(index uint64, ok bool))
	// Gossip delivers what a peer tells of itself.
	Gossip(from uint32, message []byte)
	// Peer says that the stream to node is up, or down.
	Peer(node uint32, up bool)
}

// Options are what a Link works with.
type Options struct {
	Self    uint32
	Owners  Owners
	Handler Handler
	// Dial connects to a node and proves both sides.
	Dial func(ctx context.Context, node uint32) (net.Conn, error)
	// Refusal says of an error of such a connection that the node does not let this one in; nil: no error does.
	Refusal func(error) bool
	Logger  *slog.Logger
}

// Link carries frames between this node and the others. It is safe for concurrent use.
type Link struct {
	opt    Options
	made   time.Time // what times are counted from: the wall clock may be stepped
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	peers map[uint32]*peer
	reads map[uint64]func(uint64, bool)
	readN uint64

	parking
	stats counters
}

// frame is a SIP frame on its way to the owner of group.
type frame struct {
	group uint32
	epoch uint64
	born  time.Time
	data  []byte
}

// New makes a Link without peers.
func New(o Options) *Link {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Link{opt: o, made: time.Now(), ctx: ctx, cancel: cancel, peers: map[uint32]*peer{}, reads: map[uint64]func(uint64, bool){}}
	l.parking.wake = make(chan struct{}, 1)
	l.wg.Go(l.unpark)
	return l
}

// now is the time since the Link was made, in nanoseconds of the monotonic clock, never 0.
func (l *Link) now() int64 { return max(1, int64(time.Since(l.made))) }

// SetPeers says which nodes there are, this one aside.
func (l *Link) SetPeers(nodes []uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return
	}
	wanted := map[uint32]bool{}
	for _, n := range nodes {
		if n == l.opt.Self || n == 0 {
			continue
		}
		wanted[n] = true
		if l.peers[n] == nil {
			p := newPeer(l, n)
			l.peers[n] = p
			l.wg.Go(p.run)
		}
	}
	for n, p := range l.peers {
		if !wanted[n] {
			p.cancel()
			delete(l.peers, n)
		}
	}
}

func (l *Link) peer(node uint32) *peer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peers[node]
}

func (l *Link) all() []*peer {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*peer, 0, len(l.peers))
	for _, p := range l.peers {
		out = append(out, p)
	}
	return out
}

// Send queues data for whoever owns group. It never blocks; data belongs to the link from here on.
func (l *Link) Send(group uint32, epoch uint64, data []byte) {
	if len(data) > MaxFrame {
		l.stats.dropped.Add(1)
		return
	}
	l.route(frame{group: group, epoch: epoch, born: time.Now(), data: data})
}

// route hands a frame to the peer that owns its group, or parks it until somebody does.
func (l *Link) route(f frame) {
	if time.Since(f.born) > frameLife {
		l.stats.dropped.Add(1)
		return
	}
	node, _ := l.opt.Owners.Owner(f.group)
	if _, _, held := l.opt.Owners.Lease(f.group); held {
		node = l.opt.Self
	}
	switch p := l.peer(node); {
	case p != nil && node != l.opt.Self:
		if !p.sendFrame(f) {
			l.stats.dropped.Add(1)
		}
	default: // ours (delivered from the parking goroutine), or nobody's yet
		l.park(f, node == l.opt.Self)
	}
}

// OwnerChanged tells that group has another owner: frames on their way to the former one go on to it.
func (l *Link) OwnerChanged(group uint32) {
	owner, _ := l.opt.Owners.Owner(group)
	for _, p := range l.all() {
		if p.node == owner {
			continue
		}
		for _, f := range p.recall(group) {
			l.stats.resent.Add(1)
			l.route(f)
		}
	}
	l.rouse()
}

// Forward sends a batch of commands to node; false: there is no stream to it now, or no room.
func (l *Link) Forward(node uint32, batch []byte) bool {
	p := l.peer(node)
	return p != nil && p.sendControl(kindBatch, batch)
}

// Gossip tells every connected peer something about this node.
func (l *Link) Gossip(message []byte) {
	for _, p := range l.all() {
		p.sendControl(kindGossip, message)
	}
}

// GossipTo tells one peer.
func (l *Link) GossipTo(node uint32, message []byte) {
	if p := l.peer(node); p != nil {
		p.sendControl(kindGossip, message)
	}
}

// ErrNoAnswer says that the leader did not answer a read index.
var ErrNoAnswer = errors.New("the leader did not answer")

// ReadIndex asks node, the leader, for its commit index.
func (l *Link) ReadIndex(ctx context.Context, node uint32) (uint64, error) {
	type answer struct {
		index uint64
		ok    bool
	}
	c := make(chan answer, 1)
	l.mu.Lock()
	l.readN++
	id := l.readN
	l.reads[id] = func(index uint64, ok bool) { c <- answer{index, ok} }
	p := l.peers[node]
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.reads, id)
		l.mu.Unlock()
	}()
	if p == nil || !p.sendControl(kindReadIndex, appendU64(nil, id)) {
		return 0, ErrNoAnswer
	}
	select {
	case a := <-c:
		if !a.ok {
			return 0, ErrNoAnswer
		}
		return a.index, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (l *Link) readAnswered(id, index uint64, ok bool) {
	l.mu.Lock()
	reply := l.reads[id]
	delete(l.reads, id)
	l.mu.Unlock()
	if reply != nil {
		reply(index, ok)
	}
}

// PeerState is what the link knows of a peer.
type PeerState struct {
	Node      uint32
	Connected bool
	Heard     time.Time     // last byte from it
	Refused   time.Time     // when it last did not let this node in; zero: never, or it has been heard since
	RTT       time.Duration // of the last ping
	Waiting   int           // SIP frames queued or unacknowledged
}

// Peers returns the state of every peer.
func (l *Link) Peers() []PeerState {
	var out []PeerState
	for _, p := range l.all() {
		out = append(out, p.state())
	}
	return out
}

// Close closes every stream that this node dialled and stops. Accepted streams end with their port.
func (l *Link) Close() {
	l.cancel()
	l.wg.Wait()
}
