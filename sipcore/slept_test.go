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

// TestSleptIsSeen: the shards learn of it within a second or so.
func TestSleptIsSeen(t *testing.T) {
	c := newLab(t, 1).cores[0]
	c.slept.ns.Store(-int64(time.Hour)) // as of before an hour's sleep
	eventually(t, within(t), "the sleep", func() bool { return c.shards[0].Slept() >= 0 })
}
