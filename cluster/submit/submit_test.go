package submit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"holdline/fsm"
	"holdline/fsm/pb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// cluster is the log of three nodes without raft: entries are applied in order, by all, or lost. What a leader has not yet applied
// is lost when it is killed, as the entries that reached no majority are. Leaders are all on the first node.
type cluster struct {
	mu       sync.Mutex
	machine  *fsm.Machine
	index    uint64
	gatherer *Gatherer
	nodes    []*Submitter
	random   *rand.Rand
	loseNext int // batches on the way that get lost
	leader   atomic.Pointer[Gatherer]
	batches  []int // commands in each batch of each entry
	outage   int64 // that the next leader tells of
	outages  []int64
}

type applied struct {
	c     *cluster
	entry []byte
	alive *Gatherer
}

// Error applies the entry when its turn comes, or loses it.
func (a applied) Error() error {
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	if a.c.gatherer != a.alive {
		return errors.New("leadership lost")
	}
	a.c.index++
	e := new(pb.Entry)
	if err := proto.Unmarshal(a.entry, e); err != nil {
		panic(err)
	}
	if e.OutageMs != 0 {
		a.c.outages = append(a.c.outages, e.OutageMs)
	}
	for _, b := range e.Batches {
		a.c.batches = append(a.c.batches, len(b.Commands))
	}
	a.c.machine.Apply(a.c.index, a.entry)
	return nil
}

func newCluster(seed uint64, nodes int) *cluster {
	c := &cluster{machine: fsm.New(), random: rand.New(rand.NewPCG(seed, 1))}
	c.machine.Watch(func(e fsm.Event) {
		for _, s := range c.nodes {
			switch e := e.(type) {
			case fsm.SessionResults:
				s.Applied(e)
			case fsm.SessionOpened:
				s.Opened(e)
			}
		}
	})
	for i := range nodes {
		o := Options{Node: fmt.Sprintf("node-%d", i), Send: c.send, Logger: quiet}
		if i == 0 {
			o.Local = c.leader.Load
		}
		c.nodes = append(c.nodes, New(o, seed+uint64(i)+1))
	}
	return c
}

// elect makes a new leader; the old one, if any, drops what it holds.
func (c *cluster) elect() {
	ready := make(chan struct{})
	var g *Gatherer
	made := make(chan struct{})
	g = NewGatherer(GathererOptions{
		Apply:  func(entry []byte) Future { <-made; return applied{c, entry, g} },
		Own:    c.nodes[0].Take,
		Now:    c.machine.Now,
		Outage: func() int64 { return c.outage },
		Logger: quiet,
	}, ready)
	close(made)
	c.mu.Lock()
	old := c.gatherer
	c.gatherer = g
	c.leader.Store(g)
	c.mu.Unlock()
	if old != nil {
		old.Stop()
	}
	close(ready)
	for _, s := range c.nodes {
		s.Resend()
	}
}

// send is the way of a batch to the leader: it may be lost there.
func (c *cluster) send(batch []byte) bool {
	c.mu.Lock()
	g := c.gatherer
	lost := c.loseNext > 0
	if lost {
		c.loseNext--
	}
	c.mu.Unlock()
	if g == nil {
		return false
	}
	if lost {
		return true // the sender believes that it went out
	}
	if err := CheckBatch(batch); err != nil {
		panic(err)
	}
	return g.Add(batch, 0)
}

func (c *cluster) close() {
	for _, s := range c.nodes {
		s.Close()
	}
	c.mu.Lock()
	g := c.gatherer
	c.gatherer = nil
	c.mu.Unlock()
	if g != nil {
		g.Stop()
	}
}

// put adds a domain that nothing else adds; added twice, or out of order, it shows in the results.
func put(name string) *pb.Command {
	return &pb.Command{Op: &pb.Command_PutDomain{PutDomain: &pb.PutDomain{Domain: &pb.Domain{Name: name}}}}
}

// Every command is applied exactly once, in the order of its node, whatever leaders are killed and batches lost, and every done
// is called exactly once.
func TestExactlyOnceUnderLeaderKills(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			exactlyOnce(t, seed)
		})
	}
}

func exactlyOnce(t *testing.T, seed uint64) {
	const perNode = 400
	c := newCluster(seed, 3)
	defer c.close()
	c.elect()

	stop := make(chan struct{})
	var chaos sync.WaitGroup
	chaos.Go(func() {
		for {
			c.mu.Lock()
			what, pause := c.random.IntN(4), time.Duration(c.random.IntN(15)+1)*time.Millisecond
			switch what {
			case 0:
				c.loseNext = 1 + c.random.IntN(3)
			}
			c.mu.Unlock()
			if what == 1 {
				c.elect()
			}
			if what == 2 {
				for _, s := range c.nodes { // a connection broke
					s.Resend()
				}
			}
			if what == 3 {
				for _, s := range c.nodes { // hours pass
					s.mu.Lock()
					s.alive = s.alive.Add(-renewAfter)
					s.mu.Unlock()
				}
			}
			select {
			case <-stop:
				return
			case <-time.After(pause):
			}
		}
	})

	var wg sync.WaitGroup
	var mu sync.Mutex
	order := map[int][]int{}
	for n, s := range c.nodes {
		wg.Add(perNode)
		for k := range perNode {
			name := fmt.Sprintf("d%d.node%d", k, n)
			var once sync.Once
			s.Submit(put(name), time.Minute, func(r *pb.Result, err error) {
				called := true
				once.Do(func() { called = false })
				if called {
					t.Errorf("%s: done called twice", name)
					return
				}
				defer wg.Done()
				if err != nil || r.Code != pb.Code_OK || r.Existing {
					t.Errorf("%s: %v, %v", name, r, err)
				}
				mu.Lock()
				order[n] = append(order[n], k)
				mu.Unlock()
			})
			if k%20 == 0 {
				time.Sleep(time.Millisecond) // lets batches form
			}
		}
	}
	wg.Wait()
	close(stop)
	chaos.Wait()
	for n := range c.nodes {
		for i, k := range order[n] {
			if i != k {
				t.Fatalf("node %d: command %d came as number %d", n, k, i)
			}
		}
	}
	domains := 0
	c.machine.Config().Domains(func(*pb.Domain) bool { domains++; return true })
	if domains != 3*perNode {
		t.Errorf("%d commands applied of %d", domains, 3*perNode)
	}
}

// running is a cluster with a leader, each node of which has committed something, under a fake clock.
func running(t *testing.T, nodes int, test func(t *testing.T, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(5, nodes)
		defer c.close()
		c.elect()
		for _, s := range c.nodes {
			if _, err := s.SubmitWait(t.Context(), put(s.opt.Node)); err != nil {
				t.Fatal(err)
			}
		}
		test(t, c)
	})
}

// leading is a node that leads and has committed something, under a fake clock.
func leading(t *testing.T, test func(t *testing.T, c *cluster, s *Submitter)) {
	running(t, 1, func(t *testing.T, c *cluster) { test(t, c, c.nodes[0]) })
}

// TestOwnTogether: what the leader's node submits while an entry gathers is one batch there.
func TestOwnTogether(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, s *Submitter) {
		before := len(c.batches)
		const n = 500
		var wg sync.WaitGroup
		for i := range n {
			wg.Add(1)
			s.Submit(put(fmt.Sprint(i)), 5*time.Second, func(r *pb.Result, err error) {
				if err != nil || r.Code != pb.Code_OK || r.Existing {
					t.Errorf("%v %v", r, err)
				}
				wg.Done()
			})
		}
		wg.Wait()
		if got := c.batches[before:]; !slices.Equal(got, []int{n}) {
			t.Errorf("batches of %v commands", got)
		}
	})
}

// TestOwnDeadline: a leader that makes no entries, as one that has not caught up, keeps nobody of its own waiting for longer than he would.
func TestOwnDeadline(t *testing.T) {
	leading(t, func(t *testing.T, c *cluster, s *Submitter) {
		stuck := NewGatherer(GathererOptions{Own: s.Take, Now: c.machine.Now, Logger: quiet}, make(chan struct{}))
		c.mu.Lock()
		old := c.gatherer
		c.gatherer = stuck
		c.leader.Store(stuck)
		c.mu.Unlock()
		old.Stop()
		time.Sleep(time.Second) // of the fake clock: the loop has nothing to see to any more
		began := time.Now()
		failed := make(chan error)
		s.Submit(put("second"), 100*time.Millisecond, func(_ *pb.Result, err error) { failed <- err })
		if err := <-failed; !errors.Is(err, ErrNoLeader) || time.Since(began) > 101*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestBounded(t *testing.T) {
	c := newCluster(3, 1)
	const beyond = 10
	var refused, failed atomic.Int32
	for range maxWaiting + beyond {
		c.nodes[0].Submit(put("x.example"), time.Minute, func(_ *pb.Result, err error) {
			switch {
			case errors.Is(err, ErrOverload):
				refused.Add(1)
			case errors.Is(err, ErrClosed):
				failed.Add(1)
			}
		})
	}
	c.close()
	if refused.Load() != beyond || failed.Load() != maxWaiting {
		t.Errorf("%d refused, %d failed at the end", refused.Load(), failed.Load())
	}
}

func TestCheckBatch(t *testing.T) {
	good := appendBatch(nil, 1, 1, 1, []*item{{raw: []byte{}}})
	if err := CheckBatch(good); !errors.Is(err, ErrBatch) {
		t.Errorf("a command without content would stop every node: %v", err)
	}
	for _, junk := range [][]byte{nil, {0xff}, {0x22, 0x05, 1}, {0x2a, 0x00}, {0x22, 0x02, 0xff, 0xff}} {
		if err := CheckBatch(junk); !errors.Is(err, ErrBatch) {
			t.Errorf("%x: %v", junk, err)
		}
	}
}

// TestFlush: it waits for what was submitted before, and not for what came since.
func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(4, 1)
		defer c.close()
		s := c.nodes[0]
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		told := false
		s.Submit(put("a.example"), time.Second, func(*pb.Result, error) { told = true })
		flushed := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			flushed <- s.Flush(ctx)
		}()
		synctest.Wait()
		s.Submit(put("b.example"), time.Minute, func(*pb.Result, error) {})
		started := time.Now()
		if err := <-flushed; err != nil || !told {
			t.Errorf("%v, told %v", err, told)
		}
		if took := time.Since(started); took < 900*time.Millisecond || took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
