package sipcore

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// TestFlows: a phone with a connection to each of two nodes (RFC 5626) is called over one of them; over the other at once when that
// one is gone. It learns that its flows are kept, and how often to ping.
func TestFlows(t *testing.T) {
	l := newLab(t, 2)
	ctx := within(t)
	alice := l.softphone(t, "alice", "udp", 0)
	alice.register(ctx)
	var bob [2]*softphone
	for i := range bob {
		bob[i] = l.softphone(t, "bob", "tcp", i)
		c := &bob[i].ua.ContactHDR
		c.Params = sip.NewParams()
		c.Params.Add("+sip.instance", `"<urn:uuid:00000000-0000-4000-8000-000000000001>"`)
		c.Params.Add("reg-id", fmt.Sprint(i+1))
		bob[i].supported = "outbound, path"
		res := bob[i].register(ctx)
		if h := res.GetHeader("Require"); h == nil || h.Value() != "outbound" {
			t.Errorf("Require: %v", h)
		}
		if h := res.GetHeader("Flow-Timer"); h == nil || h.Value() != "120" {
			t.Errorf("Flow-Timer: %v", h)
		}
		if n := strings.Count(res.String(), "\r\nContact:"); n != i+1 {
			t.Errorf("%d contacts after flow %d:\n%s", n, i+1, res)
		}
	}
	hear := func(i int) {
		t.Helper()
		d := alice.call(ctx, "bob")
		in := receive(t, ctx, bob[i].in)
		receive(t, ctx, bob[i].acked)
		if err := d.Bye(ctx); err != nil {
			t.Error("BYE:", err)
		}
		receive(t, ctx, bob[i].byes)
		_ = in.Close() // over already
		if len(bob[1-i].in) != 0 {
			t.Error("both flows ring")
		}
	}
	hear(0)
	conns := l.cores[0].streams.Len()
	if err := bob[0].hangUp(); err != nil {
		t.Fatal(err)
	}
	for l.cores[0].streams.Len() == conns {
		if time.Sleep(time.Millisecond); ctx.Err() != nil {
			t.Fatal("the connection stays")
		}
	}
	began := time.Now()
	hear(1)
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("the second flow was taken after %v", d)
	}
}

// TestPings: both ways of keeping a flow alive are answered through the whole core (RFC 5626 §3.5): CRLF on streams and STUN over UDP.
func TestPings(t *testing.T) {
	l := newLab(t, 1)
	ctx := within(t)
	for _, c := range []struct {
		network, send, want string
	}{
		{"tcp", "\r\n\r\n", "\r\n"},
		{"udp", "\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl", "\x01\x01\x00\x0c\x21\x12\xa4\x42abcdefghijkl\x00\x20\x00\x08\x00\x01"},
	} {
		conn, err := new(net.Dialer).DialContext(ctx, c.network, fmt.Sprintf("127.0.0.101:%d", l.port))
		if err != nil {
			t.Fatal(err)
		}
		if err := deadline(ctx, conn); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(c.send)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 200)
		n, err := conn.Read(b)
		if err != nil || !strings.HasPrefix(string(b[:n]), c.want) {
			t.Errorf("%s: %q %v, want %q", c.network, b[:n], err, c.want)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

func deadline(ctx context.Context, c net.Conn) error {
	limit, _ := ctx.Deadline()
	return c.SetDeadline(limit)
}
