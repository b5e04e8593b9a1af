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

// leading is a node that leads and has committed something, under a fake clock.
func leading(t *testing.T, test func(t *testing.T, c *cluster, s *Submitter)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(5, 1)
		defer c.close()
		c.elect()
		if _, err := c.nodes[0].SubmitWait(t.Context(), put("first")); err != nil {
			t.Fatal(err)
		}
		test(t, c, c.nodes[0])
	})
}

// TestIdleForLong: a node that has written nothing for longer than the log keeps its session writes as ever, at once, whether it leads or not.
func TestIdleForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(6, 2)
		defer c.close()
		c.elect()
		for _, s := range c.nodes {
			if _, err := s.SubmitWait(t.Context(), put(s.opt.Node)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(fsm.SessionIdleMs*time.Millisecond + time.Minute) // of the fake clock, as below
		for _, s := range c.nodes {
			time.Sleep(10 * entryWindow) // the last entry is long ago: nothing is waited for
			began := time.Now()
			r, err := s.SubmitWait(t.Context(), put(s.opt.Node+".next"))
			if err != nil || r.Code != pb.Code_OK || r.Existing {
				t.Errorf("%s: %v, %v", s.opt.Node, r, err)
			}
			if took := time.Since(began); took > 0 {
				t.Errorf("%s: committed after %v: its session was not there yet", s.opt.Node, took)
			}
		}
	})
}

// TestCutOffForLong: a node whose write was under way when it was cut off for longer than the log keeps its session knows the outcome of what
// it writes when it is back.
func TestCutOffForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(7, 2)
		defer c.close()
		c.elect()
		s := c.nodes[1]
		if _, err := s.SubmitWait(t.Context(), put("first")); err != nil {
			t.Fatal(err)
		}
		cut := func(batches int) {
			c.mu.Lock()
			c.loseNext = batches
			c.mu.Unlock()
		}
		cut(1 << 30)
		cutOff := make(chan error, 1)
		s.Submit(put("second"), time.Second, func(_ *pb.Result, err error) { cutOff <- err })
		if err := <-cutOff; !errors.Is(err, ErrNoLeader) {
			t.Fatal(err)
		}
		time.Sleep(fsm.SessionIdleMs*time.Millisecond + time.Minute)
		done := make(chan error, 1)
		s.Submit(put("third"), 10*time.Second, func(_ *pb.Result, err error) { done <- err })
		cut(0)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if c.machine.Config().Domain("second") != nil || c.machine.Config().Domain("third") == nil {
			t.Error("what had no outcome for a day was committed, or what came after it was not")
		}
	})
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

func TestNoLeader(t *testing.T) {
	c := newCluster(1, 1)
	defer c.close()
	const hold = time.Second
	done, patient := make(chan error, 1), make(chan error, 1)
	started := time.Now()
	c.nodes[0].Submit(put("a.example"), hold, func(_ *pb.Result, err error) { done <- err })
	c.nodes[0].Submit(put("c.example"), time.Minute, func(_ *pb.Result, err error) { patient <- err })
	if err := <-done; !errors.Is(err, ErrNoLeader) {
		t.Fatalf("got %v", err)
	}
	if took := time.Since(started); took < hold || took > hold+500*time.Millisecond {
		t.Errorf("held for %v", took)
	}
	select {
	case err := <-patient:
		t.Errorf("who has a minute's patience was told %v after %v", err, time.Since(started))
	default:
	}
	// It was never sent, so it is not applied later either; the session goes on without a gap.
	c.elect()
	r, err := c.nodes[0].SubmitWait(t.Context(), put("b.example"))
	if err != nil || r.Code != pb.Code_OK {
		t.Fatalf("after the election: %v, %v", r, err)
	}
	if c.machine.Config().Domain("a.example") != nil {
		t.Error("a command that had failed without being sent was applied")
	}
	if err := <-patient; err != nil {
		t.Errorf("who was patient: %v", err)
	}
}

// A command that was sent before its patience ended may commit later; its place in the session must be filled either way.
func TestLateCommit(t *testing.T) {
	c := newCluster(2, 1)
	defer c.close()
	c.elect()
	if _, err := c.nodes[0].SubmitWait(t.Context(), put("first.example")); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.loseNext = 1 << 30
	c.mu.Unlock()
	done := make(chan error, 1)
	c.nodes[0].Submit(put("late.example"), 50*time.Millisecond, func(_ *pb.Result, err error) { done <- err })
	if err := <-done; !errors.Is(err, ErrNoLeader) {
		t.Fatalf("got %v", err)
	}
	c.mu.Lock()
	c.loseNext = 0
	c.mu.Unlock()
	if r, err := c.nodes[0].SubmitWait(t.Context(), put("next.example")); err != nil || r.Code != pb.Code_OK {
		t.Fatalf("%v, %v", r, err)
	}
	if c.machine.Config().Domain("late.example") == nil {
		t.Error("the next command was applied without the one before it")
	}
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

func TestSessionLost(t *testing.T) {
	c := newCluster(4, 1)
	defer c.close()
	c.elect()
	s := c.nodes[0]
	if _, err := s.SubmitWait(t.Context(), put("a.example")); err != nil {
		t.Fatal(err)
	}
	s.Applied(fsm.SessionResults{Session: s.session, Refused: pb.Code_NO_SESSION})
	if r, err := s.SubmitWait(t.Context(), put("b.example")); err != nil || r.Code != pb.Code_OK {
		t.Fatalf("in the next session: %v, %v", r, err)
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

// TestNoLeaderInSession: what could never be sent is not applied when a leader returns, in an open session neither; what was sent keeps its place.
func TestNoLeaderInSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(3, 2)
		defer c.close()
		c.elect()
		for _, s := range c.nodes {
			if _, err := s.SubmitWait(t.Context(), put("first.example")); err != nil {
				t.Fatal(err)
			}
		}
		c.mu.Lock()
		old := c.gatherer
		c.gatherer = nil
		c.leader.Store(nil)
		c.mu.Unlock()
		old.Stop()
		failed, kept := make(chan error, 2), make(chan error, 2)
		for i, s := range c.nodes {
			s.Submit(put(fmt.Sprintf("late%d.example", i)), time.Second, func(_ *pb.Result, err error) { failed <- err })
			s.Submit(put(fmt.Sprintf("patient%d.example", i)), time.Hour, func(_ *pb.Result, err error) { kept <- err })
		}
		time.Sleep(10 * time.Minute)
		for range c.nodes {
			if err := <-failed; !errors.Is(err, ErrNoLeader) {
				t.Errorf("got %v", err)
			}
		}
		c.elect()
		for range c.nodes {
			if err := <-kept; err != nil {
				t.Errorf("who was patient: %v", err)
			}
		}
		for i, s := range c.nodes {
			if _, err := s.SubmitWait(t.Context(), put("next.example")); err != nil {
				t.Error(err)
			}
			if c.machine.Config().Domain(fmt.Sprintf("late%d.example", i)) != nil {
				t.Error("a command that had failed without being sent was applied")
			}
			if c.machine.Config().Domain(fmt.Sprintf("patient%d.example", i)) == nil {
				t.Error("a command is missing")
			}
		}
	})
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
