package link

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A node that comes back is dialled at once when it has dialled us: what it must be told of a lost leader's log, and frames for it, do not wait for
// half a second.
func TestPeerThatComesBackIsDialledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards dials
		var dials []time.Time
		dialled := func() []time.Time {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(dials)
		}
		l := New(Options{
			Self: 1, Owners: view{&board{}, 1}, Handler: &station{}, Logger: slog.New(slog.DiscardHandler),
			Dial: func(context.Context, uint32) (net.Conn, error) {
				mu.Lock()
				defer mu.Unlock()
				dials = append(dials, time.Now())
				return nil, errors.New("connection refused")
			},
		})
		l.SetPeers([]uint32{1, 2})
		time.Sleep(5*time.Second + time.Millisecond)
		synctest.Wait()
		before, now := len(dialled()), time.Now()
		if since := now.Sub(dialled()[before-1]); since == 0 || since > redialMost {
			t.Fatalf("last dialled %v ago", since)
		}
		near, far := net.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- l.Serve(2, near) }()
		synctest.Wait()
		if at := dialled(); len(at) != before+1 || !at[before].Equal(now) {
			t.Errorf("dialled %d times when the peer came in, want once, at once", len(at)-before)
		}
		time.Sleep(redialFirst)
		synctest.Wait()
		if n := len(dialled()); n != before+2 {
			t.Errorf("dialled %d times %v later, want the pauses to begin anew", n-before-1, redialFirst)
		}
		l.Close()
		_ = far.Close()
		<-ended
	})
}
