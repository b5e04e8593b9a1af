package sim

// clock is a node's CLOCK_MONOTONIC_RAW: any offset, a rate that differs from true time, standing still while the
// machine sleeps. Times are ns.
type clock struct {
	offset int64
	ppm    int64
}

func (c clock) at(t int64) int64 { return c.offset + t + t*c.ppm/1e6 }

// when returns the first true time at which the clock shows local.
func (c clock) when(local int64) int64 {
	t := (local - c.offset) * 1e6 / (1e6 + c.ppm)
	for c.at(t) >= local {
		t--
	}
	for c.at(t) < local {
		t++
	}
	return t
}
