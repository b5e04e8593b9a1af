package main

import (
	"context"
)

// The search for the highest rate begins at the first.
const (
	capacityFirst = 1500
	capacityLast  = 20_000
	capacityLeast = 100
)

// capacity finds the highest rate at which no call fails and the rate is kept, for both systems. The generator shares the machine
// with them, so on few cores it is the machine that gives in: the ratio says who leaves it more.
func (b *bench) capacity(ctx context.Context, c benchCase) (result, error) {
	res := result{Case: c.name}
	kind, binary := b.peer(c)
	for _, side := range []struct {
		kind, binary string
		best         *int
	}{{c.ours, b.binary, &res.OursMax}, {kind, binary, &res.PeerMax}} {
		holds := func(rate int) (bool, error) {
			step := c
			step.rate = rate
			r, err := b.round(ctx, step, side.kind, side.binary, false)
			return r.Failed == 0 && r.Rate >= 0.95*float64(rate), err
		}
		var err error
		if *side.best, err = climb(c.rate, holds); err != nil {
			return res, err
		}
	}
	if res.PeerMax > 0 {
		res.Ratio = float64(res.OursMax) / float64(res.PeerMax)
	}
	return res, nil
}

// climb finds the highest rate that holds: up by a quarter from the first on, or down by a fifth where that does not. 0: none does.
func climb(first int, holds func(rate int) (bool, error)) (best int, err error) {
	for rate := first; rate >= capacityLeast && rate <= capacityLast; {
		ok, err := holds(rate)
		switch {
		case err != nil:
			return best, err
		case ok && rate < first: // the one above did not
			return rate, nil
		case ok:
			best = rate
			rate += rate / 4
		case best > 0:
			return best, nil
		default:
			rate -= rate / 5
		}
	}
	return best, nil
}
