package transport

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	var p pace
	now := int64(time.Hour)
	come := func(every time.Duration, n int) {
		for range n {
			now += int64(every)
			p.count(now, 1)
		}
	}
	come(100*time.Microsecond, 10)
	if p.fast {
		t.Error("fast after the first datagrams: the window before them was empty")
	}
	come(100*time.Microsecond, 500)
	if !p.fast {
		t.Error("10 000/s is not fast")
	}
	come(20*time.Millisecond, 2)
	if p.fast {
		t.Error("50/s is fast")
	}
}
