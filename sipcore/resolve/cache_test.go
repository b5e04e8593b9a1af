package resolve

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestStaleIsBounded: silent servers leave what was known for an hour, also when it is asked for all the time.
func TestStaleIsBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := cache{now: func() time.Time { return now }, m: map[question]*answer{}}
	q := question{name: "a.test."}
	c.put(q, &answer{ttl: time.Minute})
	silent := errors.New("silent")
	for end := now.Add(time.Minute + maxStale); now.Before(end); now = now.Add(10 * time.Second) {
		if a := c.get(q); a != nil {
			continue
		}
		if _, err := c.failed(q, silent); err != nil {
			t.Fatalf("%v before its end: %v", end.Sub(now), err)
		}
	}
	if _, err := c.failed(q, silent); err != silent {
		t.Error("it serves for ever")
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
