package sim

import (
	"testing"

	"holdline/vip/lease/internal/broken"
)

// TestMutations takes the rules of the protocol out one by one: the simulator must notice each within so many schedules.
// It is the test of the test. Where that takes many schedules, from skips those known not to show it.
func TestMutations(t *testing.T) {
	const within = 30000
	for _, m := range []struct {
		name string
		opt  Options
		from uint64
	}{
		{"no mute after restart", Options{Broken: broken.NoMute}, 1},
		{"grants of any ballot counted", Options{Broken: broken.AnyBallot}, 6000},
		{"ballots do not rise", Options{Broken: broken.AnyOrder}, 1},
		{"owner counts from receipt", Options{Broken: broken.CountFromReceipt}, 1},
		{"no config epoch check", Options{Broken: broken.AnyEpoch}, 3000},
		{"renewal without fresh echo", Options{Broken: broken.StaleEcho}, 1},
		{"grant while a promise to another runs", Options{Broken: broken.GrantTwice}, 1},
		{"no incarnation check", Options{Broken: broken.AnyIncarnation}, 1},
		{"sequence not checked", Options{Broken: broken.AnySequence}, 1},
		{"owner counts the whole grant", Options{Broken: broken.WholeGrant}, 1},
		{"one fewer than a majority", Options{Broken: broken.SmallMajority}, 1},
		{"release without naming a ballot", Options{Broken: broken.UnnamedRelease}, 1},
		{"suspend ignored", Options{Broken: broken.IgnoreSuspend}, 1},
		{"promise shortened by a shorter request", Options{Broken: broken.ShortenPromise}, 2700},
		{"owner does not stop when its lease ends", Options{Broken: broken.LapseUnnoticed}, 1},
		{"owner releases before it stops", Options{Broken: broken.KeepAfterRelease}, 1},
		{"fence renewed from now", Options{FenceFromNow: true}, 1},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			var w World
			for seed := m.from; seed < m.from+within; seed++ {
				if _, err := w.Run(seed, m.opt); err != nil {
					t.Logf("noticed by schedule %d: %v", seed, err)
					return
				}
			}
			t.Errorf("%d schedules and nothing noticed", within)
		})
	}
}
