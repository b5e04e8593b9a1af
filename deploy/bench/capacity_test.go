package main

import (
	"slices"
	"testing"
)

func TestClimb(t *testing.T) {
	for _, x := range []struct {
		holds int // the highest rate that does
		best  int
		tried []int
	}{
		{2000, 1875, []int{1500, 1875, 2343}},
		{1500, 1500, []int{1500, 1875}},
		{1300, 1200, []int{1500, 1200}},
		{700, 615, []int{1500, 1200, 960, 768, 615}},
	} {
		var tried []int
		best, err := climb(1500, func(rate int) (bool, error) {
			tried = append(tried, rate)
			return rate <= x.holds, nil
		})
		if err != nil || best != x.best || !slices.Equal(tried, x.tried) {
			t.Errorf("up to %d: found %d by %v, %v", x.holds, best, tried, err)
		}
	}
	if best, _ := climb(1500, func(int) (bool, error) { return false, nil }); best != 0 {
		t.Errorf("nothing holds, found %d", best)
	}
}
