package beat

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// timers are both kinds: the kernel's, and what stands in when the process may open no more files.
func timers(t *testing.T) map[string]*Timer {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	kernel := NewTimer()
	none := limit
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	spare := NewTimer()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if kernel.spare != nil || spare.spare == nil {
		t.Fatal("want one timer of the kernel's and one of Go's")
	}
	return map[string]*Timer{"kernel": kernel, "spare": spare}
}

func TestTimer(t *testing.T) {
	for name, timer := range timers(t) {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			if !timer.Sleep(3*time.Millisecond) || time.Since(began) < 3*time.Millisecond {
				t.Errorf("slept %v of 3 ms", time.Since(began))
			}
			timer.Set(time.Hour)
			timer.Set(-time.Second) // what has been due for long is due now
			if !timer.Wait() {
				t.Error("a timer set anew did not expire")
			}
			timer.Set(time.Hour)
			ended := make(chan bool)
			go func() { ended <- timer.Wait() }()
			timer.Close()
			if <-ended {
				t.Error("a closed timer expired")
			}
			if timer.spare == nil && timer.Sleep(time.Millisecond) {
				t.Error("a closed timer sleeps")
			}
		})
	}
}

func TestSleepAllocatesNothing(t *testing.T) {
	timer := NewTimer()
	defer timer.Close()
	if n := testing.AllocsPerRun(20, func() { timer.Sleep(time.Microsecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Alarms with a common multiple ring together, at a multiple, and an early one does not lose a later one.
func TestAlarms(t *testing.T) {
	short, long, unused := NewAlarm(), NewAlarm(), NewAlarm()
	defer unused.Stop()
	defer long.Stop()
	defer short.Stop()
	const interval = 20 * time.Millisecond
	long.Next(4 * interval)
	common.mu.Lock()
	due := long.due
	common.mu.Unlock()
	rang := 0
	for time.Since(began) < due {
		short.Next(interval)
		<-short.C
		rang++
	}
	select {
	case <-long.C:
	case <-time.After(time.Second):
		t.Error("the alarm of the longer interval did not ring with the other")
	}
	if rang > 4 {
		t.Errorf("rang %d times in four intervals", rang)
	}
	select {
	case <-unused.C:
		t.Error("an alarm rang that was not set")
	default:
	}
}

func TestEvery(t *testing.T) {
	for range 2 { // the common timer goes with the last alarm, and comes with the next
		ctx, cancel := context.WithCancel(context.Background())
		n := 0
		Every(ctx, time.Millisecond, func() {
			if n++; n == 3 {
				cancel()
			}
		})
		if n != 3 {
			t.Errorf("called %d times", n)
		}
	}
}
