package port

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"holdline/cluster/pki"
)

// ErrGated is what raft gets from Dial while its traffic is stopped.
var ErrGated = errors.New("raft traffic of this node is stopped: its disk does not answer")

// Raft carries raft's connections over the port; it is its raft.StreamLayer.
type Raft struct {
	port   *Port
	config func(addr netip.AddrPort) (*tls.Config, error) // for the member that listens on addr

	accepted chan net.Conn
	done     chan struct{}
	once     sync.Once

	mu    sync.Mutex
	gated bool
	conns map[*raftConn]struct{}
}

// raftConn is known to the gate until it is closed.
type raftConn struct {
	net.Conn
	layer *Raft
	once  sync.Once
	done  chan struct{}
}

// NewRaft serves raft on p. config finds the TLS configuration to dial a member with, by its address.
func NewRaft(p *Port, config func(netip.AddrPort) (*tls.Config, error)) *Raft {
	r := &Raft{port: p, config: config, accepted: make(chan net.Conn), done: make(chan struct{}), conns: map[*raftConn]struct{}{}}
	p.Handle(pki.ProtoRaft, r.serve)
	return r
}

func (r *Raft) serve(conn *tls.Conn) {
	c, err := r.add(conn)
	if err != nil {
		return
	}
	select {
	case r.accepted <- c:
		<-c.done // the port closes and forgets the connection when this returns
	case <-r.done:
		_ = c.Close()
	}
}

func (r *Raft) add(conn net.Conn) (*raftConn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gated {
		_ = conn.Close()
		return nil, ErrGated
	}
	c := &raftConn{Conn: conn, layer: r, done: make(chan struct{})}
	r.conns[c] = struct{}{}
	return c, nil
}

// Close closes the connection once.
func (c *raftConn) Close() error {
	var err error
	c.once.Do(func() {
		err = c.Conn.Close()
		c.layer.mu.Lock()
		delete(c.layer.conns, c)
		c.layer.mu.Unlock()
		close(c.done)
	})
	return err
}

// Accept implements net.Listener.
func (r *Raft) Accept() (net.Conn, error) {
	select {
	case c := <-r.accepted:
		return c, nil
	case <-r.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. The port itself stays open.
func (r *Raft) Close() error {
	r.once.Do(func() { close(r.done) })
	r.closeAll()
	return nil
}

// Addr implements net.Listener.
func (r *Raft) Addr() net.Addr { return r.port.listener.Addr() }

// Dial implements raft.StreamLayer.
func (r *Raft) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	to, err := netip.ParseAddrPort(string(address))
	if err != nil {
		return nil, fmt.Errorf("dial raft peer: %w", err)
	}
	r.mu.Lock()
	gated := r.gated
	r.mu.Unlock()
	if gated {
		return nil, ErrGated
	}
	config, err := r.config(to)
	if err != nil {
		return nil, fmt.Errorf("dial raft peer %s: %w", to, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := Dial(ctx, r.port.Addr().Addr(), to, config)
	if err != nil {
		return nil, fmt.Errorf("dial raft peer %s: %w", to, err)
	}
	return r.add(conn)
}

// Gate stops all raft traffic of this node, or lets it go on. A leader whose disk hangs would go on sending heartbeats, and
// no other could be elected: so it is silenced until its disk answers.
func (r *Raft) Gate(on bool) {
	r.mu.Lock()
	r.gated = on
	r.mu.Unlock()
	if on {
		r.closeAll()
	}
}

func (r *Raft) closeAll() {
	r.mu.Lock()
	all := make([]*raftConn, 0, len(r.conns))
	for c := range r.conns {
		all = append(all, c)
	}
	r.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}
