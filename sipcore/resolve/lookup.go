package resolve

import (
	"context"
	"errors"
	"slices"
)

const (
	maxAsked = 64 // questions of one lookup: a zone could have us ask for thousands of names
	atOnce   = 8  // of them
)

var errMiss = errors.New("the name servers have not answered in time")

// pass goes once through what is known.
type pass struct {
	r      *Resolver
	old    bool // also through what is out of date
	missed []question
}

// ask answers one question, or notes that nothing is known of it.
func (p *pass) ask(name string, kind uint16) (*answer, error) {
	if a := p.r.hosts.find(name, kind); a != nil {
		return a, nil
	}
	q := question{name, kind}
	if a := p.r.cache.get(q, p.old); a != nil {
		return a, a.err
	}
	if len(p.missed) < maxAsked && !slices.Contains(p.missed, q) {
		p.missed = append(p.missed, q)
	}
	return nil, errMiss
}

// look finds the targets of q as far as they are known, with old also what is out of date. They are all that there are, and in their
// order, if no question was missed.
func (r *Resolver) look(q Query, old bool) (targets []Target, missed []question, err error) {
	p := &pass{r: r, old: old}
	targets, err = find(q, p)
	return targets, p.missed, err
}

// lookup asks the servers what one query needs, by any number of seeds. One goroutine has it.
type lookup struct {
	r        *Resolver
	asked    map[question]bool
	under    int           // questions under way
	answered chan struct{} // each that is over
}

// targets finds the targets of q. Questions are asked side by side, so that one whose servers are silent does not use up the time of the
// others; it may be needless, too. When time or questions run out, what has been found is better than nothing.
func (l *lookup) targets(ctx context.Context, q Query) ([]Target, error) {
	for {
		targets, missed, err := l.r.look(q, false)
		if len(missed) == 0 {
			return targets, err
		}
		l.ask(ctx, missed)
		if l.under == 0 { // some TTL is over already, or nothing more may be asked
			targets, _, err = l.r.look(q, true)
			return targets, err
		}
		l.wait()
	}
}

func (l *lookup) ask(ctx context.Context, missed []question) {
	for _, q := range missed {
		if l.under == atOnce || len(l.asked) == maxAsked || ctx.Err() != nil {
			return
		}
		if l.asked[q] {
			continue
		}
		l.asked[q] = true
		l.under++
		go func() {
			l.r.ask(ctx, q)
			l.answered <- struct{}{}
		}()
	}
}

// wait waits for a question that is under way.
func (l *lookup) wait() {
	<-l.answered
	l.under--
}

// ask fills the cache from the servers. When they are all silent an answer that is out of date is better than none.
func (r *Resolver) ask(ctx context.Context, q question) {
	if r.cache.get(q, false) != nil {
		return // another lookup was faster
	}
	a, err := r.client.exchange(ctx, q.name, q.kind)
	switch {
	case err == nil:
		r.cache.put(q, a)
	case err != errNoTime:
		r.cache.failed(q, err)
	}
}
