package sim

import (
	"slices"
	"testing"
	"time"

	"holdline/vip/lease"
)

// TestFailoverTime kills the owner at random moments and measures how long it takes until another node has acquired the group: the
// budget of the fast profile, out of which the cable-to-served time is paid.
func TestFailoverTime(t *testing.T) {
	for _, c := range []struct {
		name          string
		nodes         int
		delay, late   time.Duration
		loss          int64
		p50, p99, max time.Duration
	}{
		{"three nodes, LAN", 3, 300 * time.Microsecond, 500 * time.Microsecond, 0, 70 * time.Millisecond, 76 * time.Millisecond, 76 * time.Millisecond},
		{"five nodes, busy LAN", 5, 2 * time.Millisecond, 3 * time.Millisecond, 0, 74 * time.Millisecond, 82 * time.Millisecond, 85 * time.Millisecond},
		{"three nodes, 2 % loss", 3, 300 * time.Microsecond, 500 * time.Microsecond, 2, 70 * time.Millisecond, 83 * time.Millisecond, 100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			var gaps []time.Duration
			var w World
			for seed := range uint64(1500) {
				w.Reset(seed, Setup{Voters: c.nodes, Groups: 1, Profile: lease.Fast(), MaxPPM: 100, FenceSlack: ms, Late: int64(c.late)})
				w.net.maxDelay = int64(c.delay)
				for i := range c.nodes {
					w.start(i)
				}
				w.RunUntil(450*ms + w.dice.between(0, 50*time.Millisecond))
				w.do(op{kind: opLoss, n: c.loss})
				w.RunUntil(w.now + 50*ms)
				owner := w.owner(0)
				if owner < 0 {
					t.Fatalf("seed %d: no owner to kill", seed)
				}
				w.crash(owner, true)
				killed := w.now
				for w.owner(0) < 0 && w.fault == nil && w.now < killed+int64(time.Second) {
					w.RunUntil(w.now + ms/10)
				}
				if w.fault != nil {
					t.Fatalf("seed %d: %v", seed, w.fault)
				}
				gaps = append(gaps, time.Duration(w.now-killed))
			}
			slices.Sort(gaps)
			p50, p99, worst := gaps[len(gaps)/2], gaps[len(gaps)*99/100], gaps[len(gaps)-1]
			t.Logf("owner dead to successor: p50 %s, p99 %s, worst %s", p50, p99, worst)
			if p50 > c.p50 || p99 > c.p99 || worst > c.max {
				t.Errorf("over the budget of p50 %s, p99 %s, worst %s", c.p50, c.p99, c.max)
			}
		})
	}
}

// TestNoSpuriousMove lets a healthy cluster run for ten minutes under jitter and some loss: nothing may move.
func TestNoSpuriousMove(t *testing.T) {
	w := New(1, Setup{Voters: 3, Groups: 3, Profile: lease.Fast(), MaxPPM: 100, FenceSlack: ms, Late: 8 * ms})
	for i := range 3 {
		w.start(i)
	}
	w.net.loss = 1
	w.RunUntil(int64(time.Second))
	for g := range 3 {
		if got := w.owner(g); got != g {
			t.Errorf("g%d is owned by n%d, not by its home", g+1, got+1)
		}
	}
	before := w.stats.Lost
	w.RunUntil(int64(10 * time.Minute))
	if w.fault != nil || w.stats.Lost != before {
		t.Errorf("%d groups lost, fault %v", w.stats.Lost-before, w.fault)
	}
}
