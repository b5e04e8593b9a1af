package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdline/cluster/api"
)

// serveHere runs the daemon, unconfigured, inside the test; end stops it and returns its error.
func serveHere(t *testing.T, metrics string) (c *api.Client, end func() error) {
	t.Helper()
	dir := t.TempDir()
	o := serveOptions{
		config:  config{DataDir: filepath.Join(dir, "data"), Socket: filepath.Join(dir, "s")},
		metrics: metrics,
		log:     slog.New(slog.DiscardHandler),
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, o) }()
	c = api.NewClient(o.Socket)
	t.Cleanup(c.Close)
	return c, func() error {
		cancel()
		return <-done
	}
}

// systemd hears READY, then WATCHDOG with a status line again and again, and STOPPING at the end.
func TestServeTellsSystemd(t *testing.T) {
	notify := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", notify)
	t.Setenv("WATCHDOG_USEC", "60000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	_, end := serveHere(t, "")

	await := func(want string) {
		t.Helper()
		b := make([]byte, 1024)
		if err := l.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for {
			n, err := l.Read(b)
			if err != nil {
				t.Fatalf("systemd never heard %q: %v", want, err)
			}
			if strings.Contains(string(b[:n]), want) {
				return
			}
		}
	}
	await("READY=1")
	await("WATCHDOG=1\nSTATUS=HA: no, this node is not configured")
	await("WATCHDOG=1")
	if err := end(); err != nil {
		t.Error(err)
	}
	await("STOPPING=1")
}

func TestMetricsOverTCP(t *testing.T) {
	// A port that is free now: serve has no way to tell which one it got.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if _, end := serveHere(t, addr); !strings.Contains(errText(end()), "choose another --metrics") {
		t.Error("a port that is taken is not reported")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c, end := serveHere(t, addr)
	defer func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	}()
	for deadline := time.Now().Add(10 * time.Second); c.Ready(t.Context()) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("the daemon does not answer")
		}
	}
	for path, want := range map[string]string{"/metrics": `holdline_ha{level="unconfigured"} 0`, "/livez": "ok", "/v1/status": "404"} {
		res, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if !strings.Contains(string(text), want) {
			t.Errorf("%s: want %s in %s", path, want, text)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
