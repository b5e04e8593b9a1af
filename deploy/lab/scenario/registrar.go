package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"holdline/deploy/lab/phone"
)

// Keeper registers phones and registers them again and again, and knows which of them hold a 200.
type Keeper struct {
	Phones   []*phone.Phone
	Every    time.Duration // how often a phone registers again
	Expires  time.Duration // what it asks for
	Patience time.Duration

	mu    sync.Mutex
	state map[*phone.Phone]*binding
}

type binding struct {
	acknowledged bool
	until        time.Time // when it would expire
	unanswered   int
	refused      string // the latest refusal
}

// Run registers every phone once, paced over a spread of time, and then keeps them registered until ctx ends. first is closed
// when each phone has had its first answer or has waited in vain.
func (k *Keeper) Run(ctx context.Context, seed uint64, spread time.Duration, first chan<- struct{}) {
	k.mu.Lock()
	k.state = map[*phone.Phone]*binding{}
	for _, p := range k.Phones {
		k.state[p] = &binding{}
	}
	k.mu.Unlock()
	rng := rand.New(rand.NewPCG(seed, 0x726567))
	var initial, all sync.WaitGroup
	for i, p := range k.Phones {
		wait := spread * time.Duration(i) / time.Duration(len(k.Phones))
		offset := time.Duration(rng.Int64N(int64(k.Every)))
		initial.Add(1)
		all.Go(func() {
			if pause(ctx, wait) == nil {
				k.register(ctx, p)
			}
			initial.Done()
			for untilDue(ctx, p, offset) == nil {
				k.register(ctx, p)
				offset = k.Every
			}
		})
	}
	initial.Wait()
	close(first)
	all.Wait()
}

// untilDue waits until a phone registers again: when it is time to, or at once when a connection of its has broken.
func untilDue(ctx context.Context, p *phone.Phone, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-p.Broke():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *Keeper) register(ctx context.Context, p *phone.Phone) {
	limited, cancel := context.WithTimeout(ctx, k.Patience)
	defer cancel()
	sent := time.Now()
	res, err := p.Register(limited, k.Expires)
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.state[p]
	switch {
	case err == nil && res.StatusCode == 200:
		// The 200 says what is bound: a 200 without the phone's own contact acknowledges nothing.
		if bound(res.GetHeaders("Contact"), p) {
			b.acknowledged, b.until, b.refused = true, sent.Add(k.Expires), ""
		} else {
			b.refused = "200 without its contact"
		}
	case err == nil:
		b.refused = fmt.Sprintf("%d %s", res.StatusCode, res.Reason)
	case ctx.Err() != nil: // the drill is over
	case errors.Is(err, context.DeadlineExceeded):
		b.unanswered++
	default:
		b.refused = err.Error()
	}
}

// bound looks for the phone's contact among those of a 200.
func bound[H interface{ Value() string }](contacts []H, p *phone.Phone) bool {
	for _, c := range contacts {
		if ContactIs(c.Value(), p) {
			return true
		}
	}
	return false
}

// ContactIs tells whether a contact, as a message or the product's listing shows it, is the phone's.
func ContactIs(contact string, p *phone.Phone) bool {
	return strings.Contains(contact, p.User+"@"+p.Addr().String())
}

// Acknowledged lists the phones that hold a 200 which has not expired.
func (k *Keeper) Acknowledged() []*phone.Phone {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []*phone.Phone
	for _, p := range k.Phones {
		if b := k.state[p]; b.acknowledged && time.Now().Before(b.until) {
			out = append(out, p)
		}
	}
	return out
}

// Unanswered is how many REGISTERs had no final answer, since the last call of it.
func (k *Keeper) Unanswered() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for _, b := range k.state {
		n += b.unanswered
		b.unanswered = 0
	}
	return n
}

// Refusals lists what phones were told instead of 200, with how many were told so last.
func (k *Keeper) Refusals() map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[string]int{}
	for _, b := range k.state {
		if b.refused != "" {
			out[b.refused]++
		}
	}
	return out
}
