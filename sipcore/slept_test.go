package sipcore

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSlept: sleep is what the clock of all time has more than the one that stops; a process that did not run between two readings did not sleep.
func TestSlept(t *testing.T) {
	const s = int64(time.Second)
	var now, asleep, pause int64 = 100 * s, 7 * s, 0
	read := func(id int32) (int64, error) {
		if id == unix.CLOCK_BOOTTIME {
			now, pause = now+pause, max(0, pause-s)
			return now + asleep, nil
		}
		return now, nil
	}
	if ns, ok := readSlept(read); !ok || ns != 7*s {
		t.Errorf("%d, %v", ns, ok)
	}
	pause = 2 * s
	if ns, ok := readSlept(read); !ok || ns != 7*s {
		t.Errorf("after a pause: %d, %v", ns, ok)
	}
	pause = 100 * s
	if _, ok := readSlept(read); ok {
		t.Error("never at rest, and known all the same")
	}
	if _, ok := readSlept(func(int32) (int64, error) { return 0, errors.New("no clock") }); ok {
		t.Error("no clock, and known all the same")
	}
	var here slept
	here.look()
	before := here.so()
	here.look()
	if here.so() != before {
		t.Error("two readings differ on a machine that is awake")
	}
}

// TestSleepIsNoticed: whoever asks for the time learns of a sleep that was before, with no look at the clocks while there was none.
func TestSleepIsNoticed(t *testing.T) {
	const ms, stale = int64(time.Millisecond), -int64(time.Hour)
	var s slept
	apart := int64(1_000_000 * time.Hour)
	for _, x := range []struct {
		what  string
		wall  int64 // ahead of what the core's time says
		looks bool
	}{
		{"the first time", 0, true},
		{"nothing", 0, false},
		{"less than two readings may differ by", 9 * ms, false},
		{"a sleep", 10 * ms, true},
		{"nothing more", 10 * ms, false},
		{"the wall clock is set back", 0, true},
	} {
		s.ns.Store(stale)
		s.see(apart+x.wall+5, 5)
		if looked := s.so() != stale; looked != x.looks {
			t.Errorf("%s: looked %v", x.what, looked)
		}
	}

	c := newLab(t, 1).cores[0]
	c.slept.ns.Store(stale) // as of before an hour's sleep
	c.slept.apart.Add(stale)
	c.now()
	if c.shards[0].Slept() < 0 {
		t.Error("what is done from now on is taken to be from before the sleep")
	}
}

// TestSleptIsSeen: the shards learn of it within a second or so, also if the wall clock tells nothing.
func TestSleptIsSeen(t *testing.T) {
	c := newLab(t, 1).cores[0]
	c.slept.ns.Store(-int64(time.Hour)) // as of before an hour's sleep
	eventually(t, within(t), "the sleep", func() bool { return c.shards[0].Slept() >= 0 })
}
