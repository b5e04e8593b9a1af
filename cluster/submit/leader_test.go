package submit

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"holdline/fsm/pb"
)

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

// TestNoLeaderInSession: what could never be sent is not applied when a leader returns, in an open session neither; what was sent keeps its place.
func TestNoLeaderInSession(t *testing.T) {
	running(t, 2, func(t *testing.T, c *cluster) {
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

// TestOutageToldOnce: of the time without leader the first entry of a term tells, and no other.
func TestOutageToldOnce(t *testing.T) {
	running(t, 1, func(t *testing.T, c *cluster) {
		for _, outage := range []int64{7000, 0, 9000} {
			c.outage = outage
			c.elect()
			for i := range 3 {
				if _, err := c.nodes[0].SubmitWait(t.Context(), put(fmt.Sprintf("d%d-%d.example", outage, i))); err != nil {
					t.Fatal(err)
				}
			}
		}
		if fmt.Sprint(c.outages) != "[7000 9000]" {
			t.Errorf("told of %v", c.outages)
		}
	})
}
