package main

import (
	"context"
	"fmt"
	"os"
)

// The search for the highest rate begins here and goes up by a quarter.
const (
	capacityFirst = 1500
	capacityLast  = 20_000
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
		for rate := c.rate; rate <= capacityLast; rate += rate / 4 {
			step := c
			step.rate = rate
			r, err := b.round(ctx, step, side.kind, side.binary, false)
			if err != nil {
				return res, err
			}
			fmt.Fprintf(os.Stderr, "%s: %s at %d/s: %.0f/s begun, %d failed, %.0f %% idle\n", c.name, side.kind, rate, r.Rate, r.Failed, 100*r.idle)
			if r.Failed > 0 || r.Rate < 0.95*float64(rate) {
				break
			}
			*side.best = rate
		}
	}
	if res.PeerMax > 0 {
		res.Ratio = float64(res.OursMax) / float64(res.PeerMax)
	}
	return res, nil
}
