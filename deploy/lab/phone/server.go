package phone

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Server is a server transaction (RFC 3261 §17.2); for an INVITE answered with 2xx also the wait for the ACK (§13.3.1.4).
type Server struct {
	Request  *sip.Request
	Received time.Time

	ep        *Endpoint
	key       string
	dst       netip.AddrPort // where responses go
	tag       string         // our To-tag
	acked     chan struct{}
	cancelled chan struct{}

	// Guarded by ep.mu.
	timer *time.Timer
	wait  time.Duration
	last  []byte
	final int
	acks  bool // acked is closed
}

// newServer starts a server transaction. The caller holds e.mu.
func (e *Endpoint) newServer(key string, req *sip.Request, src netip.AddrPort, tag string) *Server {
	if tag == "" {
		tag = sip.GenerateTagN(12)
	}
	s := &Server{
		Request: req, Received: time.Now(), ep: e, key: key, dst: responseAddr(req.Via(), src), tag: tag, wait: T1,
		acked: make(chan struct{}), cancelled: make(chan struct{}),
	}
	e.servers[key] = s
	s.timer = time.AfterFunc(2*linger, s.tick)
	return s
}

// responseAddr is RFC 3261 §18.2.2 and RFC 3581 §4.
func responseAddr(via *sip.ViaHeader, src netip.AddrPort) netip.AddrPort {
	if via.Params.Has("rport") {
		return src
	}
	if via.Port != 0 {
		return netip.AddrPortFrom(src.Addr(), uint16(via.Port))
	}
	return netip.AddrPortFrom(src.Addr(), 5060)
}

// Tag is the To-tag of the phone's responses.
func (s *Server) Tag() string { return s.tag }

// Acked is closed when the ACK to the final response has come.
func (s *Server) Acked() <-chan struct{} { return s.acked }

// Cancelled is closed when a CANCEL has come before a final response; the phone has then answered 487 by itself.
func (s *Server) Cancelled() <-chan struct{} { return s.cancelled }

// Respond sends a response, and repeats a final one as the RFC demands. Responses after a final one are not sent.
func (s *Server) Respond(code int, reason string, headers ...sip.Header) {
	s.ep.mu.Lock()
	defer s.ep.mu.Unlock()
	s.respond(code, reason, headers...)
}

// respond is Respond for callers that hold ep.mu.
func (s *Server) respond(code int, reason string, headers ...sip.Header) {
	if s.final != 0 || s.ep.closed {
		return
	}
	res := sip.NewResponseFromRequest(s.Request, code, reason, nil)
	if to := res.To(); to != nil && code != 100 {
		to.Params.Add("tag", s.tag)
	}
	for _, h := range headers {
		res.AppendHeader(h)
	}
	s.last = []byte(res.String())
	s.ep.write(s.last, s.dst)
	if code < 200 {
		return
	}
	s.final = code
	if s.Request.Method != sip.INVITE {
		s.timer.Reset(linger)
		return
	}
	if code < 300 {
		s.ep.acks[ackKey(s.Request.CallID().Value(), s.tag, s.Request.CSeq().SeqNo)] = s
	}
	s.timer.Reset(s.wait)
}

// again handles a repeated request, or the ACK of a non-2xx. The caller holds ep.mu.
func (s *Server) again(req *sip.Request) {
	if req.Method == sip.ACK {
		s.confirm()
		return
	}
	if s.last != nil {
		s.ep.stats.Retransmitted.Add(1)
		s.ep.write(s.last, s.dst)
	}
}

// confirm notes the ACK. The caller holds ep.mu.
func (s *Server) confirm() {
	if !s.acks && s.final != 0 {
		s.acks = true
		close(s.acked)
		s.timer.Reset(linger)
	}
}

// tick is Timer G, the repetition of a 2xx, and the end of the transaction.
func (s *Server) tick() {
	s.ep.mu.Lock()
	defer s.ep.mu.Unlock()
	if s.ep.closed {
		return
	}
	if s.final != 0 && s.Request.Method == sip.INVITE && !s.acks && time.Since(s.Received) < 2*linger {
		if s.ep.reliable && s.final >= 300 { // no Timer G
			s.timer.Reset(2*linger - time.Since(s.Received) + time.Millisecond)
			return
		}
		s.ep.stats.Retransmitted.Add(1)
		s.ep.write(s.last, s.dst)
		s.wait = min(2*s.wait, T2)
		s.timer.Reset(s.wait)
		return
	}
	delete(s.ep.servers, s.key)
	delete(s.ep.acks, ackKey(s.Request.CallID().Value(), s.tag, s.Request.CSeq().SeqNo))
}

// Header is the value of one of the request's headers, "" when there is none.
func (s *Server) Header(name string) string {
	if h := s.Request.GetHeader(name); h != nil {
		return h.Value()
	}
	return ""
}

func (s *Server) String() string {
	return string(s.Request.Method) + " " + s.Request.CallID().Value() + " " + strconv.Itoa(s.final)
}
