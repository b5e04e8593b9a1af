package transport

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// TestSpreading: the decision follows the load, and comes back only after a while with little to do.
func TestSpreading(t *testing.T) {
	var s spreading
	step := func(busy float64, n int, want bool) {
		t.Helper()
		for range n {
			s.look(busy)
		}
		if s.on != want {
			t.Fatalf("%d looks at %.2f: spread %v, want %v", n, busy, s.on, want)
		}
	}
	step(0.4, 50, false)
	step(0.8, 1, true)
	step(0.6, 50, true) // would do for one reader, but hardly
	step(0.2, narrowAfter-1, true)
	step(0.6, 1, true)
	step(0.2, narrowAfter-1, true)
	step(0.2, 1, false)
}

// TestOneReaderFirst: one reader reads all sockets until they are spread, and again when they no longer are.
func TestOneReaderFirst(t *testing.T) {
	const peers = 64
	var mu sync.Mutex
	seen := map[int]int{}
	var got sync.WaitGroup
	u, err := NewUDP(Options{Readers: 4, Handler: func(out *Sender, batch []Packet) {
		mu.Lock()
		seen[out.index] += len(batch)
		mu.Unlock()
		got.Add(-len(batch))
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0") // a port that is free
	if err != nil {
		t.Fatal(err)
	}
	local := netip.MustParseAddrPort(pc.LocalAddr().String())
	if err := pc.Close(); err != nil {
		t.Fatal(err)
	}
	if err := u.SetEndpoints([]Endpoint{{Group: 1, Local: local}}); err != nil {
		t.Fatal(err)
	}
	readers := func() (n, first int) {
		mu.Lock()
		clear(seen)
		mu.Unlock()
		got.Add(peers)
		for range peers {
			c, err := net.Dial("udp4", local.String())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("OPTIONS")); err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		done := make(chan struct{})
		go func() { got.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("not all datagrams came")
		}
		mu.Lock()
		defer mu.Unlock()
		return len(seen), seen[0]
	}
	if n, first := readers(); n != 1 || first != peers {
		t.Errorf("%d readers at first, %d datagrams at the first one", n, first)
	}
	u.setSpread(true)
	if n, _ := readers(); n < 2 {
		t.Errorf("%d readers when spread", n)
	}
	u.setSpread(false)
	if n, first := readers(); n != 1 || first != peers {
		t.Errorf("%d readers at last, %d datagrams at the first one", n, first)
	}
}
