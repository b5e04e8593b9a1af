package vip

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ipcServer serves guard.sock beside the loop. It does what may block (files, validation) itself and leaves the rest to
// the loop.
type ipcServer struct {
	guard    *guard
	listener *net.UnixListener
	log      *slog.Logger

	mu     sync.Mutex
	conns  map[*ipcConn]struct{} // nil: closed
	wg     sync.WaitGroup
	stateM sync.Mutex // one configuration at a time
}

const ipcMaxConns = 32

// ipcConn is one connection. The loop writes to out, never to conn.
type ipcConn struct {
	conn   *net.UnixConn
	out    chan []byte
	pid    int
	pidfd  int  // -1: none
	core   bool // has said hello as the core; set before the loop knows it
	closed chan struct{}
	once   sync.Once

	// What follows is the loop's.
	beat       uint64
	beatAt     int64
	configured bool
	stalled    bool
}

func newIPCServer(g *guard, l *net.UnixListener) *ipcServer {
	return &ipcServer{guard: g, listener: l, log: g.log, conns: map[*ipcConn]struct{}{}}
}

func (s *ipcServer) run() {
	for {
		conn, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Warn("accept connection", "err", err)
			time.Sleep(10 * time.Millisecond) // out of descriptors, say
			continue
		}
		if err := s.admit(conn); err != nil {
			s.log.Warn("connection refused", "err", err)
			conn.Close()
		}
	}
}

// admit checks who is there: the same user or root.
func (s *ipcServer) admit(conn *net.UnixConn) error {
	c := &ipcConn{conn: conn, out: make(chan []byte, 1024), closed: make(chan struct{}), pidfd: -1}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		if cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); credErr != nil {
			return
		}
		// Linux 6.5 hands out the descriptor of the very process that connected; before, its number is looked up, which
		// is as good as long as the connection lives.
		const soPeerPidfd = 77
		if c.pidfd, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, soPeerPidfd); err != nil {
			c.pidfd, err = unix.PidfdOpen(int(cred.Pid), 0)
		}
	}); err != nil || credErr != nil {
		return errors.Join(err, credErr)
	}
	if err != nil {
		c.pidfd = -1 // the end of the connection tells of its end too
		s.log.Warn("watch peer process", "pid", cred.Pid, "err", err)
	}
	if uid := int(cred.Uid); uid != 0 && uid != os.Getuid() {
		c.closePidfd()
		return fmt.Errorf("user %d may not talk to the guard of user %d", uid, os.Getuid())
	}
	c.pid = int(cred.Pid)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil || len(s.conns) >= ipcMaxConns {
		c.closePidfd()
		return errors.New("too many connections")
	}
	s.conns[c] = struct{}{}
	s.wg.Go(c.write)
	s.wg.Go(func() {
		s.read(c)
		c.close()
		s.guard.post(func() { s.guard.connGone(c) })
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	})
	return nil
}

// close ends all connections and waits for their goroutines. The loop has ended.
func (s *ipcServer) close() {
	s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.drain()
		c.close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.wg.Wait()
}

func (c *ipcConn) closePidfd() {
	if c.pidfd >= 0 {
		unix.Close(c.pidfd)
		c.pidfd = -1
	}
}

func (c *ipcConn) close() {
	c.once.Do(func() {
		close(c.closed)
		c.conn.Close()
	})
}

// drain gives the writer a moment for what is queued.
func (c *ipcConn) drain() {
	for range 50 {
		if len(c.out) == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// send queues a message; a peer that does not read is cut off, and finds the present state when it comes back.
func (c *ipcConn) send(m message) {
	line, err := encodeLine(m)
	if err != nil {
		c.close()
		return
	}
	select {
	case c.out <- line:
	case <-c.closed:
	default:
		c.close()
	}
}

func (c *ipcConn) write() {
	for {
		select {
		case line := <-c.out:
			_ = c.conn.SetWriteDeadline(time.Now().Add(time.Second)) // a failure shows in Write
			if _, err := c.conn.Write(line); err != nil {
				c.close()
				return
			}
		case <-c.closed:
			return
		}
	}
}

func (s *ipcServer) read(c *ipcConn) {
	in := newLineReader(c.conn)
	for first := true; ; first = false {
		var r request
		if err := in.read(&r); err != nil {
			s.log.Debug("connection ends", "pid", c.pid, "err", err)
			return
		}
		if first != (r.Op == opHello) || first && r.Version != ipcVersion {
			c.send(message{ID: r.ID, Error: fmt.Sprintf("protocol %d is spoken here and begins with hello: guard and core are of different versions", ipcVersion)})
			c.drain()
			return
		}
		s.handle(c, r)
	}
}

// handle carries out one request and queues its reply.
func (s *ipcServer) handle(c *ipcConn, r request) {
	g := s.guard
	fail := func(err error) { c.send(message{ID: r.ID, Error: err.Error()}) }
	if !c.core && (r.Op == opConfigure || r.Op == opRelease || r.Op == opForget) {
		fail(errors.New("only the core may do that"))
		return
	}
	switch r.Op {
	case opHello:
		c.core = r.Core
		g.post(func() {
			c.send(message{ID: r.ID})
			if c.core {
				g.attach(c)
			}
		})
	case opConfigure:
		if r.Config == nil {
			fail(errors.New("no configuration"))
			return
		}
		if err := s.persist(r.Config); err != nil {
			fail(err)
			return
		}
		g.post(func() {
			g.configure(c, r.Config, func(err error) {
				if err != nil {
					fail(err)
					return
				}
				c.send(message{ID: r.ID})
			})
		})
	case opRelease:
		g.post(func() {
			if err := g.release(r.Group, r.To); err != nil {
				fail(err)
				return
			}
			c.send(message{ID: r.ID})
		})
	case opForget:
		g.post(func() {
			if err := g.forget(c); err != nil {
				fail(err)
				return
			}
			c.send(message{ID: r.ID})
		})
	case opStatus:
		g.post(func() {
			status := g.status()
			c.send(message{ID: r.ID, Status: &status})
		})
	case opBye:
		g.post(func() {
			g.detach(c, "core ended")
			c.send(message{ID: r.ID})
		})
	default:
		fail(fmt.Errorf("unknown request %q", r.Op))
	}
}

// persist validates a configuration and makes its epoch and voters durable, before the loop acts on them.
func (s *ipcServer) persist(cfg *Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	s.stateM.Lock()
	defer s.stateM.Unlock()
	next, changed, err := s.guard.state.admit(cfg)
	if err != nil || !changed {
		return err
	}
	if err := next.save(s.guard.opt.DataDir); err != nil {
		return err
	}
	s.guard.state = next
	return nil
}
