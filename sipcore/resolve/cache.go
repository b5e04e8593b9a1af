package resolve

import (
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	maxCached   = 10_000
	minTTL      = time.Second
	maxTTL      = time.Hour
	minNegative = 5 * time.Second
	maxNegative = 5 * time.Minute
	failureTTL  = 2 * time.Second // servers that are silent are not asked for every message
	maxStale    = time.Hour       // how long an answer serves when the servers are silent
)

type question struct {
	name string
	kind uint16
}

// answer is what a name has of one kind; without records it is a negative one.
type answer struct {
	rrs []dns.RR
	ttl time.Duration

	till time.Time // in the cache: fresh until then
}

// cache holds answers, negative ones too.
type cache struct {
	now func() time.Time
	mu  sync.Mutex
	m   map[question]*answer
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
	c.m[q] = a
}

// failed answers for servers that did not: with what is out of date, if there is any; it then serves for a moment.
func (c *cache) failed(q question, err error) (*answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	a := c.m[q]
	if a == nil || now.Sub(a.till) > maxStale {
		return nil, err
	}
	stale := *a
	stale.till = now.Add(failureTTL)
	c.m[q] = &stale
	return &stale, nil
}

// makeRoom drops what is over, else anything.
func (c *cache) makeRoom(now time.Time) {
	if len(c.m) < maxCached {
		return
	}
	for q, a := range c.m {
		if now.After(a.till) {
			delete(c.m, q)
		}
	}
	for q := range c.m {
		if len(c.m) < maxCached*9/10 {
			return
		}
		delete(c.m, q)
	}
}

func clamp(d, low, high time.Duration) time.Duration { return min(max(d, low), high) }
