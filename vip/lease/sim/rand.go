package sim

import "time"

// dice is splitmix64: small, fast, and the seed decides all.
type dice uint64

func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number in [0, n).
func (d *dice) below(n int) int {
	if n <= 0 {
		return 0
	}
	return int((d.next() >> 32) * uint64(n) >> 32)
}

// percent is true p times in a hundred.
func (d *dice) percent(p int) bool { return d.below(100) < p }

// between returns a time in [lo, hi).
func (d *dice) between(lo, hi time.Duration) int64 {
	if hi <= lo {
		return int64(lo)
	}
	return int64(lo) + int64(d.next()>>1)%int64(hi-lo)
}
