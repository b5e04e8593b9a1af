// Package port is the one TCP port of a node (7700). Everything between nodes goes through it in TLS 1.3; ALPN tells raft,
// the node link and join apart. Who may speak raft and link is decided in the handshake, against the member table.
package port

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Default is the cluster port; memberlist and the lease heartbeats use the next two.
const Default = 7700

const (
	handshakeTimeout = 2 * time.Second
	maxHandshakes    = 64 // at a time; more are closed: nothing that comes off the network grows memory without bound
	// UserTimeout kills a connection whose data is not acknowledged (TCP_USER_TIMEOUT): a pulled cable is noticed at once.
	UserTimeout = 400 * time.Millisecond
)

// Port accepts and dials.
type Port struct {
	listener *net.TCPListener
	config   atomic.Pointer[tls.Config]
	logger   *slog.Logger
	slots    chan struct{}

	mu       sync.Mutex
	handlers map[string]func(*tls.Conn)
	conns    map[net.Conn]struct{}
	secured  map[*tls.Conn]struct{} // those of conns that have shown who they are
	closed   bool
	wg       sync.WaitGroup
}

// Listen opens the port. config may be exchanged later (SetConfig). It fails with one line when the address is not on this
// machine or in use.
func Listen(addr netip.AddrPort, config *tls.Config, logger *slog.Logger) (*Port, error) {
	if err := CheckLocal(addr.Addr()); err != nil {
		return nil, err
	}
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s: the port is in use by another program: stop it, or choose another port with --listen IP:PORT", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	p := &Port{
		listener: listener, logger: logger,
		slots:    make(chan struct{}, maxHandshakes),
		handlers: map[string]func(*tls.Conn){}, conns: map[net.Conn]struct{}{}, secured: map[*tls.Conn]struct{}{},
	}
	p.config.Store(config)
	p.wg.Go(p.accept)
	return p, nil
}

// ErrForeign is what CheckLocal says of an address that this machine does not have.
var ErrForeign = errors.New("that address is not on this machine")

// CheckLocal says whether addr is an address of this machine. The kernel would let us bind to foreign ones too, once
// ip_nonlocal_bind is set for the VIPs.
func CheckLocal(addr netip.Addr) error {
	if addr.IsUnspecified() {
		return fmt.Errorf("listen on %s: peers need one address to reach this node by: give that address", addr)
	}
	if addr.IsLoopback() {
		return nil
	}
	local, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("list addresses of this machine: %w", err)
	}
	for _, a := range local {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == addr.Unmap() {
				return nil
			}
		}
	}
	return fmt.Errorf("listen on %s: %w: see `ip address`", addr, ErrForeign)
}

// SetConfig exchanges the TLS configuration for connections accepted from now on.
func (p *Port) SetConfig(config *tls.Config) { p.config.Store(config) }

// Handle serves accepted connections of an ALPN protocol. serve owns the connection, is called on a goroutine of its own
// and must return when the connection is closed.
func (p *Port) Handle(proto string, serve func(*tls.Conn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handlers[proto] = serve
}

// Addr is the address listened on.
func (p *Port) Addr() netip.AddrPort { return p.listener.Addr().(*net.TCPAddr).AddrPort() }

// Close stops accepting, closes every accepted connection and waits for their handlers.
func (p *Port) Close() {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	_ = p.listener.Close()
	p.wg.Wait()
}

func (p *Port) accept() {
	for {
		conn, err := p.listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, or a connection gone before it was accepted
			p.logger.Warn("cluster port: accept failed", "err", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		select {
		case p.slots <- struct{}{}:
		default:
			_ = conn.Close()
			continue
		}
		if !p.track(conn) {
			<-p.slots
			_ = conn.Close()
			return
		}
		p.wg.Go(func() {
			defer p.untrack(conn)
			p.serve(conn)
		})
	}
}

func (p *Port) track(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.conns[conn] = struct{}{}
	return true
}

func (p *Port) untrack(conn net.Conn) {
	_ = conn.Close()
	p.mu.Lock()
	delete(p.conns, conn)
	p.mu.Unlock()
}

func (p *Port) serve(conn *net.TCPConn) {
	secured, err := p.handshake(conn)
	<-p.slots
	if err != nil {
		p.logger.Debug("cluster port: refused", "remote", conn.RemoteAddr(), "err", err)
		return
	}
	p.mu.Lock()
	p.secured[secured] = struct{}{}
	serve := p.handlers[secured.ConnectionState().NegotiatedProtocol]
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.secured, secured)
		p.mu.Unlock()
	}()
	p.recheck(secured) // the member table may have changed since the handshake
	if serve != nil {
		serve(secured)
	}
}

// Recheck closes accepted connections whose other end would not be let in any more: the member table has changed.
func (p *Port) Recheck() {
	p.mu.Lock()
	all := slices.Collect(maps.Keys(p.secured))
	p.mu.Unlock()
	for _, c := range all {
		p.recheck(c)
	}
}

func (p *Port) recheck(c *tls.Conn) {
	verify := p.config.Load().VerifyConnection
	if verify == nil { // a joiner's port lets itself be probed by anybody
		return
	}
	if err := verify(c.ConnectionState()); err != nil {
		p.logger.Info("cluster port: connection closed", "remote", c.RemoteAddr(), "err", err)
		_ = c.NetConn().Close()
	}
}

func (p *Port) handshake(conn *net.TCPConn) (*tls.Conn, error) {
	plain, err := tune(conn)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	secured := tls.Server(plain, p.config.Load())
	return secured, secured.HandshakeContext(ctx)
}

// Dial connects to a cluster port from the local address that this node listens on, so that firewalls see one pair of
// addresses.
func Dial(ctx context.Context, local netip.Addr, to netip.AddrPort, config *tls.Config) (*tls.Conn, error) {
	dialer := net.Dialer{}
	if local.IsValid() {
		dialer.LocalAddr = &net.TCPAddr{IP: local.AsSlice()}
	}
	conn, err := dialer.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	plain, err := tune(conn.(*net.TCPConn))
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	secured := tls.Client(plain, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// badCertificate is the alert (RFC 8446 §6.2) that crypto/tls sends when VerifyConnection fails.
const badCertificate tls.AlertError = 42

// Refused says of an error of a dialled connection that the other side does not let this node in. In TLS 1.3 the first read tells, not the
// handshake.
func Refused(err error) bool {
	var alert *net.OpError
	return errors.As(err, &alert) && alert.Op == "remote error" && alert.Err.Error() == badCertificate.Error()
}

// tune makes a connection what those between nodes are.
func tune(c *net.TCPConn) (*conn, error) {
	plain, err := newConn(c)
	if err != nil {
		return nil, fmt.Errorf("set TCP options: %w", err)
	}
	var set error
	err = plain.raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(UserTimeout.Milliseconds()))
	})
	if err := errors.Join(err, set); err != nil {
		return nil, fmt.Errorf("set TCP options: %w", err)
	}
	return plain, nil
}
