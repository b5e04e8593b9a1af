package scenario

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"holdline/deploy/lab/phone"
)

// call plays both ends of one call. One goroutine does, so each step is a message sent and the messages awaited for it.
type call struct {
	Plan
	w     *World
	id    string
	ready func()

	client  *phone.Client // the caller's INVITE
	server  *phone.Server // the callee's
	a, b    *phone.Dialog
	sent    time.Time
	set     bool // up: no longer a set-up
	broken  bool // a connection broke before it was
	renewed bool // rang long enough without the fault
}

func (c *call) caller() string { return "caller " + c.Caller.User }
func (c *call) callee() string { return "callee " + c.Callee.User }

func (c *call) route() string {
	out := c.Callee.Proxy.Addr().String()
	if c.Callee.Password == "" {
		out = "any VIP"
	}
	id := ""
	if c.client != nil {
		id = ", Call-ID " + c.client.Request.CallID().Value()
	}
	return fmt.Sprintf("%s → %v … %s → %s%s", c.Caller.User, c.Via.Addr(), out, c.Callee.User, id)
}

func (c *call) play(ctx context.Context) error {
	if err := c.ring(ctx); err != nil {
		return err
	}
	switch c.Kind {
	case Setup:
		return c.playSetup(ctx)
	case Ringing:
		return c.playRinging(ctx)
	case Cancelled:
		return c.playCancelled(ctx)
	default:
		return c.playEstablished(ctx)
	}
}

func (c *call) playSetup(ctx context.Context) error {
	ringing := time.Now()
	if err := pause(ctx, c.Ring); err != nil {
		return err
	}
	rang := time.Since(ringing)
	if err := c.answer(ctx); err != nil {
		return err
	}
	c.w.Ledger.answered(time.Since(c.sent) - rang)
	if err := pause(ctx, c.Hold); err != nil {
		return err
	}
	return c.inside(ctx, c.Hangup)
}

func (c *call) playRinging(ctx context.Context) error {
	c.ready()
	var err error
	if c.renewed, err = c.w.ringUntilFault(ctx, c.Ring, c.w.Renew+c.Ring); err != nil {
		return err
	}
	if err := c.answer(ctx); err != nil {
		return err
	}
	if err := pause(ctx, c.Hold); err != nil {
		return err
	}
	return c.inside(ctx, c.Hangup)
}

func (c *call) playEstablished(ctx context.Context) error {
	if err := c.answer(ctx); err != nil {
		return err
	}
	c.ready()
	for _, step := range append(c.Middle, c.Hangup) {
		if err := c.w.untilFault(ctx, step.At); err != nil {
			return err
		}
		if err := c.inside(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

// playCancelled: the callee hears of it, the caller gets 200 for the CANCEL and 487 for the INVITE, and the callee the ACK to its 487.
func (c *call) playCancelled(ctx context.Context) error {
	c.ready()
	var err error
	if c.renewed, err = c.w.ringUntilFault(ctx, c.Hangup.At, c.w.Renew+c.Hangup.At); err != nil {
		return err
	}
	cancel, err := c.client.Cancel()
	if err != nil {
		return err
	}
	sent := time.Now()
	// Both are under way at once, and so is their patience.
	errs := make(chan error, 2)
	var both sync.WaitGroup
	both.Go(func() {
		res, err := await(ctx, c.w, c.caller(), "200 to CANCEL", cancel.Final)
		if err == nil {
			err = expect(res, c.caller(), "200 to CANCEL", sent, 200)
		}
		errs <- err
	})
	both.Go(func() { errs <- done(ctx, c.w, c.callee(), "CANCEL", c.server.Cancelled()) })
	both.Wait()
	for range 2 {
		if e := <-errs; err == nil { // the first reason: a refusal comes before what it keeps from coming is missed
			err = e
		}
	}
	if err != nil {
		return err
	}
	res, err := await(ctx, c.w, c.caller(), "487 to INVITE", c.client.Final)
	if err != nil {
		return err
	}
	if err := expect(res, c.caller(), "487 to INVITE", sent, 487); err != nil {
		return err
	}
	return done(ctx, c.w, c.callee(), "ACK to 487", c.server.Acked())
}

// ring sends the INVITE and awaits it at the callee, and the callee's 180 at the caller.
func (c *call) ring(ctx context.Context) error {
	arrived := c.w.Arrivals.Open(c.id, 1)
	req := c.Caller.NewRequest(sip.INVITE, c.Dial)
	phone.NameCall(req, c.id)
	req.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	req.SetBody(fmt.Appendf(nil, body, c.Caller.Addr().Addr()))
	c.sent = time.Now()

	type answer struct {
		client *phone.Client
		res    *sip.Response
	}
	first := make(chan answer, 1)
	failed := make(chan error, 1)
	ctx, stop := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer stop()
	asking.Go(func() {
		client, res, err := c.Caller.RequestVia(ctx, req, c.Via)
		if err != nil {
			failed <- err
			return
		}
		first <- answer{client, res}
	})
	got := answer{}
	server, err := await(ctx, c.w, c.callee(), "INVITE", func(ctx context.Context) (*phone.Server, error) {
		for {
			select {
			case a := <-arrived:
				return a.Server, nil
			case got = <-first:
				if got.res.StatusCode >= 200 { // refused: the callee will not hear of it
					return nil, expect(got.res, c.caller(), "180", c.sent, 180)
				}
			case err := <-failed:
				return nil, err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	})
	if err != nil {
		return err
	}
	arrived <- phone.Arrival{At: c.Callee, Server: server} // the place stays taken: the next INVITE of this call is one too many
	c.server = server
	c.Callee.Ring(server)
	if got.client == nil {
		if c.w.Lossy {
			defer c.ringOn(ctx)()
		}
		if got, err = await(ctx, c.w, c.caller(), "180", func(ctx context.Context) (answer, error) {
			select {
			case a := <-first:
				return a, nil
			case err := <-failed:
				return answer{}, err
			case <-ctx.Done():
				return answer{}, ctx.Err()
			}
		}); err != nil {
			return err
		}
	}
	c.client = got.client
	return expect(got.res, c.caller(), "180", c.sent, 180)
}

// ringEvery is how often a phone repeats its 180 where messages get lost at random.
const ringEvery = time.Second

// ringOn repeats the 180 until the returned function is called.
func (c *call) ringOn(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var ringing sync.WaitGroup
	ringing.Go(func() {
		for pause(ctx, ringEvery) == nil {
			c.Callee.Ring(c.server)
		}
	})
	return func() {
		cancel()
		ringing.Wait()
	}
}

// answer sends 200 and awaits it at the caller, and the caller's ACK at the callee.
func (c *call) answer(ctx context.Context) error {
	var err error
	since := time.Now()
	if c.b, err = c.Callee.Answer(c.server); err != nil {
		return err
	}
	res, err := await(ctx, c.w, c.caller(), "200 to INVITE", c.client.Final)
	if err != nil {
		return err
	}
	if err := expect(res, c.caller(), "200 to INVITE", since, 200); err != nil {
		return err
	}
	if c.a, err = c.Caller.Confirm(c.client, res); err != nil {
		return err
	}
	err = done(ctx, c.w, c.callee(), "ACK", c.server.Acked())
	c.broken, c.set = c.brokeSoFar(), err == nil
	return err
}

func (c *call) brokeSoFar() bool {
	return !c.sent.IsZero() && (c.Caller.BrokeSince(c.sent) || c.Callee.BrokeSince(c.sent))
}

// brokenSetup tells, at the call's end, whether a connection of one of its phones broke while it was being set up.
func (c *call) brokenSetup() bool {
	if c.set {
		return c.broken
	}
	return c.brokeSoFar()
}

// inside sends a request in the dialog, awaits it at the other side and its 200 at this one, and for a re-INVITE the ACK.
func (c *call) inside(ctx context.Context, step Step) error {
	from, to, sender, receiver := c.a, c.b, c.caller(), c.callee()
	other := c.Callee
	if step.Callee {
		from, to, sender, receiver, other = c.b, c.a, receiver, sender, c.Caller
	}
	name := string(step.Method)
	if step.Method == sip.INVITE {
		name = "re-INVITE"
	}
	sent := time.Now()
	client, err := from.Send(step.Method)
	if err != nil {
		return err
	}
	server, err := c.arrives(ctx, to, client, name, sender, receiver)
	if err != nil {
		return err
	}
	if server.Request.Method != step.Method {
		return &Missing{Awaited: name, By: receiver, Since: sent, Got: string(server.Request.Method)}
	}
	contact := other.Contact()
	server.Respond(200, "OK", &contact)
	what := "200 to " + name
	res, err := await(ctx, c.w, sender, what, client.Final)
	if err != nil {
		return err
	}
	if err := expect(res, sender, what, sent, 200); err != nil {
		return err
	}
	if step.Method != sip.INVITE {
		return nil
	}
	if err := from.Ack(client); err != nil {
		return err
	}
	return done(ctx, c.w, receiver, "ACK to "+name, server.Acked())
}

// arrives awaits a request at the other side; a refusal that the sender gets instead is the better reason.
func (c *call) arrives(ctx context.Context, to *phone.Dialog, client *phone.Client, name, sender, receiver string) (*phone.Server, error) {
	server, err := await(ctx, c.w, receiver, name, to.Incoming)
	if m, ok := err.(*Missing); ok {
		now, cancel := context.WithCancel(ctx)
		cancel()
		if res, finalErr := client.Final(now); finalErr == nil {
			m.Got = fmt.Sprintf("nothing, while %s got %d %s", sender, res.StatusCode, res.Reason)
		}
	}
	return server, err
}

// close forgets both dialogs.
func (c *call) close() {
	c.w.Arrivals.Shut(c.id)
	for _, d := range []*phone.Dialog{c.a, c.b} {
		if d != nil {
			d.Close()
		}
	}
}
