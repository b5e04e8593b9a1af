package vip

import (
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// watched is a cluster with traffic on its VIP.
func watched(t *testing.T, n int) (*testCluster, *capture, *prober) {
	t.Helper()
	c := newCluster(t, n)
	for _, b := range c.nodes {
		c.echo(t, b.name)
	}
	cap := c.capture(t)
	p := c.probe(t)
	p.answered(t, time.Now())
	return c, cap, p
}

// moved waits until another node than old serves the VIP, and reports how long it was silent.
func (c *testCluster) moved(t *testing.T, old *box, since time.Time, p *prober) *box {
	t.Helper()
	var owner *box
	eventually(t, "another node owns the group", func() bool {
		for _, b := range c.others(old) {
			if b.client == nil {
				continue
			}
			if _, _, _, ok := b.client.Lease(7); ok {
				owner = b
			}
		}
		return owner != nil
	})
	p.answered(t, time.Now())
	for _, s := range owner.status().Groups {
		t.Logf("%s -> %s: VIP silent for %s, guard counts %s", old.name, owner.name, p.gap(since), s.LastMove)
	}
	return owner
}

// faults are the ways in which an owner can go; each must bring the VIP to another node, and never two at once.
func TestFailover(t *testing.T) {
	faults := []struct {
		name    string
		fault   func(t *testing.T, c *testCluster, owner *box)
		mend    func(t *testing.T, c *testCluster, owner *box)
		alive   bool // the old owner's guard is there to lose the group
		reason  string
		returns bool // the old owner is a candidate again after mend
	}{
		{
			name:  "cable pulled at the switch",
			fault: func(t *testing.T, c *testCluster, o *box) { c.cable(t, o.name, false) },
			mend:  func(t *testing.T, c *testCluster, o *box) { c.cable(t, o.name, true) },
			alive: true,
		},
		{
			name:  "guard frozen",
			fault: func(t *testing.T, _ *testCluster, o *box) { o.signal(syscall.SIGSTOP) },
			mend:  func(t *testing.T, _ *testCluster, o *box) { o.signal(syscall.SIGCONT) },
			alive: true,
		},
		{
			name:  "guard killed",
			fault: func(t *testing.T, _ *testCluster, o *box) { o.signal(syscall.SIGKILL) },
			mend:  func(_ *testing.T, _ *testCluster, o *box) { o.restartGuard() },
		},
		{
			name:  "guard ended",
			fault: func(t *testing.T, _ *testCluster, o *box) { o.signal(syscall.SIGTERM) },
			mend:  func(_ *testing.T, _ *testCluster, o *box) { o.restartGuard() },
			alive: true, reason: "released",
		},
		{
			name:  "core frozen",
			fault: func(t *testing.T, _ *testCluster, o *box) { o.beat(false) },
			mend:  func(t *testing.T, _ *testCluster, o *box) { o.beat(true) },
			alive: true, reason: "core stalled",
		},
		{
			name: "released",
			fault: func(t *testing.T, c *testCluster, o *box) {
				if err := o.client.Release(7, c.others(o)[1].number); err != nil {
					t.Fatal(err)
				}
			},
			mend:  func(*testing.T, *testCluster, *box) {},
			alive: true, reason: "released",
		},
	}
	c, cap, p := watched(t, 3)
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			owner := c.owner(t)
			eventually(t, "every node is a candidate and heard", func() bool { return c.settled() })
			mark, start := owner.mark(), time.Now()
			before, _, _, _ := owner.client.Lease(7)
			f.fault(t, c, owner)
			next := c.moved(t, owner, start, p)
			after, _, _, _ := next.client.Lease(7)
			if after <= before {
				t.Errorf("the ballot did not rise: %d after %d", after, before)
			}
			if f.name == "released" && next != c.others(owner)[1] {
				t.Errorf("%s got the group that was meant for %s", next.name, c.others(owner)[1].name)
			}
			if node, _ := c.others(owner)[0].client.Owner(7); node != next.number {
				eventually(t, "the third node knows the owner", func() bool {
					node, _ := c.others(owner)[0].client.Owner(7)
					return node == next.number
				})
			}
			f.mend(t, c, owner)
			if f.alive {
				lost, _ := await(owner, mark, func(l Lost) bool { return l.Group == 7 })
				if f.reason != "" && lost.Reason != f.reason {
					t.Errorf("lost for %q, want %q", lost.Reason, f.reason)
				}
				t.Logf("%s lost it: %s", owner.name, lost.Reason)
			}
			eventually(t, "the addresses are off the old owner", func() bool { return !owner.has(vip4()) && !owner.has(vip6()) })
			if f.name == "guard ended" || f.name == "guard killed" {
				await[Connected](owner, mark, nil)
			}
			eventually(t, "every node is a candidate and heard", func() bool { return c.settled() })
			if now := c.owner(t); now != next {
				s := next.status()
				t.Errorf("%s took the group from %s without need: lost there as %q; it was woken %s late at worst, its longest turn was %s",
					now.name, next.name, s.Groups[0].LastLost, s.WorstLate, s.WorstLoop)
			}
			if err := cap.ownersOverlap(); err != nil {
				t.Error(err)
			}
			cap.reset()
		})
	}
}

// settled tells whether every node hears all others and could own the group.
func (c *testCluster) settled() bool {
	for _, b := range c.nodes {
		s := b.status()
		if !s.Configured || s.Muted || len(s.Groups) != 1 || !s.Groups[0].Candidate || len(s.Peers) != len(c.nodes)-1 {
			return false
		}
		for _, p := range s.Peers {
			if !p.Alive {
				return false
			}
		}
	}
	return true
}

// Carrier loss is seen at once, long before the lease runs out, and the group does not come back without carrier.
func TestCarrierLoss(t *testing.T) {
	c, _, _ := watched(t, 3)
	owner := c.owner(t)
	mark, start := owner.mark(), time.Now()
	c.cable(t, owner.name, false)
	lost, at := await(owner, mark, func(l Lost) bool { return l.Group == 7 })
	t.Logf("lost %s after the cable was pulled: %s", at.Sub(start), lost.Reason)
	if lost.Reason != "no carrier on eth0" && lost.Reason != "lapsed" {
		t.Errorf("lost for %q", lost.Reason)
	}
	if g := owner.status().Groups[0]; g.Candidate || g.WhyNot != "no carrier on eth0" {
		t.Errorf("still a candidate: %+v", g)
	}
	if owner.has(vip4()) || owner.has(vip6()) {
		t.Error("an address stayed on the interface without carrier")
	}
}

// A core that dies is seen by its process descriptor: the group moves well before the 500 ms of a frozen one.
func TestCoreKilled(t *testing.T) {
	c, cap, p := watched(t, 2)
	owner := c.owner(t)
	// Another process takes over as core; the group stays away while it does.
	owner.disconnect()
	cfg := c.config(owner)
	core := startProcess(t, owner.space, "core", envRunDir+"="+owner.dir, envConfig+"="+jsonOf(t, cfg))
	other := c.others(owner)[0]
	eventually(t, "the group has moved", func() bool { _, _, _, ok := other.client.Lease(7); return ok })
	mark := other.mark()
	eventually(t, "the new core can serve", func() bool { return owner.status().Groups[0].Candidate })
	if err := other.client.Release(7, owner.number); err != nil {
		t.Fatal(err)
	}
	await(other, mark, func(l Lost) bool { return l.Reason == "released" })
	eventually(t, "the new core's node owns the group", func() bool { return owner.status().Groups[0].Held })
	p.answered(t, time.Now())
	cap.reset()
	mark = other.mark()
	start := time.Now()
	if err := core.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, at := await(other, mark, func(a Acquired) bool { return a.Group == 7 })
	t.Logf("core killed: group moved in %s", at.Sub(start))
	if at.Sub(start) > 400*time.Millisecond {
		t.Errorf("the group moved only after %s", at.Sub(start))
	}
	if g := owner.status().Groups[0]; g.LastLost != "core exited" && g.LastLost != "core lost" {
		t.Errorf("lost for %q", g.LastLost)
	}
	if err := cap.ownersOverlap(); err != nil {
		t.Error(err)
	}
}

// Busy loops on every processor must not cost a guard its lease. Without real-time priority there is no such promise.
func TestNoMoveUnderLoad(t *testing.T) {
	c := newCluster(t, 3)
	owner := c.owner(t)
	if !owner.status().RealTime {
		t.Skip("no real-time priority here (not root, or a user namespace)")
	}
	eventually(t, "every node is a candidate and heard", func() bool { return c.settled() })
	mark := owner.mark()
	for range 3 * runtime.NumCPU() {
		busy := exec.Command("sh", "-c", "while :; do :; done")
		if err := busy.Start(); err != nil {
			t.Fatal(err)
		}
		ordinary := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}
		if err := unix.SchedSetAttr(busy.Process.Pid, &ordinary, 0); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = busy.Process.Kill()
			_ = busy.Wait()
		}()
	}
	time.Sleep(1500 * time.Millisecond) // the load is the test
	owner.mu.Lock()
	for _, e := range owner.events[mark:] {
		if _, lost := e.Event.(Lost); lost {
			t.Errorf("%+v", e)
		}
	}
	owner.mu.Unlock()
	for _, b := range c.nodes {
		s := b.status()
		t.Logf("%s: woken at most %s late, longest turn %s", b.name, s.WorstLate, s.WorstLoop)
	}
}
