package scenario

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"holdline/deploy/lab/phone"
)

// body of the calls. Nothing is sent to it: the drill watches signalling.
const body = "v=0\r\no=- 1 1 IN IP4 %[1]v\r\ns=-\r\nc=IN IP4 %[1]v\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 101\r\n" +
	"a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"

// World is the phones and the gateway, and the calls between them.
type World struct {
	Phones   []*phone.Phone
	Gateway  *phone.Phone
	Patience time.Duration // how long each message may take
	Ledger   *Ledger
	// Lossy: messages get lost at random. A phone then repeats its 180, which nothing else would bring again (RFC 3261 §13.3.1.1 lets
	// it). To be set before the first call.
	Lossy bool
	// Renew, if not 0, is how long a call rings in wait for the fault, about. It then ends as it would have, is counted as a set-up, and
	// another rings in its place: nobody's patience is endless, and a person's fault may be long in coming.
	Renew time.Duration
	// Polite: calls that are broken off or lost are ended, as far as they can be, so that no proxy has to keep them.
	Polite bool

	Arrivals phone.Arrivals

	name    string
	ids     atomic.Int64
	held    sync.WaitGroup // calls that wait for the fault
	short   sync.WaitGroup // the others
	fault   chan struct{}  // closed when faultAt is known
	faultAt time.Time
}

// New makes a world and takes over the phones' and the gateway's incoming requests; there may be no gateway. The name tells its calls from those of
// other worlds with the same phones.
func New(name string, phones []*phone.Phone, gateway *phone.Phone, patience time.Duration) *World {
	w := &World{
		name: name, Phones: phones, Gateway: gateway, Patience: patience, Ledger: &Ledger{},
		fault: make(chan struct{}),
	}
	for _, p := range phones {
		w.Arrivals.Watch(p)
	}
	if gateway != nil {
		w.Arrivals.Watch(gateway)
	}
	return w
}

// SetFault tells the calls that wait for it when the fault will be. It may be called once.
func (w *World) SetFault(at time.Time) {
	w.faultAt = at
	close(w.fault)
}

// untilFault waits until some time after the fault, or before it when negative.
func (w *World) untilFault(ctx context.Context, after time.Duration) error {
	select {
	case <-w.fault:
	case <-ctx.Done():
		return ctx.Err()
	}
	return pause(ctx, time.Until(w.faultAt.Add(after)))
}

// ringUntilFault is untilFault for a call that rings. It returns early when the call has rung long enough; again is true then.
func (w *World) ringUntilFault(ctx context.Context, after, longest time.Duration) (again bool, err error) {
	if w.Renew > 0 {
		enough := time.NewTimer(longest)
		defer enough.Stop()
		select {
		case <-w.fault:
		case <-enough.C:
			return true, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return false, w.untilFault(ctx, after)
}

func (w *World) faultCame() bool {
	select {
	case <-w.fault:
		return true
	default:
		return false
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(max(0, d))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Play runs a call in the background. ready, if not nil, is called when the call waits for the fault, or has failed before.
func (w *World) Play(ctx context.Context, plan Plan, ready func()) {
	if ready == nil {
		ready = func() {}
	}
	ready = sync.OnceFunc(ready)
	running := &w.held
	if plan.Kind == Setup {
		running = &w.short
	}
	w.Ledger.begin(plan.Kind)
	running.Go(func() {
		defer ready()
		for w.playOnce(ctx, plan, ready) {
			w.Ledger.begin(plan.Kind)
		}
	})
}

// playOnce plays a call that has been counted, and tells whether another is to ring in its place.
func (w *World) playOnce(ctx context.Context, plan Plan, ready func()) (again bool) {
	c := &call{w: w, Plan: plan, id: w.name + "-" + strconv.FormatInt(w.ids.Add(1), 10), ready: ready}
	err := c.play(ctx)
	if err != nil && w.Polite {
		c.hangUp(context.WithoutCancel(ctx))
	}
	c.close()
	kind := plan.Kind
	switch {
	case c.brokenSetup():
		kind = SetupOnBroken
	case c.renewed:
		kind = Setup
	}
	if kind != plan.Kind {
		w.Ledger.move(plan.Kind, kind)
	}
	var m *Missing
	switch {
	case err == nil:
		return c.renewed && !w.faultCame()
	case errors.As(err, &m):
		w.Ledger.lose(Loss{Kind: kind, ID: c.id, Route: c.route(), Begun: c.sent, Missing: *m})
	case ctx.Err() != nil:
		w.Ledger.forget(kind)
	default: // the phone itself could not go on, because of what it was sent
		w.Ledger.lose(Loss{Kind: kind, ID: c.id, Route: c.route(), Begun: c.sent, Missing: Missing{
			Awaited: "a usable message", By: "phone", Since: time.Now(), Got: err.Error(),
		}})
	}
	return false
}

// WaitHeld returns when every call that waited for the fault has ended.
func (w *World) WaitHeld() { w.held.Wait() }

// Wait returns when every call has ended.
func (w *World) Wait() {
	w.held.Wait()
	w.short.Wait()
}

// await is the one place where patience ends.
func await[T any](ctx context.Context, w *World, by, what string, get func(context.Context) (T, error)) (T, error) {
	since := time.Now()
	limited, cancel := context.WithTimeout(ctx, w.Patience)
	defer cancel()
	v, err := get(limited)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = &Missing{Awaited: what, By: by, Since: since}
	}
	return v, err
}

// done awaits a channel's closing.
func done(ctx context.Context, w *World, by, what string, ch <-chan struct{}) error {
	_, err := await(ctx, w, by, what, func(ctx context.Context) (struct{}, error) {
		select {
		case <-ch:
			return struct{}{}, nil
		case <-ctx.Done():
			return struct{}{}, ctx.Err()
		}
	})
	return err
}

// expect checks a response's status.
func expect(res *sip.Response, by, what string, since time.Time, codes ...int) error {
	for _, code := range codes {
		if res.StatusCode == code {
			return nil
		}
	}
	return &Missing{Awaited: what, By: by, Since: since, Got: fmt.Sprintf("%d %s", res.StatusCode, res.Reason)}
}
