package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// board is who owns what: the truth, and what each node believes.
type board struct {
	mu    sync.Mutex
	owner map[uint32]uint32 // group → node
	epoch map[uint32]uint64
	stale map[uint32]map[uint32]uint32 // node → group → node it believes to be the owner
}

type view struct {
	board *board
	self  uint32
}

func (v view) Lease(group uint32) (uint64, int64, bool) {
	v.board.mu.Lock()
	defer v.board.mu.Unlock()
	return v.board.epoch[group], 0, v.board.owner[group] == v.self
}

func (v view) Owner(group uint32) (uint32, uint64) {
	v.board.mu.Lock()
	defer v.board.mu.Unlock()
	if n, ok := v.board.stale[v.self][group]; ok {
		return n, v.board.epoch[group]
	}
	return v.board.owner[group], v.board.epoch[group]
}

// station is one node: a link and what came in.
type station struct {
	link     *Link
	listener net.Listener

	mu    sync.Mutex
	got   map[string]uint32 // frame → group
	count map[string]int
	from  map[string]uint32
	batch [][]byte
	lead  bool
	no    int
}

func (s *station) Frame(from, group uint32, _ uint64, frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got[string(frame)] = group
	s.count[string(frame)]++
	s.from[string(frame)] = from
}

func (s *station) Batch(_ uint32, b []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lead {
		s.batch = append(s.batch, b)
	}
	return s.lead
}

func (s *station) BatchRefused(uint32) {
	s.mu.Lock()
	s.no++
	s.mu.Unlock()
}
func (s *station) ReadIndex(_ uint32, reply func(uint64, bool)) { go reply(42, true) }
func (s *station) Gossip(uint32, []byte)                        {}
func (s *station) Peer(uint32, bool)                            {}

func (s *station) has(frame string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count[frame] > 0
}

// ring is three nodes over TCP on loopback.
type ring struct {
	t        *testing.T
	board    *board
	stations map[uint32]*station

	mu    sync.Mutex
	cut   map[uint32]bool // no new connections to it
	conns map[uint32][]net.Conn
	wg    sync.WaitGroup
}

func newRing(t *testing.T) *ring {
	r := &ring{
		t: t, stations: map[uint32]*station{}, cut: map[uint32]bool{}, conns: map[uint32][]net.Conn{},
		board: &board{owner: map[uint32]uint32{}, epoch: map[uint32]uint64{}, stale: map[uint32]map[uint32]uint32{}},
	}
	for n := uint32(1); n <= 3; n++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &station{listener: l, got: map[string]uint32{}, count: map[string]int{}, from: map[string]uint32{}}
		s.link = New(Options{Self: n, Owners: view{r.board, n}, Handler: s, Dial: r.dialer(n), Logger: slog.New(slog.DiscardHandler)})
		r.stations[n] = s
		r.wg.Go(func() { r.accept(n, s) })
	}
	for _, s := range r.stations {
		s.link.SetPeers([]uint32{1, 2, 3})
	}
	t.Cleanup(r.close)
	r.until("all connected", func() bool {
		for _, s := range r.stations {
			if slices.ContainsFunc(s.link.Peers(), func(p PeerState) bool { return !p.Connected }) {
				return false
			}
		}
		return true
	})
	return r
}

func (r *ring) dialer(self uint32) func(context.Context, uint32) (net.Conn, error) {
	return func(ctx context.Context, to uint32) (net.Conn, error) {
		r.mu.Lock()
		cut := r.cut[to] || r.cut[self]
		r.mu.Unlock()
		if cut {
			return nil, errors.New("cut")
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.stations[to].listener.Addr().String())
		if err != nil {
			return nil, err
		}
		var hello [4]byte
		binary.BigEndian.PutUint32(hello[:], self)
		_, err = conn.Write(hello[:])
		r.track(self, conn)
		r.track(to, conn)
		return conn, err
	}
}

func (r *ring) track(n uint32, c net.Conn) {
	r.mu.Lock()
	r.conns[n] = append(r.conns[n], c)
	r.mu.Unlock()
}

func (r *ring) accept(n uint32, s *station) {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		r.track(n, conn)
		r.wg.Go(func() {
			defer conn.Close()
			var hello [4]byte
			if _, err := conn.Read(hello[:]); err == nil {
				_ = s.link.Serve(binary.BigEndian.Uint32(hello[:]), conn)
			}
		})
	}
}

// unplug breaks every connection of a node and lets none come about, or lets them again.
func (r *ring) unplug(n uint32, on bool) {
	r.mu.Lock()
	r.cut[n] = on
	conns := r.conns[n]
	r.conns[n] = nil
	r.mu.Unlock()
	if on {
		for _, c := range conns {
			_ = c.Close()
		}
	}
}

func (r *ring) close() {
	for n, s := range r.stations {
		s.link.Close()
		_ = s.listener.Close()
		r.unplug(n, true)
	}
	r.wg.Wait()
}

// move makes node the owner of group and tells everybody who is to know.
func (r *ring) move(group, node uint32) {
	r.board.mu.Lock()
	r.board.owner[group] = node
	r.board.epoch[group]++
	r.board.mu.Unlock()
	for _, s := range r.stations {
		s.link.OwnerChanged(group)
	}
}

func (r *ring) until(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			r.t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestFrameGoesToTheOwner(t *testing.T) {
	r := newRing(t)
	r.move(7, 2)
	r.stations[1].link.Send(7, 1, []byte("to two"))
	r.until("n2 has it", func() bool { return r.stations[2].has("to two") })
	r.stations[2].link.Send(7, 1, []byte("to itself"))
	r.until("n2 has its own", func() bool { return r.stations[2].has("to itself") })
	r.until("all acknowledged", func() bool {
		for _, p := range r.stations[1].link.Peers() {
			if p.Waiting > 0 {
				return false
			}
		}
		return true
	})
}

// Frames to an owner that is cut off go to its successor, those that were written to a dead connection too.
func TestFramesFollowTheGroup(t *testing.T) {
	r := newRing(t)
	r.move(7, 2)
	const n = 200
	for k := range n {
		if k == n/2 {
			r.unplug(2, true)
		}
		r.stations[1].link.Send(7, 0, fmt.Appendf(nil, "frame %d", k))
	}
	r.move(7, 3)
	r.until("every frame has come somewhere", func() bool {
		for k := range n {
			f := fmt.Sprintf("frame %d", k)
			if !r.stations[2].has(f) && !r.stations[3].has(f) {
				return false
			}
		}
		return true
	})
	if !r.stations[3].has(fmt.Sprintf("frame %d", n-1)) {
		t.Error("the last frame did not come to the new owner")
	}
	// The successor dies as well, and we are the next owner ourselves.
	r.unplug(3, true)
	r.stations[1].link.Send(7, 0, []byte("home"))
	r.move(7, 1)
	r.until("it came back to us", func() bool { return r.stations[1].has("home") })
}

// A node that is taken for the owner but is not says so, and the frame goes to the owner once the sender has learned who it is.
func TestRefusedFrameIsSentOn(t *testing.T) {
	r := newRing(t)
	r.move(7, 3)
	r.board.mu.Lock()
	r.board.stale[1] = map[uint32]uint32{7: 2}
	r.board.mu.Unlock()
	r.stations[1].link.Send(7, 0, []byte("astray"))
	r.until("n2 refuses it", func() bool { return r.stations[1].link.Stats().Refused > 0 })
	r.board.mu.Lock()
	delete(r.board.stale, 1)
	r.board.mu.Unlock()
	r.until("n3 has it", func() bool { return r.stations[3].has("astray") })
	if r.stations[2].has("astray") {
		t.Error("delivered to a node that does not own the group")
	}
}

// A holder under an older epoch than the sender's is about to lose the group: it must not get the frame.
func TestOldEpochIsNoOwner(t *testing.T) {
	r := newRing(t)
	r.move(7, 2)
	r.stations[1].link.Send(7, 99, []byte("for the next owner"))
	r.until("refused", func() bool { return r.stations[1].link.Stats().Refused > 0 })
	if r.stations[2].has("for the next owner") {
		t.Fatal("delivered under an old epoch")
	}
	r.board.mu.Lock()
	r.board.epoch[7] = 98
	r.board.mu.Unlock()
	r.move(7, 3)
	r.until("n3 has it under epoch 99", func() bool { return r.stations[3].has("for the next owner") })
}

func TestNobodyOwnsIt(t *testing.T) {
	r := newRing(t)
	r.stations[1].link.Send(9, 0, []byte("early"))
	r.move(9, 3)
	r.until("it waited for an owner", func() bool { return r.stations[3].has("early") })
}

func TestBatchesAndReadIndex(t *testing.T) {
	r := newRing(t)
	if !r.stations[1].link.Forward(2, []byte("batch")) {
		t.Fatal("not forwarded")
	}
	r.until("n2 refuses: it does not lead", func() bool { s := r.stations[1]; s.mu.Lock(); defer s.mu.Unlock(); return s.no == 1 })
	r.stations[2].mu.Lock()
	r.stations[2].lead = true
	r.stations[2].mu.Unlock()
	r.stations[1].link.Forward(2, []byte("batch"))
	r.until("n2 has it", func() bool { s := r.stations[2]; s.mu.Lock(); defer s.mu.Unlock(); return len(s.batch) == 1 })
	index, err := r.stations[1].link.ReadIndex(t.Context(), 2)
	if err != nil || index != 42 {
		t.Errorf("read index %d, %v", index, err)
	}
	r.unplug(2, true)
	r.until("no stream, no batch", func() bool { return !r.stations[1].link.Forward(2, []byte("batch")) })
}

func TestBounds(t *testing.T) {
	r := newRing(t)
	r.move(7, 2)
	r.unplug(2, true)
	r.stations[1].link.Send(7, 0, make([]byte, MaxFrame+1))
	for range 2 * sipQueueBytes / MaxFrame {
		r.stations[1].link.Send(7, 0, make([]byte, MaxFrame))
	}
	for range 4 * parkedMost { // those being tried again do not count against the bound
		r.stations[1].link.Send(99, 0, []byte("nobody's"))
	}
	if s := r.stations[1].link.Stats(); s.Dropped < uint64(sipQueueBytes/MaxFrame+2*parkedMost) {
		t.Errorf("dropped %d", s.Dropped)
	}
}

// What a stranger sends on a stream ends that stream and nothing else.
func FuzzServe(f *testing.F) {
	f.Add(appendMessage(nil, kindPing, make([]byte, 8)))
	f.Add(appendFrame(nil, &frame{group: 1, epoch: 2, data: []byte("x")}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &station{got: map[string]uint32{}, count: map[string]int{}, from: map[string]uint32{}}
		l := New(Options{Self: 1, Owners: view{&board{}, 1}, Handler: s, Logger: slog.New(slog.DiscardHandler)})
		defer l.Close()
		near, far := net.Pipe()
		go func() {
			defer near.Close()
			_, _ = near.Write(b)
		}()
		go func() {
			buf := make([]byte, 1024)
			for {
				if _, err := near.Read(buf); err != nil {
					return
				}
			}
		}()
		if err := l.Serve(2, far); err == nil {
			t.Error("a stream ended without an error")
		}
		_ = far.Close()
	})
}
