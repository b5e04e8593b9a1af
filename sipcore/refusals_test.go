package sipcore

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// logText is a log that is written and read at once.
type logText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (t *logText) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(b)
}

func (t *logText) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// TestRefusalsOfANode: a phone with a wrong password, and with a name that nobody has, is in the node's memory and in its log; what registers is in neither.
// What cannot be read is in the memory.
func TestRefusalsOfANode(t *testing.T) {
	var text logText
	l := newLab(t, 1, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&text, nil)) })
	ctx := within(t)
	alice, _ := l.newPhone("alice", l.vip(0))
	start := time.Now()
	if res, err := alice.Register(ctx, time.Hour); err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	if all, left := l.cores[0].Refusals(); len(all) != 0 || left != 0 {
		t.Fatalf("remembered: %+v, %d left out", all, left)
	}
	if c := l.cores[0].stats.Challenged.Load(); c != 1 {
		t.Errorf("%d challenges counted", c)
	}
	alice.Password = "guess"
	if res, err := alice.Register(ctx, time.Hour); err == nil && res.StatusCode == 200 {
		t.Fatal(res)
	}
	alice.User, alice.Password = "nobody", "guess"
	if res, err := alice.Register(ctx, time.Hour); err == nil && res.StatusCode == 200 {
		t.Fatal(res)
	}
	conn, err := net.Dial("udp", l.vip(0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKbad;rport\r\n"+
		"From: <sip:x\x1b@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: bad\r\nCSeq: 1 BYE\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 2048)); err != nil || n == 0 {
		t.Fatal(err)
	}
	all, _ := l.cores[0].Refusals()
	var got []string
	for i := range all {
		x := &all[i]
		if x.Time.Before(start) || x.Time.After(time.Now()) || x.Source.Addr() != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("%+v", x)
		}
		got = append(got, fmt.Sprintf("%s %s %d %s (%s)", x.Method, x.To, x.Status, x.Why, x.User))
	}
	want := []string{"REGISTER sip:alice@example.com 401 wrong password (alice)", "REGISTER sip:nobody@example.com 401 unknown user (nobody)", "INVITE sip:bob@example.com 400  ()"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("remembered:\n%s", strings.Join(got, "\n"))
	}
	line := regexp.MustCompile(`(?m)^time=\S+ level=INFO msg="wrong credentials" source=127\.0\.0\.1 port=\d+ transport=udp method=REGISTER user=nobody .* why="unknown user"$`)
	eventually(t, ctx, "it is in the log", func() bool { return line.MatchString(text.String()) })
	if n := strings.Count(text.String(), "wrong credentials"); n != 2 {
		t.Errorf("%d lines:\n%s", n, text.String())
	}
}
