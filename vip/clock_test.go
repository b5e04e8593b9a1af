package vip

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// clocks are a machine's clocks, and a process that stands still before some of its readings.
type clocks struct {
	mono, boot time.Duration
	reading    int
	stalls     map[int]time.Duration // before which reading, how long
}

func (c *clocks) read(id int32) int64 {
	c.reading++
	d := 100*time.Nanosecond + c.stalls[c.reading]
	c.mono, c.boot = c.mono+d, c.boot+d
	if id == unix.CLOCK_BOOTTIME {
		return int64(c.boot)
	}
	return int64(c.mono)
}

func (c *clocks) monotonic() int64 { return c.read(unix.CLOCK_MONOTONIC) }

// TestSleptWhileStalled: a process that does not run for a while between two readings does not take it for sleep.
func TestSleptWhileStalled(t *testing.T) {
	for stall := range 15 {
		c := &clocks{boot: time.Hour, stalls: map[int]time.Duration{stall + 1: 50 * time.Millisecond}}
		slept, ok := sleptSoFar(c.monotonic, c.read)
		if off := time.Duration(slept) - time.Hour; !ok || off < 0 || off > time.Duration(clockNoise)/2 {
			t.Errorf("stalled before reading %d: %v too much, %v", stall+1, off, ok)
		}
	}
	all := &clocks{stalls: map[int]time.Duration{}}
	for i := range 100 {
		all.stalls[i] = 50 * time.Millisecond
	}
	if _, ok := sleptSoFar(all.monotonic, all.read); ok {
		t.Error("a reading is believed although the process stood still in each")
	}
}

// TestSlept: what passes on the one clock alone is told.
func TestSlept(t *testing.T) {
	c := new(clocks)
	before, _ := sleptSoFar(c.monotonic, c.read)
	c.boot += 30 * time.Millisecond
	after, ok := sleptSoFar(c.monotonic, c.read)
	if slept := time.Duration(after - before); !ok || slept < 29*time.Millisecond || slept > 31*time.Millisecond {
		t.Errorf("slept %v, want 30ms", slept)
	}
}

// TestClock: the clock without system calls is the system's, or a little ahead.
func TestClock(t *testing.T) {
	c := NewClock()
	for range 100 {
		before := readClock(unix.CLOCK_MONOTONIC)
		now := c.Now()
		if ahead := now - before; ahead < 0 {
			t.Fatalf("behind by %v: a lease would end late", time.Duration(-ahead))
		}
	}
}

// TestPulse: a guard that stands still is noticed after half a second, one that goes on at once, and one that does not count is believed.
func TestPulse(t *testing.T) {
	const ms = int64(time.Millisecond)
	var p pulse
	for _, x := range []struct {
		count uint64
		at    int64
		beats bool
	}{
		{7, 1000, true},
		{8, 1100, true},
		{8, 1500, true},
		{8, 1601, false},
		{8, 9000, false},
		{9, 9001, true},
		{1, 9100, true}, // another process
		{1, 9599, true},
		{1, 9600, false},
	} {
		if got := p.beats(x.count, x.at*ms); got != x.beats {
			t.Errorf("count %d at %d ms: %v", x.count, x.at, got)
		}
	}
	var old pulse
	if !old.beats(0, 1) || !old.beats(0, 1+10000*ms) {
		t.Error("a guard that does not count its turns is not believed")
	}
}
