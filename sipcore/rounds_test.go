package sipcore

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const roundOf = int64(25 * time.Second)

// ringPhones are phones whose places are even on the ring, and when each was kept alive last.
type ringPhones struct {
	t      *testing.T
	last   []int64 // 0: never
	most   int     // at a time
	widest int64   // between two of the same phone
	count  int
}

func (p *ringPhones) arc(from, to, now int64) {
	p.t.Helper()
	if to < from || to-from >= roundOf {
		p.t.Fatalf("from %d to %d", from, to)
	}
	n := 0
	for i := p.from(from); i != p.from(to); i = (i + 1) % len(p.last) {
		if p.last[i] != 0 {
			p.widest = max(p.widest, now-p.last[i])
		}
		p.last[i] = now
		n++
	}
	p.most, p.count = max(p.most, n), p.count+n
}

// from is the first phone that is due at a time or later.
func (p *ringPhones) from(at int64) int {
	apart := math.MaxUint64/uint64(len(p.last)) + 1
	return int(placeAt(at, roundOf)/apart+1) % len(p.last)
}

// TestRounds drives a walk through what clocks and machines do to it. Phones' gaps are bounded, and so is what goes out at once.
func TestRounds(t *testing.T) {
	const tick = int64(20 * time.Millisecond)
	for _, c := range []struct {
		name   string
		clock  func(now int64) int64 // FSM time
		skip   func(now int64) bool  // the process stands still
		widest time.Duration
		most   int // of 10 000 phones; 8 are due each tick
		fewest int // in ten intervals
		upTo   int
	}{
		{name: "nothing", widest: 25*time.Second + 20*time.Millisecond, most: 9, fewest: 99_900, upTo: 100_010},
		{name: "a stall of 3 s", skip: func(now int64) bool { return now%(50*int64(time.Second)) > 47*int64(time.Second) }, widest: 28*time.Second + 20*time.Millisecond, most: 81, fewest: 98_700, upTo: 100_010},
		{name: "a stall of a minute", skip: func(now int64) bool {
			return now > 150*int64(time.Second) && now < 210*int64(time.Second)
		}, widest: 86 * time.Second, most: 81, fewest: 75_000, upTo: 95_000},
		{name: "a busy machine", skip: func(now int64) bool { return now/tick%4 != 0 }, widest: 25*time.Second + 160*time.Millisecond, most: 41, fewest: 99_800, upTo: 100_050},
		{name: "a clock that jitters", clock: func(now int64) int64 { return now - now/tick%7*int64(time.Millisecond)*20 }, widest: 25*time.Second + 150*time.Millisecond, most: 17, fewest: 99_800, upTo: 100_050},
		{name: "a clock that goes back", clock: func(now int64) int64 {
			if now < 150*int64(time.Second) {
				return now + 7*int64(time.Second)
			}
			return now
		}, widest: 25*time.Second + 20*time.Millisecond, most: 17, fewest: 106_000, upTo: 108_000},
		{name: "a clock that goes ahead", clock: func(now int64) int64 {
			if now > 150*int64(time.Second) {
				return now + 7*int64(time.Second)
			}
			return now
		}, widest: 25*time.Second + 20*time.Millisecond, most: 17, fewest: 102_700, upTo: 102_900},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &ringPhones{t: t, last: make([]int64, 10_000)}
			if c.clock == nil {
				c.clock = func(now int64) int64 { return now }
			}
			const begin = 4 * roundOf // 100 s
			r := round{done: c.clock(begin)}
			last := begin
			for now := begin; now < begin+10*roundOf; now += tick {
				if c.skip != nil && c.skip(now) {
					continue
				}
				from, to := r.advance(c.clock(now), now-last, roundOf)
				last = now
				p.arc(from, to, now)
			}
			if p.widest > int64(c.widest) || p.most > c.most || p.count < c.fewest || p.count > c.upTo {
				t.Errorf("up to %v between two, up to %d at once, %d in all; want %v, %d, %d to %d",
					time.Duration(p.widest), p.most, p.count, c.widest, c.most, c.fewest, c.upTo)
			}
		})
	}
}

// TestRoundsElsewhere: another node, whose clock differs a little, is at the same place at any time.
func TestRoundsElsewhere(t *testing.T) {
	for range 1000 {
		at := rand.Int64N(1 << 62)
		if d := placeAt(at+int64(50*time.Millisecond), roundOf) - placeAt(at, roundOf); d > 1<<64/500+1 {
			t.Fatalf("at %d 50 ms are %d of the ring", at, d)
		}
	}
}
