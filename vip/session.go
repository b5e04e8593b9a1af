package vip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// session is one connection to a guard.
type session struct {
	conn  net.Conn
	event func(Event)
	done  chan struct{} // closed when the session has ended and event will not be called again

	mu      sync.Mutex
	next    uint64
	pending map[uint64]chan message // buffered
	err     error                   // why it ended
}

func dialSession(ctx context.Context, runDir string, event func(Event)) (*session, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", sockPath(runDir))
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNotConnected, err)
	}
	s := &session{conn: conn, event: event, done: make(chan struct{}), pending: map[uint64]chan message{}}
	go s.read()
	return s, nil
}

func (s *session) read() {
	defer close(s.done)
	in := newLineReader(s.conn)
	for {
		var m message
		if err := in.read(&m); err != nil {
			s.close(fmt.Errorf("connection to guard: %w", err))
			return
		}
		if m.ID == 0 {
			if e := m.event(); e != nil { // nil: an event of a newer guard
				s.event(e)
			}
			continue
		}
		s.mu.Lock()
		reply := s.pending[m.ID]
		delete(s.pending, m.ID)
		s.mu.Unlock()
		if reply != nil {
			reply <- m
		}
	}
}

func (s *session) close(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.conn.Close()
}

func (s *session) alive() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

func (s *session) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// call sends a request and waits for its reply.
func (s *session) call(ctx context.Context, r request) (message, error) {
	reply := make(chan message, 1)
	s.mu.Lock()
	s.next++
	r.ID = s.next
	s.pending[r.ID] = reply
	line, err := encodeLine(r)
	if err == nil {
		_ = s.conn.SetWriteDeadline(time.Now().Add(time.Second)) // a failure shows in Write
		_, err = s.conn.Write(line)
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.pending, r.ID)
		s.mu.Unlock()
	}()
	if err != nil {
		s.close(err)
		return message{}, fmt.Errorf("ask guard: %w (%w)", ErrNotConnected, err)
	}
	select {
	case m := <-reply:
		if m.Error != "" {
			return m, errors.New(m.Error)
		}
		return m, nil
	case <-s.done:
		return message{}, fmt.Errorf("ask guard: %w (%w)", ErrNotConnected, s.reason())
	case <-ctx.Done():
		return message{}, fmt.Errorf("ask guard: %w", ctx.Err())
	}
}

func (s *session) hello(ctx context.Context, core bool) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := s.call(ctx, request{Op: opHello, Version: ipcVersion, Core: core})
	return err
}

func (s *session) status(ctx context.Context) (Status, error) {
	m, err := s.call(ctx, request{Op: opStatus})
	if err == nil && m.Status == nil {
		err = errors.New("the guard's answer has no status")
	}
	if err != nil {
		return Status{}, fmt.Errorf("guard status: %w", err)
	}
	return *m.Status, nil
}

// bye ends the session in good order: the guard has given the groups away when it returns.
func (s *session) bye() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = s.call(ctx, request{Op: opBye}) // if it fails the guard sees the connection end, to the same effect
	s.close(net.ErrClosed)
	<-s.done
}
