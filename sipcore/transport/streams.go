package transport

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"holdline/fsm/pb"
	"holdline/sipcore/wire"
)

// StreamLimits bound what peers can take. Zero values stand for the defaults.
type StreamLimits struct {
	Conns          int           // connections at once; default 50 000
	ConnsPerSource int           // from one IPv4 address or one /64 of IPv6; default 1 000: many phones may be behind one NAT
	Unproven       int           // connections that have not yet sent a whole message; the oldest makes room; default 2 048
	Dialing        int           // connections being opened by us; default 256
	Queue          int           // bytes waiting to be written to one peer; default 256 KiB
	First          time.Duration // for handshakes and the first message; default 10 s
	Message        time.Duration // for a message that has begun; default 10 s
	Idle           time.Duration // between messages or pings; default 125 min, more than the longest registration
	Write          time.Duration // for one write; default 10 s
	Dial           time.Duration // for a connection opened by us, with its handshakes; default 5 s
}

func (l *StreamLimits) defaults() {
	def(&l.Conns, 50_000)
	def(&l.ConnsPerSource, 1_000)
	def(&l.Unproven, 2_048)
	def(&l.Dialing, 256)
	def(&l.Queue, 256<<10)
	def(&l.First, 10*time.Second)
	def(&l.Message, 10*time.Second)
	def(&l.Idle, 125*time.Minute)
	def(&l.Write, 10*time.Second)
	def(&l.Dial, 5*time.Second)
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// StreamOptions of the stream transports. UDP, Handler and Lease are required.
type StreamOptions struct {
	UDP     *UDP    // its Senders send over streams, too
	Handler Handler // gets batches of one
	// Lease reports whether this node holds the group, and under which epoch. A connection lives as long as the epoch that
	// it began under.
	Lease func(group uint32) (epoch uint64, ok bool)
	// Undelivered is called with each request that could not be sent: its connection is gone or too slow, or none could be
	// opened. It may be called by Sender.Send itself, must not block, and does not keep data. conn is the connection, 0 when there was none.
	Undelivered func(conn uint64, data []byte)
	// Fallback says where else a response goes whose connection is gone: the sent-by of its top Via (RFC 3261 §18.2.2).
	Fallback func(response []byte) (netip.AddrPort, bool)
	// ServerName is the name that the certificate of a peer must hold to which a request is sent over TLS; dialog: it is one of a dialog's.
	ServerName func(request []byte) (name string, dialog bool)
	// GatewayNames are the hosts by which the gateways at an address are called; nil: none. A certificate for one of them will do where a request of a dialog
	// goes to that address and names it no other way; the first is asked for. It must not block; the caller may keep what it returns.
	GatewayNames func(addr netip.Addr) []string
	// Gateway says whether an address is a gateway's, whose connections FromGateways lists; nil: none is. It must not block.
	Gateway func(addr netip.Addr) bool
	// VerifyPeers says whether certificates of peers that we open a connection to are verified; nil: they are.
	VerifyPeers func() bool
	// Authorities sign the certificates of those peers; nil: whom the machine trusts.
	Authorities *x509.CertPool
	// Origins says from which web pages a WebSocket may come, as host patterns of path.Match; nil: any.
	Origins func() []string

	Certificates *Certificates
	Limits       StreamLimits
	Logger       *slog.Logger // nil: silent
}

// Streams are the connections of TCP, TLS, WS and WSS on all endpoints. Its methods are safe for concurrent use.
type Streams struct {
	o        StreamOptions
	log      *slog.Logger
	counters streamCounters
	work     sync.Pool // *streamWork
	buffers  sync.Pool // *[]byte, of write queues
	server   *tls.Config
	web      *http.Server
	webConns webListener

	mu        sync.RWMutex // guards what follows
	closed    bool
	listeners map[streamKey]*streamListener
	number    uint64 // of the last connection
	conns     map[uint64]*conn
	peers     map[peerKey][]*conn // opened by us, or to be used as if (Reuse), which come first; over TLS one for each name: see callee
	remotes   map[peerKey]*conn   // opened by the peer
	sources   map[netip.Addr]int  // see sourceOf
	gateways  map[*conn]bool      // opened by gateways
	changed   chan struct{}       // see GatewaysChanged; set once
	unproven  connList
	dialing   int

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// streamKey names a listening endpoint.
type streamKey struct {
	key
	proto pb.Transport
}

// peerKey names the far end of a connection, and ours.
type peerKey struct {
	group  uint32
	vip    uint8
	proto  pb.Transport
	remote netip.AddrPort
}

func (f Flow) peer() peerKey { return peerKey{f.Group, f.VIP, f.Proto, f.Remote} }

// streamWork is what handling a message needs and no connection keeps.
type streamWork struct {
	out   *Sender
	msg   wire.Msg
	batch [1]Packet
}

var errNoLease = errors.New("start stream transports: a UDP transport, a handler and leases are needed")

// NewStreams returns transports without endpoints, and makes o.UDP's senders send over them.
func NewStreams(o StreamOptions) (*Streams, error) {
	if o.UDP == nil || o.Handler == nil || o.Lease == nil {
		return nil, errNoLease
	}
	o.Limits.defaults()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Certificates == nil {
		o.Certificates = new(Certificates)
	}
	if o.Undelivered == nil {
		o.Undelivered = func(uint64, []byte) {}
	}
	s := &Streams{
		o: o, log: o.Logger,
		listeners: map[streamKey]*streamListener{}, conns: map[uint64]*conn{},
		peers: map[peerKey][]*conn{}, remotes: map[peerKey]*conn{}, sources: map[netip.Addr]int{}, gateways: map[*conn]bool{}, changed: make(chan struct{}, 1),
	}
	// Numbers start at random: one from before a restart, or of another node, names no connection of this process.
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, fmt.Errorf("start stream transports: no random numbers from the kernel: %w", err)
	}
	s.number = binary.BigEndian.Uint64(seed[:]) >> 1
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.work.New = func() any { return &streamWork{out: o.UDP.NewSender()} }
	s.buffers.New = func() any { return new([]byte) }
	s.server = o.Certificates.config()
	s.startWeb()
	o.UDP.streams.Store(s)
	return s, nil
}

// DropGroup closes all connections of a group at once: a node that has lost a group says nothing more on them.
func (s *Streams) DropGroup(group uint32) {
	for _, c := range s.all() {
		if c.flow.Group == group {
			c.reset(endLost)
		}
	}
}

func (s *Streams) all() []*conn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*conn, 0, len(s.conns))
	for _, c := range s.conns {
		out = append(out, c)
	}
	return out
}

// KeepAlive says that the peer of a TCP or TLS connection sends a message or a ping at least each idle; without one the connection
// is closed. It does nothing if there is no such connection, or for WebSockets, whose own pings are not seen here.
func (s *Streams) KeepAlive(number uint64, idle time.Duration) {
	s.mu.RLock()
	c := s.conns[number]
	s.mu.RUnlock()
	if c != nil && (c.flow.Proto == pb.Transport_TCP || c.flow.Proto == pb.Transport_TLS) {
		c.keepAlive(idle)
	}
}

// Len is the number of connections.
func (s *Streams) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.conns)
}

// Close closes all connections and listeners and waits for their goroutines; the handler must not call it.
func (s *Streams) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	err := s.SetEndpoints(nil)
	for _, c := range s.all() {
		c.reset(endClosed)
	}
	err = errors.Join(err, s.stopWeb())
	s.wg.Wait()
	return err
}
