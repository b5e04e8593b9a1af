package main

import (
	"context"
	"fmt"
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
		config: config{DataDir: filepath.Join(dir, "data"), Socket: filepath.Join(dir, "s"), Metrics: metrics},
		log:    slog.New(slog.DiscardHandler),
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

// Where metrics are served and how much is logged may stand in the file: the package's unit gives no flags.
func TestServeGoesByTheFile(t *testing.T) {
	dir, addr := t.TempDir(), freeAddress(t)
	file := filepath.Join(dir, "holdline.yaml")
	text := fmt.Sprintf("data_dir: %s/data\nsocket: %s/s\nmetrics: %s\nlog_level: error\n", dir, dir, addr)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOLDLINE_SOCKET", "")
	t.Setenv(slackSet, "1") // this process is not to start anew
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var log strings.Builder
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"serve", "--config", file}, nil, io.Discard, &log) }()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if res, err := http.Get("http://" + addr + "/livez"); err == nil {
			res.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is served on the address in the file")
		}
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if code := <-ended; code != exitOK || log.String() != "" {
		t.Errorf("exit code %d, log: %s", code, log.String())
	}
}

// freeAddress is one that nothing listens on now: serve has no way to tell which port it got.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

func TestMetricsOverTCP(t *testing.T) {
	// A port that is free now: serve has no way to tell which one it got.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if _, end := serveHere(t, addr); !strings.Contains(errText(end()), "choose another ADDRESS:PORT") {
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
