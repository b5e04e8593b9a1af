package resolve

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"holdline/fsm/pb"
)

const (
	lookupTime = 4 * time.Second // a caller retransmits meanwhile; longer waits help nobody
	maxTargets = 8               // of one name
	maxWaiting = 10_000          // for one lookup
)

// Query is what a URI says of the next hop.
type Query struct {
	Host  string
	Port  uint16       // 0: the URI names none, so SRV is asked
	Proto pb.Transport // to use; with Fixed false only what to use when the DNS names none
	Fixed bool         // the transport is given: by the URI, the dialog or the configuration
	SIPS  bool         // TLS or nothing
	Six   bool         // the VIP speaks IPv6, else IPv4
	Seed  uint64       // of the choice by weight: the same on every node, so that a new owner goes to the same target
}

// Target is one address to try.
type Target struct {
	Addr  netip.AddrPort
	Proto pb.Transport
}

// ErrNone says that a name has no address that we could use.
var ErrNone = errors.New("it has no address that this VIP can reach")

// Options of a resolver. The zero Options are right for a node.
type Options struct {
	ResolvConf string           // "" = /etc/resolv.conf; read again when it has changed
	Hosts      string           // "" = /etc/hosts; likewise
	Limit      int              // lookups under way at once; 0 = 64
	Port       string           // of the servers; "" = 53
	Now        func() time.Time // nil: time.Now
}

// Resolver looks names up, each in a goroutine of its own. Safe for concurrent use.
type Resolver struct {
	client client
	hosts  hostsFile
	cache  cache
	limit  int

	mu      sync.Mutex
	waiting map[Query][]waiter // by query without its seed: one lookup serves all
	running int                // lookups with questions under way
}

type waiter struct {
	q    Query
	done func([]Target, error)
}

// New makes a resolver.
func New(o Options) *Resolver {
	orElse(&o.ResolvConf, "/etc/resolv.conf")
	orElse(&o.Hosts, "/etc/hosts")
	orElse(&o.Port, "53")
	if o.Limit == 0 {
		o.Limit = 64
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Resolver{
		client: client{conf: watched{path: o.ResolvConf, now: o.Now}, port: o.Port},
		hosts:  hostsFile{file: watched{path: o.Hosts, now: o.Now}},
		cache:  cache{now: o.Now, m: make(map[question]*answer)},
		limit:  o.Limit, waiting: make(map[Query][]waiter),
	}
}

func orElse(s *string, def string) {
	if *s == "" {
		*s = def
	}
}

// Known returns the targets of q as far as they are in the cache; ok is false when a server would have to be asked. When too many
// lookups are under way for that, what is out of date is known too.
func (r *Resolver) Known(q Query) (targets []Target, ok bool) {
	targets, missed, err := r.look(q, false)
	if len(missed) > 0 {
		r.mu.Lock()
		full := r.running >= r.limit
		r.mu.Unlock()
		if !full {
			return nil, false
		}
		targets, _, err = r.look(q, true)
	}
	return targets, err == nil
}

// Resolve finds the targets of q, best first, and calls done with them: from another goroutine when a server has to be
// asked, else at once. When too many lookups are under way an answer that is out of date serves; without one that is an error.
func (r *Resolver) Resolve(ctx context.Context, q Query, done func([]Target, error)) {
	targets, missed, err := r.look(q, false)
	if len(missed) == 0 {
		done(targets, explain(q, err))
		return
	}
	old, _, _ := r.look(q, true)
	limit := r.limit
	if len(old) == 0 {
		limit -= limit / 4 // the rest is for names that have had an answer: any stranger can send us names whose servers are silent
	}
	key := q
	key.Seed = 0
	r.mu.Lock()
	waiting, under := r.waiting[key]
	if !under && r.running >= limit || len(waiting) >= maxWaiting {
		r.mu.Unlock()
		if len(old) > 0 {
			done(old, nil)
			return
		}
		done(nil, fmt.Errorf("look up %s: too many lookups are under way already; check this node's name servers", q.Host))
		return
	}
	r.waiting[key] = append(waiting, waiter{q, done})
	if !under {
		r.running++
		go r.run(ctx, key)
	}
	r.mu.Unlock()
}

// run looks a query up for all who wait for it.
func (r *Resolver) run(ctx context.Context, key Query) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	l := &lookup{r: r, asked: make(map[question]bool), answered: make(chan struct{}, atOnce)}
	l.targets(ctx, key)
	r.mu.Lock()
	waiting := r.waiting[key]
	delete(r.waiting, key)
	r.mu.Unlock()
	for _, w := range waiting {
		targets, err := l.targets(ctx, w.q) // by its seed it may need a name that key does not
		w.done(targets, explain(w.q, err))
	}
	for l.under > 0 { // what proved needless
		l.wait()
	}
	r.mu.Lock()
	r.running--
	r.mu.Unlock()
}

func explain(q Query, err error) error {
	if err != nil {
		return fmt.Errorf("look up %s: %w", q.Host, err)
	}
	return nil
}
