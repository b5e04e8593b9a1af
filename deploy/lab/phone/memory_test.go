package phone

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ether carries datagrams between sockets in memory, in order, and drops what a test says.
type ether struct {
	mu    sync.Mutex
	socks map[netip.AddrPort]*socket
	drop  func(first string, n int) bool // start line, how often it was sent before
	sent  map[string]int
}

type socket struct {
	net   *ether
	addr  netip.AddrPort
	queue chan packet
	done  chan struct{}
}

type packet struct {
	src  netip.AddrPort
	data []byte
}

func newEther() *ether { return &ether{socks: map[netip.AddrPort]*socket{}, sent: map[string]int{}} }

func (e *ether) listen(addr string) *socket {
	s := &socket{net: e, addr: netip.MustParseAddrPort(addr), queue: make(chan packet, 1000), done: make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.socks[s.addr] = s
	return s
}

func (s *socket) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case p := <-s.queue:
		return copy(b, p.data), p.src, nil
	case <-s.done:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (s *socket) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	first, _, _ := strings.Cut(string(b), "\r\n")
	s.net.mu.Lock()
	n := s.net.sent[first]
	s.net.sent[first]++
	dst := s.net.socks[to]
	dropped := s.net.drop != nil && s.net.drop(first, n)
	s.net.mu.Unlock()
	if dropped || dst == nil {
		return len(b), nil
	}
	select {
	case dst.queue <- packet{s.addr, append([]byte(nil), b...)}:
	default:
		return 0, os.ErrDeadlineExceeded
	}
	return len(b), nil
}

func (s *socket) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(s.addr) }

func (s *socket) Close() error { close(s.done); return nil }

func (e *ether) count(prefix string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for first, times := range e.sent {
		if strings.HasPrefix(first, prefix) {
			n += times
		}
	}
	return n
}
