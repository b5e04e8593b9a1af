package resolve

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestFailureIsKept: a name whose servers fail is not asked for anew for each message, and again a little later.
func TestFailureIsKept(t *testing.T) {
	w := newWorld(t, zone)
	q := Query{Host: "a.test", Port: 5060}
	w.change(func() { w.fail = map[string]bool{"a.test. A": true} })
	for range 3 {
		if got := w.find(q); got != "error" {
			t.Error(got)
		}
	}
	if n := w.count("a.test. A"); n != rounds {
		t.Errorf("asked %d times", n)
	}
	w.change(func() { w.fail = nil })
	w.now = w.now.Add(failureTTL)
	if got := w.find(q); got != "UDP/10.1.0.1:5060" {
		t.Error(got)
	}
}

// TestStaleIsBounded: silent servers leave what was known for an hour, also when it is asked for all the time.
func TestStaleIsBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := cache{now: func() time.Time { return now }, m: map[question]*answer{}}
	q := question{name: "a.test."}
	c.put(q, &answer{ttl: time.Minute})
	silent := errors.New("silent")
	for end := now.Add(time.Minute + maxStale); now.Before(end); now = now.Add(10 * time.Second) {
		if a := c.get(q, false); a != nil {
			continue
		}
		c.failed(q, silent)
		if a := c.get(q, false); a.err != nil {
			t.Fatalf("%v before its end: %v", end.Sub(now), a.err)
		}
	}
	now = now.Add(failureTTL)
	if c.get(q, true) != nil {
		t.Error("it serves for ever")
	}
	c.failed(q, silent)
	if a := c.get(q, false); a.err != silent {
		t.Error(a)
	}
}

// TestRoom: a flood of names that fail drops no answer that serves when the servers are silent.
func TestRoom(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := cache{now: func() time.Time { return now }, m: map[question]*answer{}}
	q := question{name: "a.test."}
	c.put(q, &answer{ttl: time.Minute})
	now = now.Add(2 * time.Minute)
	for i := range 3 * maxCached {
		c.failed(question{name: fmt.Sprint(i)}, errNoTime)
		now = now.Add(time.Millisecond)
	}
	if c.get(q, true) == nil {
		t.Error("it is gone")
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := cache{now: time.Now, m: map[question]*answer{}}
	for i := range 3 * maxCached {
		c.put(question{name: fmt.Sprint(i)}, &answer{ttl: time.Hour})
	}
	if len(c.m) > maxCached {
		t.Errorf("%d answers", len(c.m))
	}
	large := make([]srv, maxRecords)
	for i := range large {
		large[i].target = strings.Repeat("x", 250)
	}
	for i := range maxCached / 2 {
		c.put(question{name: fmt.Sprint(i)}, &answer{srv: large, ttl: time.Hour})
	}
	sum := 0
	for q, a := range c.m {
		sum += a.size(q)
	}
	if sum > maxBytes+20_000 || sum != c.bytes {
		t.Errorf("answers of %d bytes, counted as %d", sum, c.bytes)
	}
}
