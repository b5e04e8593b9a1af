package transport

import (
	"log/slog"
	"net/netip"
)

// Packet is one received datagram. It is valid until the handler returns.
type Packet struct {
	Data []byte
	Flow Flow
	// At is when it was received, in nanoseconds of CLOCK_MONOTONIC_RAW; never later than it really was, so that what
	// was queued before a lease began can be told (At < since: discard).
	At int64
}

// Handler handles a batch of datagrams to completion on the reader that received them. All of a batch came in on one
// VIP and port. What it sends through out leaves together when it returns. It is called from several readers at once.
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
	Logger        *slog.Logger
}

// UDP holds the sockets of all endpoints. Its methods are safe for concurrent use.
type UDP struct{}

// NewUDP returns a transport without endpoints.
func NewUDP(o Options) (*UDP, error) { return &UDP{}, nil }

// SetEndpoints opens and closes sockets so that exactly these endpoints are listened on. An endpoint that cannot be
// opened is left out and named in the error; the others are served.
func (u *UDP) SetEndpoints(eps []Endpoint) error { return nil }

// NewSender returns a collector for sends outside the handler: timers, results of commits, other nodes.
func (u *UDP) NewSender() *Sender { return &Sender{} }

// Stats returns counters since the start.
func (u *UDP) Stats() Stats { return Stats{} }

// Close closes all sockets and waits for the readers.
func (u *UDP) Close() error { return nil }

// Stats counts datagrams.
type Stats struct {
	Received      uint64 // handed to the handler
	ReceivedBytes uint64
	Batches       uint64 // calls of the handler
	KernelDrops   uint64 // lost in full receive buffers (SO_RXQ_OVFL)
	Keepalives    uint64 // CRLF and the like, dropped
	STUN          uint64 // STUN messages, dropped
	ReadErrors    uint64
	Sent          uint64
	SentBytes     uint64
	SendFull      uint64 // dropped: send buffer full
	SendFenced    uint64 // dropped: EPERM, the fence of a VIP that this node does not own
	SendErrors    uint64 // dropped: other errors, an unreachable peer among them
	SendNoSocket  uint64 // dropped: the flow's endpoint is not open here
}

// Sender collects datagrams and sends them with one system call per socket. One goroutine uses it at a time.
type Sender struct{}

// Send queues a copy of data for the flow's peer; when enough is queued it is flushed. It never blocks. What cannot be
// sent is counted and forgotten: SIP over UDP repeats itself.
func (s *Sender) Send(to Flow, data []byte) {}

// Flush sends what is queued. The reader does it after each call of the handler.
func (s *Sender) Flush() {}
