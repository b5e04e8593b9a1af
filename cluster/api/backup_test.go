package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// endless is a state that has no end.
type endless struct {
	recorder
	ended chan error
}

func (e *endless) Backup(_ context.Context, w io.Writer) (err error) {
	for err == nil {
		_, err = w.Write(make([]byte, 64<<10))
	}
	e.ended <- err
	return err
}

// oneConn is a listener that has one connection.
type oneConn chan net.Conn

func (o oneConn) Accept() (net.Conn, error) {
	if c, ok := <-o; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (o oneConn) Close() error   { return nil }
func (o oneConn) Addr() net.Addr { return &net.UnixAddr{} }

// A client that takes a backup and reads no more of it does not keep the state of that moment for ever.
func TestBackupThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &endless{ended: make(chan error, 1)}
		s := &http.Server{Handler: NewHandler(ServerOptions{Backend: b, Logger: slog.New(slog.DiscardHandler)}), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
		l := make(oneConn, 1)
		client, server := net.Pipe()
		l <- server
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		began := time.Now()
		if _, err := io.WriteString(client, "GET /v1/backup HTTP/1.1\r\nHost: holdline\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-b.ended:
			if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != backupTime {
				t.Errorf("ended after %v: %v", took, err)
			}
		case <-time.After(time.Hour):
			t.Error("it waits for ever")
		}
		_ = client.Close()
		close(l)
		_ = s.Close()
		<-served
	})
}
