package sim

import (
	"testing"

	"holdline/vip/lease/internal/broken"
)

// TestMutations takes the rules of the protocol out one by one: the simulator must notice each within so many schedules.
// It is the test of the test.
func TestMutations(t *testing.T) {
	const within = 30000
	for _, m := range []struct {
		name string
		opt  Options
	}{
		{"no mute after restart", Options{Broken: broken.NoMute}},
		{"grants of any ballot counted", Options{Broken: broken.AnyBallot}},
		{"ballots do not rise", Options{Broken: broken.AnyOrder}},
		{"owner counts from receipt", Options{Broken: broken.CountFromReceipt}},
		{"no config epoch check", Options{Broken: broken.AnyEpoch}},
		{"renewal without fresh echo", Options{Broken: broken.StaleEcho}},
		{"grant while a promise to another runs", Options{Broken: broken.GrantTwice}},
		{"no incarnation check", Options{Broken: broken.AnyIncarnation}},
		{"sequence not checked", Options{Broken: broken.AnySequence}},
		{"owner counts the whole grant", Options{Broken: broken.WholeGrant}},
		{"one fewer than a majority", Options{Broken: broken.SmallMajority}},
		{"release without naming a ballot", Options{Broken: broken.UnnamedRelease}},
		{"suspend ignored", Options{Broken: broken.IgnoreSuspend}},
		{"promise shortened by a shorter request", Options{Broken: broken.ShortenPromise}},
		{"owner does not stop when its lease ends", Options{Broken: broken.LapseUnnoticed}},
		{"owner releases before it stops", Options{Broken: broken.KeepAfterRelease}},
		{"fence renewed from now", Options{FenceFromNow: true}},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			var w World
			for seed := uint64(1); seed <= within; seed++ {
				if _, err := w.Run(seed, m.opt); err != nil {
					t.Logf("noticed by schedule %d: %v", seed, err)
					return
				}
			}
			t.Errorf("%d schedules and nothing noticed", within)
		})
	}
}
