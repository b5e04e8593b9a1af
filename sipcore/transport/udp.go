package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
)

// Packet is one received datagram. It is valid until the handler returns.
type Packet struct {
	Data []byte
	Flow Flow
	// At is when it was received, in nanoseconds of CLOCK_MONOTONIC_RAW; never later than it really was, so that what
	// was queued before a lease began can be told (At < since: discard).
	At int64

	Queued int64 // how long it has waited in its socket's queue, in nanoseconds, by the wall clock as it is now; UDP only

	STUN bool // it is a STUN request, see AppendSTUN

	// Fault is the status to answer to a request after which a stream is out of step, 0 for none; Data is its headers.
	Fault  int
	Reason string // the response's
}

// Handler handles a batch of datagrams to completion on the reader that received them. All of a batch came in on one
// VIP and port. What it sends through out leaves together soon after it has returned. It is called from several readers at once.
type Handler func(out *Sender, batch []Packet)

// Endpoint is one address and port of a VIP to listen on, whether or not this node owns the VIP.
type Endpoint struct {
	Group uint32
	VIP   uint8
	Local netip.AddrPort
}

// Options of the UDP transport.
type Options struct {
	Readers       int // sockets and readers per endpoint; 0 = number of CPUs
	ReceiveBuffer int // SO_RCVBUF in bytes; 0 = 4 MiB
	SendBuffer    int // SO_SNDBUF in bytes; 0 = 4 MiB
	Handler       Handler
	// Unreachable is told what has not arrived; nil: nobody wants to know. It is called by whoever reads or sends, under any lock
	// that a sender holds, and must not block.
	Unreachable func(Unreachable)
	Logger      *slog.Logger // nil: slog.Default
}

const defaultBuffer = 4 << 20

// UDP holds the sockets of all endpoints. Its methods are safe for concurrent use.
type UDP struct {
	o        Options
	log      *slog.Logger
	table    atomic.Pointer[table] // replaced as a whole
	counters counters
	clock    clock
	batches  batchPool
	streams  atomic.Pointer[Streams] // where senders send what is not for UDP
	warned   atomic.Bool             // of a small receive buffer
	read     []*reader               // by index of their sockets
	readers  sync.WaitGroup          // reader goroutines and the clock's

	mu     sync.Mutex // guards changes of table, closed and spread
	closed chan struct{}
	spread bool // each reader reads its own sockets; else the first reads all
}

var errNoHandler = errors.New("start UDP transport: no handler given")

// NewUDP returns a transport without endpoints.
func NewUDP(o Options) (*UDP, error) {
	if o.Handler == nil {
		return nil, errNoHandler
	}
	if o.Readers <= 0 {
		o.Readers = runtime.GOMAXPROCS(0)
	}
	if o.ReceiveBuffer <= 0 {
		o.ReceiveBuffer = defaultBuffer
	}
	if o.SendBuffer <= 0 {
		o.SendBuffer = defaultBuffer
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	u := &UDP{o: o, log: o.Logger, closed: make(chan struct{})}
	u.table.Store(&table{})
	u.batches.u = u
	u.clock.sample()
	for i := range o.Readers {
		r, err := newReader(u, i)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start UDP transport: %w", err), u.closeSets())
		}
		u.read = append(u.read, r)
	}
	for _, r := range u.read {
		u.readers.Go(r.run)
	}
	u.readers.Go(func() { u.clock.run(u.closed) })
	if o.Readers > 1 {
		u.readers.Go(u.follow)
	}
	return u, nil
}

// NewSender returns a collector for sends outside the handler: timers, results of commits, other nodes.
func (u *UDP) NewSender() *Sender { return &Sender{u: u} }

func (u *UDP) closeSets() error {
	var errs []error
	for _, r := range u.read {
		errs = append(errs, r.set.close())
	}
	return errors.Join(errs...)
}

// Close closes all sockets and waits for the readers; it must not be called by the handler. It may be called again.
func (u *UDP) Close() error {
	err := u.SetEndpoints(nil)
	u.mu.Lock()
	select {
	case <-u.closed:
	default:
		close(u.closed)
		err = errors.Join(err, u.closeSets())
	}
	u.mu.Unlock()
	u.readers.Wait()
	return err
}
