package submit

import (
	"errors"
	"testing"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
)

// TestIdleForLong: a node that has written nothing for longer than the log keeps its session writes as ever, at once, whether it leads or not.
func TestIdleForLong(t *testing.T) {
	running(t, 2, func(t *testing.T, c *cluster) {
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
	running(t, 2, func(t *testing.T, c *cluster) {
		s := c.nodes[1]
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
