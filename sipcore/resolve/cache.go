package resolve

import (
	"sync"
	"time"
)

const (
	maxCached   = 10_000  // answers
	maxBytes    = 8 << 20 // that they take; an answer of the usual kind takes some 400
	minTTL      = time.Second
	maxTTL      = time.Hour
	minNegative = 5 * time.Second
	maxNegative = 5 * time.Minute
	failureTTL  = 2 * time.Second // servers that are silent are not asked for every message
	maxStale    = time.Hour       // how long an answer serves after its TTL when the servers are silent
)

type question struct {
	name string
	kind uint16
}

// cache holds answers, negative ones too.
type cache struct {
	now   func() time.Time
	mu    sync.Mutex
	m     map[question]*answer
	bytes int // the sizes of m's answers
}

// get returns a fresh answer, nil when there is none.
func (c *cache) get(q question) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.m[q]
	if a == nil || !c.now().Before(a.till) {
		return nil
	}
	return a
}

// any returns an answer however old it is, nil when there is none.
func (c *cache) any(q question) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m[q]
}

// put keeps an answer for its TTL.
func (c *cache) put(q question, a *answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	c.makeRoom(now)
	a.till = now.Add(a.ttl)
	a.over = a.till
	c.set(q, a)
}

func (c *cache) set(q question, a *answer) {
	c.drop(q)
	c.m[q] = a
	c.bytes += a.size(q)
}

func (c *cache) drop(q question) {
	if a := c.m[q]; a != nil {
		c.bytes -= a.size(q)
		delete(c.m, q)
	}
}

// failed answers for servers that did not: with what is out of date, if there is any; it then serves for a moment.
func (c *cache) failed(q question, err error) (*answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	a := c.m[q]
	if a == nil || !now.Before(a.over.Add(maxStale)) {
		return nil, err
	}
	stale := *a
	stale.till = now.Add(failureTTL)
	c.set(q, &stale)
	return &stale, nil
}

// makeRoom drops what is over, else anything.
func (c *cache) makeRoom(now time.Time) {
	if c.fits(maxCached, maxBytes) {
		return
	}
	for q, a := range c.m {
		if now.After(a.till) {
			c.drop(q)
		}
	}
	for q := range c.m {
		if c.fits(maxCached*9/10, maxBytes*9/10) {
			return
		}
		c.drop(q)
	}
}

func (c *cache) fits(entries, bytes int) bool { return len(c.m) < entries && c.bytes < bytes }

func clamp(d, low, high time.Duration) time.Duration { return min(max(d, low), high) }
