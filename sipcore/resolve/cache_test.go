package resolve

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

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
