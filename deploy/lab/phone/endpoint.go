package phone

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Timers of RFC 3261 §17.1.1.1.
const (
	T1 = 500 * time.Millisecond
	T2 = 4 * time.Second
	// linger is how long a finished transaction answers repetitions: Timers D, H, J, L, M.
	linger = 64 * T1
)

// Stats counts what an endpoint saw. Read it with atomic loads.
type Stats struct {
	Sent, Received, Retransmitted, Unparsed, Unmatched atomic.Int64

	mu     sync.Mutex
	breaks []time.Time
}

// Breaks lists when phones have noticed that a connection of theirs was broken.
func (s *Stats) Breaks() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.breaks)
}

func (s *Stats) broke(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.breaks = append(s.breaks, at)
}

// Conn is a UDP socket: *net.UDPConn, what a test puts in its place, or Streams.
type Conn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	LocalAddr() net.Addr
	Close() error
}

// Endpoint is one UDP socket, or the connections of one phone, with the transactions on it. Safe for concurrent use.
type Endpoint struct {
	conn   Conn
	addr   netip.AddrPort
	parser *sip.Parser
	stats  *Stats
	done   chan struct{}
	// transport is what Via calls it; over a reliable one nothing is repeated but a 2xx (RFC 3261 §17.1, §17.2, §13.3.1.4).
	transport string
	reliable  bool
	broke     chan struct{} // has something in it when a connection has broken

	mu      sync.Mutex
	closed  bool
	brokeAt time.Time
	handler func(*Server)
	clients map[string]*Client
	servers map[string]*Server
	acks    map[string]*Server // 2xx that wait for their ACK: Call-ID, our tag, CSeq
	dialogs map[string]*Dialog // Call-ID, our tag
}

// NewEndpoint serves a bound socket, which it closes with Close. stats may be shared between endpoints.
func NewEndpoint(conn Conn, stats *Stats) *Endpoint {
	e := &Endpoint{
		conn: conn, addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), parser: sip.NewParser(), stats: stats, done: make(chan struct{}),
		clients: map[string]*Client{}, servers: map[string]*Server{}, acks: map[string]*Server{}, dialogs: map[string]*Dialog{},
		transport: "UDP", broke: make(chan struct{}, 1),
	}
	if s, ok := conn.(*Streams); ok {
		e.transport, e.reliable = s.Transport(), true
		s.OnBreak(e.broken)
	}
	go e.read()
	return e
}

// Addr is where the endpoint listens.
func (e *Endpoint) Addr() netip.AddrPort { return e.addr }

// Handle sets who is told of each new request outside a dialog. It is called by the goroutine that reads the socket and
// must not block.
func (e *Endpoint) Handle(fn func(*Server)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.handler = fn
}

// Close ends the endpoint and its transactions.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	e.closed = true
	for _, c := range e.clients {
		c.timer.Stop()
	}
	for _, s := range e.servers {
		s.timer.Stop()
	}
	e.mu.Unlock()
	err := e.conn.Close()
	<-e.done
	return err
}

func (e *Endpoint) read() {
	defer close(e.done)
	buf := make([]byte, 65536)
	for {
		n, src, err := e.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // ICMP errors of earlier sends; retransmission is the remedy
		}
		e.stats.Received.Add(1)
		if n <= 4 {
			continue // keep-alive (RFC 5626 §3.5.1)
		}
		msg, err := e.parser.ParseSIP(append([]byte(nil), buf[:n]...))
		if err != nil {
			e.stats.Unparsed.Add(1)
			continue
		}
		switch m := msg.(type) {
		case *sip.Response:
			e.response(m)
		case *sip.Request:
			m.SetSource(src.String())
			e.request(m, src)
		}
	}
}

// broken takes notice of a connection that has broken. Set-ups under way on it have failed (RFC 3261 §8.1.3.1: as if 503); any other
// request is sent again over a new one, as the same transaction.
func (e *Endpoint) broken(to netip.AddrPort) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.brokeAt = time.Now()
	e.stats.broke(e.brokeAt)
	for _, c := range e.clients {
		switch {
		case c.final || c.dst != to:
		case c.setup():
			c.fail()
		default:
			e.stats.Retransmitted.Add(1)
			e.write(c.raw, c.dst)
		}
	}
	select {
	case e.broke <- struct{}{}:
	default:
	}
}

// Broke has something in it when a connection has broken since it was last read. Never, over UDP.
func (e *Endpoint) Broke() <-chan struct{} { return e.broke }

// BrokeSince tells whether a connection has broken since then.
func (e *Endpoint) BrokeSince(t time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.brokeAt.After(t)
}

// write sends bytes. A send that fails is as good as a datagram lost: retransmission is the remedy.
func (e *Endpoint) write(raw []byte, dst netip.AddrPort) {
	if _, err := e.conn.WriteToUDPAddrPort(raw, dst); err == nil {
		e.stats.Sent.Add(1)
	}
}

func (e *Endpoint) response(res *sip.Response) {
	via, cseq := res.Via(), res.CSeq()
	if via == nil || cseq == nil {
		e.stats.Unparsed.Add(1)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.clients[clientKey(via.Params.GetOr("branch", ""), cseq.MethodName)]
	if c == nil {
		e.stats.Unmatched.Add(1)
		return
	}
	c.receive(res)
}

func (e *Endpoint) request(req *sip.Request, src netip.AddrPort) {
	via, cseq, callID, to := req.Via(), req.CSeq(), req.CallID(), req.To()
	if via == nil || cseq == nil || callID == nil || to == nil || req.From() == nil {
		e.stats.Unparsed.Add(1)
		return
	}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return
	}
	key := serverKey(via, req.Method)
	tag := to.Params.GetOr("tag", "")
	if s := e.servers[key]; s != nil {
		s.again(req)
		e.mu.Unlock()
		return
	}
	if req.Method == sip.ACK { // of a 2xx: a transaction of its own, without response (RFC 3261 §13.2.2.4)
		if s := e.acks[ackKey(callID.Value(), tag, cseq.SeqNo)]; s != nil {
			s.confirm()
		} else {
			e.stats.Unmatched.Add(1)
		}
		e.mu.Unlock()
		return
	}
	s := e.newServer(key, req, src, tag)
	if req.Method == sip.CANCEL {
		e.cancel(s, via)
		e.mu.Unlock()
		return
	}
	dialog, handler := e.dialogs[dialogKey(callID.Value(), tag)], e.handler
	e.mu.Unlock()
	switch {
	case tag != "" && dialog == nil:
		s.Respond(481, "Call/Transaction Does Not Exist")
	case tag != "":
		dialog.receive(s)
	case handler != nil:
		handler(s)
	default:
		s.Respond(480, "Temporarily Unavailable")
	}
}

// cancel answers a CANCEL and, through the INVITE's own transaction, the INVITE (RFC 3261 §9.2).
func (e *Endpoint) cancel(s *Server, via *sip.ViaHeader) {
	invite := e.servers[serverKey(via, sip.INVITE)]
	if invite == nil {
		s.respond(481, "Call/Transaction Does Not Exist")
		return
	}
	s.tag = invite.tag
	s.respond(200, "OK")
	if invite.final == 0 {
		close(invite.cancelled)
		invite.respond(487, "Request Terminated")
	}
}

func clientKey(branch string, method sip.RequestMethod) string { return branch + "|" + string(method) }

// serverKey is RFC 3261 §17.2.3: branch, sent-by and method, an ACK matching its INVITE.
func serverKey(via *sip.ViaHeader, method sip.RequestMethod) string {
	if method == sip.ACK {
		method = sip.INVITE
	}
	return via.Params.GetOr("branch", "") + "|" + strings.ToLower(via.SentBy()) + "|" + string(method)
}

func ackKey(callID, tag string, cseq uint32) string {
	return dialogKey(callID, tag) + "|" + strconv.FormatUint(uint64(cseq), 10)
}

func dialogKey(callID, tag string) string { return callID + "|" + tag }

// addrOf is where a request for a URI goes. The lab has no DNS: hosts are addresses.
func addrOf(uri *sip.Uri) (netip.AddrPort, error) {
	ip, err := netip.ParseAddr(strings.Trim(uri.Host, "[]"))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("send to %s: the phones only know addresses: %w", uri.String(), err)
	}
	port := uri.Port
	if port == 0 {
		port = 5060
		if transport, ok := uri.UriParams.Get("transport"); uri.Scheme == "sips" || ok && strings.EqualFold(transport, "tls") {
			port = 5061
		}
	}
	return netip.AddrPortFrom(ip, uint16(port)), nil
}
