package transport

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"holdline/fsm/pb"
)

// key names an endpoint in flows.
type key struct {
	group uint32
	vip   uint8
	port  uint16
}

func (f Flow) key() key { return key{f.Group, f.VIP, f.Port} }

func (ep Endpoint) key() key { return key{ep.Group, ep.VIP, ep.Local.Port()} }

// table is the set of open endpoints; never changed once in use.
type table struct {
	open map[key]*listener
}

// listener is an open endpoint: one socket per reader.
type listener struct {
	ep      Endpoint
	sockets []*socket
}

func (l *listener) close() error {
	var errs []error
	for _, s := range l.sockets {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

var (
	errClosed    = errors.New("the transport is closed")
	errDuplicate = errors.New("two addresses have the same group, VIP number and port")
)

// ListenError is an endpoint that could not be opened.
type ListenError struct {
	Proto pb.Transport
	Local netip.AddrPort
	Err   error
}

func (e *ListenError) Error() string {
	if e.Proto == pb.Transport_UDP {
		return fmt.Sprintf("open SIP socket on %s: %v", e.Local, e.Err)
	}
	return fmt.Sprintf("open SIP listener for %s on %s: %v", e.Proto, e.Local, e.Err)
}

func (e *ListenError) Unwrap() error { return e.Err }

// Unopened finds the endpoints that could not be opened in what the two SetEndpoints have returned, wrapped or joined.
func Unopened(err error) []*ListenError {
	switch err := err.(type) {
	case *ListenError:
		return []*ListenError{err}
	case interface{ Unwrap() error }:
		return Unopened(err.Unwrap())
	case interface{ Unwrap() []error }:
		var out []*ListenError
		for _, e := range err.Unwrap() {
			out = append(out, Unopened(e)...)
		}
		return out
	}
	return nil
}

// SetEndpoints opens and closes sockets so that exactly these endpoints are listened on. An endpoint that cannot be
// opened is left out and named in the error; the others are served. It does not wait for handlers that are running.
func (u *UDP) SetEndpoints(eps []Endpoint) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	select {
	case <-u.closed:
		if len(eps) > 0 {
			return fmt.Errorf("open SIP sockets: %w", errClosed)
		}
		return nil
	default:
	}
	var errs []error
	want := make(map[key]Endpoint, len(eps))
	for _, ep := range eps {
		if _, twice := want[ep.key()]; twice {
			errs = append(errs, &ListenError{pb.Transport_UDP, ep.Local, errDuplicate})
			continue
		}
		want[ep.key()] = ep
	}
	next := maps.Clone(u.table.Load().open)
	if next == nil {
		next = make(map[key]*listener)
	}
	for k, l := range next {
		if want[k] != l.ep {
			delete(next, k)
			defer func() {
				if err := l.close(); err != nil {
					u.log.Warn("closing SIP socket", "local", l.ep.Local.String(), "err", err)
				}
			}()
		}
	}
	for k, ep := range want {
		if next[k] != nil {
			continue
		}
		l, err := u.listen(ep)
		if err != nil {
			errs = append(errs, &ListenError{pb.Transport_UDP, ep.Local, err})
			continue
		}
		next[k] = l
	}
	u.table.Store(&table{open: next})
	return errors.Join(errs...)
}

// listen opens the sockets of an endpoint, all before the first is read, so that the kernel spreads peers over all of them.
func (u *UDP) listen(ep Endpoint) (*listener, error) {
	l := &listener{ep: ep}
	for i := range u.o.Readers {
		s, err := u.open(ep, i)
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.sockets = append(l.sockets, s)
	}
	for _, s := range l.sockets {
		if err := u.readerOf(s).add(s); err != nil {
			return nil, errors.Join(fmt.Errorf("read: %w", err), l.close())
		}
	}
	return l, nil
}
