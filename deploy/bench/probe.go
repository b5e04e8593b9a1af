package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"holdline/deploy/lab/netlab"
)

// until repeats fn until it succeeds; patience is bounded, and the last error is returned.
func until(ctx context.Context, patience time.Duration, fn func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := fn()
		if err == nil {
			return nil
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return err
		}
	}
}

// pause waits for d, or until ctx is done, whose error it returns.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waitForOptions waits until a SIP server answers OPTIONS.
func waitForOptions(ctx context.Context, from *netlab.Box, target string, patience time.Duration) error {
	var conn net.Conn
	err := from.Do(func() (err error) {
		conn, err = net.Dial("udp4", target)
		return err
	})
	if err != nil {
		return fmt.Errorf("open a socket to %s: %w", target, err)
	}
	defer conn.Close()
	local := conn.LocalAddr().String()
	buf, n := make([]byte, 2048), 0
	return until(ctx, patience, func() error {
		n++
		msg := fmt.Sprintf("OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKprobe%d\r\nFrom: <sip:probe@%s>;tag=p\r\nTo: <sip:%s>\r\n"+
			"Call-ID: probe-%d@%s\r\nCSeq: %d OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n", target, local, n, local, target, n, local, n)
		if _, err := conn.Write([]byte(msg)); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return err
		}
		_, err := conn.Read(buf)
		return err
	})
}
