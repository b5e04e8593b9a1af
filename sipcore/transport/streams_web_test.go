package transport

import (
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"holdline/fsm/pb"
)

// webDial opens a WebSocket of a browser's kind, over WS or WSS.
func (l *streamLab) webDial(ctx context.Context, p pb.Transport) *websocket.Conn {
	l.t.Helper()
	scheme := map[pb.Transport]string{pb.Transport_WS: "ws://", pb.Transport_WSS: "wss://"}[p]
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // a test
	l.t.Cleanup(client.CloseIdleConnections)
	ws, _, err := websocket.Dial(ctx, scheme+l.addr(p).String(), &websocket.DialOptions{Subprotocols: []string{"sip"}, HTTPClient: client})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

// panicMark makes this test program one that panics while it handles a message, over the transport that it names.
const panicMark = "HOLDLINE_TEST_PANIC"

// TestStreamsPanicking is that program where it is started as one, and nothing else.
func TestStreamsPanicking(t *testing.T) {
	p, ok := pb.Transport_value[os.Getenv(panicMark)]
	if !ok {
		t.Skip("not started to panic")
	}
	l := newStreamLab(t, StreamOptions{})
	l.o.Certificates.Set(nil, certificate(t, "self"))
	close(l.in) // what the handler sends to
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if p := pb.Transport(p); p == pb.Transport_TCP {
		c := l.dialTCP(p)
		l.put(c, invite)
		t.Error("it goes on:", ended(c))
	} else {
		ws := l.webDial(ctx, p)
		if err := ws.Write(ctx, websocket.MessageText, []byte(invite)); err != nil {
			t.Fatal(err)
		}
		_, _, err := ws.Read(ctx)
		t.Error("it goes on:", err)
	}
}

// TestStreamsPanic: a panic in the handler ends the process, whatever the message came over: none of ours may go on with a lock taken.
func TestStreamsPanic(t *testing.T) {
	for _, p := range []pb.Transport{pb.Transport_TCP, pb.Transport_WS, pb.Transport_WSS} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestStreamsPanicking$")
		cmd.Env = append(os.Environ(), panicMark+"="+p.String())
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "panic: send on closed channel") {
			t.Errorf("%s: the process did not end by the panic: %v\n%s", p, err, out)
		}
	}
}

// TestStreamsPing: a phone's Ping and Close are answered (RFC 6455 §5.5), however long ago something was last written to it.
func TestStreamsPing(t *testing.T) {
	const limit = 200 * time.Millisecond
	l := newStreamLab(t, StreamOptions{Limits: StreamLimits{Write: limit}})
	l.o.Certificates.Set(nil, certificate(t, "self"))
	l.echo.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, p := range []pb.Transport{pb.Transport_WS, pb.Transport_WSS} {
		ws := l.webDial(ctx, p)
		if err := ws.Write(ctx, websocket.MessageText, []byte(invite)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := ws.Read(ctx); err != nil || string(got) != invite {
			t.Fatalf("%s: %q %v", p, got, err)
		}
		closed := make(chan error, 1)
		go func() { // Pongs are read by a reader
			_, _, err := ws.Read(ctx)
			closed <- err
		}()
		for end := time.Now().Add(2 * limit); time.Now().Before(end); time.Sleep(limit / 8) {
			if err := ws.Ping(ctx); err != nil {
				t.Fatalf("%s: a Ping is not answered: %v", p, err)
			}
		}
		if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Errorf("%s: %v", p, err)
		}
		if err := <-closed; websocket.CloseStatus(err) != websocket.StatusNormalClosure {
			t.Errorf("%s: a Close is not answered: %v", p, err)
		}
	}
}
