package submit

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore"
)

// asker hears of one command, in order with what else it hears of.
type asker struct {
	t     *testing.T
	heard chan string
}

func (a *asker) submit(s *Submitter, name string, patience time.Duration) {
	tell := func(what string) func(*pb.Result, error) {
		return func(r *pb.Result, err error) {
			switch {
			case errors.Is(err, sipcore.ErrUndecided):
				what += " undecided"
			case errors.Is(err, sipcore.ErrUnknown):
				what += " unknown"
			case errors.Is(err, ErrNoLeader):
				what += " not applied"
			case err != nil:
				what += " " + err.Error()
			default:
				what += " " + r.Code.String()
			}
			a.heard <- name + what
		}
	}
	s.SubmitUntilDecided(put(name), patience, tell(" done:"), tell(" decided:"))
}

func (a *asker) want(lines ...string) {
	a.t.Helper()
	for _, w := range lines {
		select {
		case got := <-a.heard:
			if got != w {
				a.t.Errorf("heard %q, want %q", got, w)
			}
		case <-time.After(time.Hour): // of the fake clock
			a.t.Fatalf("%q is not heard", w)
		}
	}
	select {
	case got := <-a.heard:
		a.t.Errorf("heard %q, too", got)
	default:
	}
}

// TestDecided: who asks what became of a command that was on its way when patience was over is told, once, before what was submitted later.
func TestDecided(t *testing.T) {
	lose := func(c *cluster, batches int) {
		c.mu.Lock()
		c.loseNext = batches
		c.mu.Unlock()
	}
	for node := range 2 { // on the leader, and elsewhere
		t.Run(fmt.Sprint("applied late, node ", node), func(t *testing.T) {
			running(t, 2, func(t *testing.T, c *cluster) {
				a := &asker{t, make(chan string, 9)}
				a.submit(c.nodes[node], "a", time.Second)
				a.want("a done: OK")
				lose(c, 1<<30)
				a.submit(c.nodes[node], "b", time.Second)
				a.want("b done: undecided")
				time.Sleep(10 * time.Minute)
				a.submit(c.nodes[node], "c", time.Minute)
				lose(c, 0)
				a.want("b decided: OK", "c done: OK")
			})
		})
	}
	t.Run("never sent", func(t *testing.T) {
		running(t, 2, func(t *testing.T, c *cluster) {
			c.mu.Lock()
			old := c.gatherer
			c.gatherer = nil
			c.leader.Store(nil)
			c.mu.Unlock()
			old.Stop()
			a := &asker{t, make(chan string, 9)}
			a.submit(c.nodes[1], "a", time.Second)
			a.want("a done: not applied")
		})
	})
	t.Run("the session is gone", func(t *testing.T) {
		running(t, 2, func(t *testing.T, c *cluster) {
			a := &asker{t, make(chan string, 9)}
			s := c.nodes[1]
			lose(c, 1<<30)
			a.submit(s, "a", time.Second)
			a.want("a done: undecided")
			a.submit(s, "b", time.Hour)
			time.Sleep(time.Second)
			s.Applied(fsm.SessionResults{Session: s.session, Refused: pb.Code_NO_SESSION})
			a.want("a decided: unknown", "b done: unknown")
			lose(c, 0)
		})
	})
	t.Run("its number is taken back", func(t *testing.T) { // the batch turns out not to have left just when patience is over
		running(t, 2, func(t *testing.T, c *cluster) {
			a := &asker{t, make(chan string, 9)}
			s := c.nodes[1]
			lose(c, 1<<30)
			a.submit(s, "a", 10*time.Millisecond)
			a.want("a done: undecided")
			s.sending.Lock()
			s.notSent(time.Now(), 1)
			s.sending.Unlock()
			a.want("a decided: not applied")
			lose(c, 0)
		})
	})
}

// TestDecidedInOrder: the outcome is not told while whoever asked for it is still being told that patience is over.
func TestDecidedInOrder(t *testing.T) {
	c := newCluster(3, 1)
	defer c.close()
	c.elect()
	s := c.nodes[0]
	if _, err := s.SubmitWait(t.Context(), put("first")); err != nil {
		t.Fatal(err)
	}
	lose := func(batches int) {
		c.mu.Lock()
		c.loseNext = batches
		c.mu.Unlock()
	}
	lose(1 << 30)
	heard := make(chan string, 9)
	s.SubmitUntilDecided(put("a"), 20*time.Millisecond, func(_ *pb.Result, err error) {
		if errors.Is(err, sipcore.ErrUndecided) {
			lose(0)
			go func() { // it is sent again, and applied
				s.Resend()
				s.Take()
			}()
			time.Sleep(50 * time.Millisecond)
			heard <- "undecided"
		}
	}, func(*pb.Result, error) { heard <- "decided" })
	s.Resend()
	for _, want := range []string{"undecided", "decided"} {
		if got := <-heard; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
