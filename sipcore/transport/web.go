package transport

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"holdline/sipcore/wire"
)

// subprotocol is how SIP is asked for in a WebSocket handshake (RFC 7118 §4.1).
const subprotocol = "sip"

// webListener hands accepted connections to the HTTP server that does the handshakes.
type webListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *webListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *webListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *webListener) Addr() net.Addr { return &net.TCPAddr{} }

// webConn is a connection as the HTTP server sees it. done is closed with it.
type webConn struct {
	net.Conn
	c    *conn
	ws   chan *websocket.Conn // gets what a handshake has made of it
	done chan struct{}
	once sync.Once
}

func (w *webConn) Close() error {
	err := w.Conn.Close()
	w.once.Do(func() { close(w.done) })
	return err
}

type webConnKey struct{}

func (s *Streams) startWeb() {
	s.webConns = webListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	s.web = &http.Server{
		Handler:           http.HandlerFunc(s.upgrade),
		ReadHeaderTimeout: s.o.Limits.First,
		WriteTimeout:      s.o.Limits.First,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, webConnKey{}, nc)
		},
	}
	s.web.SetKeepAlivesEnabled(false)
	s.wg.Go(func() {
		if err := s.web.Serve(&s.webConns); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.log.Error("WebSocket handshakes ended", "err", err)
		}
	})
}

func (s *Streams) stopWeb() error { return errors.Join(s.webConns.Close(), s.web.Close()) }

// serveWeb has the handshake of a WebSocket done and reads its messages to the end. The HTTP server's own goroutine must not: the server
// catches panics, and the node would go on with a shard locked for good, where a process that ends has its VIPs taken over.
func (s *Streams) serveWeb(c *conn) {
	w := &webConn{Conn: c.rw, c: c, ws: make(chan *websocket.Conn, 1), done: make(chan struct{})}
	c.mu.Lock()
	c.open = false // until the handshake is done
	c.mu.Unlock()
	select {
	case s.webConns.conns <- w:
	case <-s.webConns.closed:
		return
	}
	select {
	case c.ws = <-w.ws:
	case <-w.done: // no handshake
		return
	}
	c.opened()
	c.readWeb(time.Now().Add(s.o.Limits.First))
	c.reset(endPeer)
	_ = c.ws.CloseNow() // the connection is closed already: it fails
}

// upgrade turns an HTTP request into a WebSocket, for serveWeb.
func (s *Streams) upgrade(rw http.ResponseWriter, r *http.Request) {
	w, ok := r.Context().Value(webConnKey{}).(*webConn)
	if !ok {
		return
	}
	c := w.c
	if !offers(r, subprotocol) {
		s.counters.ended[endHandshake].Add(1)
		http.Error(rw, "this is a SIP server: connect a WebSocket with subprotocol sip", http.StatusUpgradeRequired)
		return
	}
	opt := &websocket.AcceptOptions{Subprotocols: []string{subprotocol}, CompressionMode: websocket.CompressionDisabled}
	if s.o.Origins != nil {
		opt.OriginPatterns = s.o.Origins()
	}
	opt.InsecureSkipVerify = len(opt.OriginPatterns) == 0 || slices.Contains(opt.OriginPatterns, "*")
	ws, err := websocket.Accept(rw, r, opt)
	if err != nil {
		s.counters.ended[endHandshake].Add(1)
		s.log.Debug("WebSocket handshake failed", "remote", c.flow.Remote.String(), "err", err)
		return
	}
	ws.SetReadLimit(wire.MaxMessage)
	w.ws <- ws
}

func offers(r *http.Request, want string) bool {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(p), want) {
				return true
			}
		}
	}
	return false
}
