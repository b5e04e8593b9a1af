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
	failureTTL  = lookupTime + time.Second // servers that failed are not asked for every message, nor twice in a lookup
	maxStale    = time.Hour                // how long an answer serves after its TTL when the servers are silent
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

// get returns a fresh answer, with old one that is out of date too; nil when there is none.
func (c *cache) get(q question, old bool) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, now := c.m[q], c.now()
	if a != nil && (now.Before(a.till) || old && a.serves(now)) {
		return a
	}
	return nil
}

// serves reports whether an answer is better than none when the servers are silent.
func (a *answer) serves(now time.Time) bool { return now.Before(a.over.Add(maxStale)) }

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

// failed answers for servers that did not: with what is out of date, if there is any, else with their error; either serves
// for a moment.
func (c *cache) failed(q question, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	a := &answer{err: err}
	if known := c.m[q]; known != nil && known.serves(now) {
		*a = *known
	} else {
		c.makeRoom(now)
	}
	a.till = now.Add(failureTTL)
	c.set(q, a)
}

// makeRoom drops what is of no use any more, then what is over, then anything.
func (c *cache) makeRoom(now time.Time) {
	if c.fits(maxCached, maxBytes) {
		return
	}
	for _, expendable := range []func(*answer) bool{
		func(a *answer) bool { return !now.Before(a.till) && !a.serves(now) },
		func(a *answer) bool { return !now.Before(a.till) },
		func(*answer) bool { return true },
	} {
		for q, a := range c.m {
			if c.fits(maxCached*9/10, maxBytes*9/10) {
				return
			}
			if expendable(a) {
				c.drop(q)
			}
		}
	}
}

func (c *cache) fits(entries, bytes int) bool { return len(c.m) < entries && c.bytes < bytes }

func clamp(d, low, high time.Duration) time.Duration { return min(max(d, low), high) }
