package faults

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"holdline/deploy/lab/phone"
)

// Call is one play of a script by a caller and whoever its INVITE reaches.
type Call struct {
	Script   Script
	ID       string
	Caller   *phone.Phone
	Dial     string         // user part
	Divert   string         // user part in the callee's 302, "" for one elsewhere
	Via      netip.AddrPort // the caller's VIP
	Patience time.Duration
	Lossy    bool // a 1xx may be lost for good: nobody repeats it

	Arrivals *phone.Arrivals
	Fault    func(context.Context, Step) error // arms the fault, and returns when every call has come to it
	Move     func(context.Context) error       // moves the VIP

	callIDs   []string
	final     int  // what the caller's first INVITE got
	bye       Side // who hung up
	cancelled bool
	steps     []played
	caller    side
	uas       map[Side]*side
	arrived   chan phone.Arrival
}

// played is a step done.
type played struct {
	step      Step
	from, end time.Time
	err       error
}

// side is what one phone knows of the call.
type side struct {
	phone   *phone.Phone
	invite  *phone.Client // an INVITE sent
	server  *phone.Server // the latest request received
	inbound *phone.Server // the INVITE received
	dialog  *phone.Dialog
	answers map[string]chan *sip.Response // to the latest request of each method
	clients map[string]*phone.Client
	ok      *sip.Response // the 2xx to confirm
	failed  chan error
}

func newSide(p *phone.Phone) side {
	return side{phone: p, answers: map[string]chan *sip.Response{}, clients: map[string]*phone.Client{}, failed: make(chan error, 8)}
}

// Play goes through the steps. The error says which of them failed, and why.
func (c *Call) Play(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.caller, c.uas = newSide(c.Caller), map[Side]*side{}
	c.arrived = c.Arrivals.Open(c.ID, 8)
	defer c.Arrivals.Shut(c.ID)
	defer c.close()
	for _, s := range c.Script.Steps {
		p := played{step: s, from: time.Now()}
		p.err = c.step(ctx, s)
		p.end = time.Now()
		c.steps = append(c.steps, p)
		if p.err != nil {
			return fmt.Errorf("%s: %w", s.Line, p.err)
		}
		c.saw(s)
	}
	select {
	case a := <-c.arrived:
		return fmt.Errorf("one INVITE too many reached %s", a.At.User)
	default:
		return nil
	}
}

func (c *Call) close() {
	for _, s := range append([]*side{&c.caller}, c.uas[Callee], c.uas[Spare]) {
		if s != nil && s.dialog != nil {
			s.dialog.Close()
		}
	}
}

func (c *Call) step(ctx context.Context, s Step) error {
	switch {
	case s.Fault:
		return c.Fault(ctx, s)
	case s.Move:
		return c.Move(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, c.Patience)
	defer cancel()
	var err error
	switch who := c.side(s.Side); {
	case s.Send && s.Message.status() > 0:
		err = c.respond(who, s.Message)
	case s.Send:
		err = c.request(ctx, who, s.Message.What)
	case s.Message.status() > 0:
		err = c.awaitResponse(limited, who, s.Message)
	default:
		err = c.awaitRequest(limited, s.Side, s.Message.What)
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("in vain for %v", c.Patience)
	}
	return err
}

func (c *Call) side(s Side) *side {
	if s == Caller {
		return &c.caller
	}
	return c.uas[s]
}

// request sends one.
func (c *Call) request(ctx context.Context, who *side, method string) error {
	if who == nil {
		return errors.New("has no call")
	}
	switch {
	case method == "REGISTER":
		answers := make(chan *sip.Response, 8)
		who.answers[method] = answers
		go func() {
			res, err := who.phone.Register(ctx, time.Hour)
			if err != nil {
				who.failed <- err
				return
			}
			answers <- res
		}()
		return nil
	case method == "INVITE" && who.dialog == nil:
		return c.invite(ctx, who)
	case method == "CANCEL":
		if who.invite == nil {
			return errors.New("its INVITE has had no response")
		}
		client, err := who.invite.Cancel()
		return c.sent(ctx, who, method, client, err)
	case method == "ACK" && who.ok != nil:
		var err error
		res := who.ok
		who.ok = nil
		if who.dialog != nil {
			return who.dialog.Ack(who.clients["INVITE"])
		}
		who.dialog, err = who.phone.Confirm(who.invite, res)
		return err
	case who.dialog == nil:
		return errors.New("has no dialog")
	}
	client, err := who.dialog.Send(sip.RequestMethod(method))
	return c.sent(ctx, who, method, client, err)
}

func (c *Call) sent(ctx context.Context, who *side, method string, client *phone.Client, err error) error {
	if err != nil {
		return err
	}
	answers := make(chan *sip.Response, 32)
	who.answers[method], who.clients[method] = answers, client
	go pump(ctx, client, nil, answers, who.failed)
	return nil
}

// invite starts the call; a challenge on the way is answered by the phone.
func (c *Call) invite(ctx context.Context, who *side) error {
	req := who.phone.NewRequest(sip.INVITE, c.Dial)
	phone.NameCall(req, c.ID)
	req.SetBody([]byte("v=0\r\no=- 1 1 IN IP4 10.77.0.23\r\ns=-\r\nc=IN IP4 10.77.0.23\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n"))
	req.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	c.callIDs = append(c.callIDs, req.CallID().Value())
	answers, first := make(chan *sip.Response, 32), make(chan *phone.Client, 1)
	who.answers["INVITE"] = answers
	go func() {
		client, res, err := who.phone.RequestVia(ctx, req, c.Via)
		if err != nil {
			who.failed <- err
			return
		}
		first <- client
		pump(ctx, client, res, answers, who.failed)
	}()
	c.firstClient(ctx, who, first)
	return nil
}

// firstClient takes the transaction over when its first response has come: before that there is nothing to CANCEL.
func (c *Call) firstClient(ctx context.Context, who *side, first <-chan *phone.Client) {
	relay := who.answers["INVITE"]
	out := make(chan *sip.Response, 32)
	who.answers["INVITE"] = out
	go func() {
		select {
		case client := <-first:
			who.invite = client // read only after a response has been received from out
		case <-ctx.Done():
			return
		}
		for {
			select {
			case res := <-relay:
				out <- res
			case <-ctx.Done():
				return
			}
		}
	}()
}

func pump(ctx context.Context, client *phone.Client, res *sip.Response, to chan<- *sip.Response, failed chan<- error) {
	for {
		if res != nil {
			to <- res
			if res.StatusCode >= 200 {
				return
			}
		}
		var err error
		if res, err = client.Next(ctx); err != nil {
			if ctx.Err() == nil {
				failed <- err
			}
			return
		}
	}
}

// respond answers the latest request that the phone received.
func (c *Call) respond(who *side, m Message) error {
	if who == nil || who.server == nil {
		return errors.New("has no request to answer")
	}
	contact := who.phone.Contact()
	code := m.status()
	initial := who.server == who.inbound && who.dialog == nil
	var err error
	switch {
	case initial && code == 200:
		who.dialog, err = who.phone.Answer(who.server)
	case code == 302:
		contact.Address.Host = "10.77.0.29"
		if c.Divert != "" {
			_, host, _ := strings.Cut(who.phone.AoR(), "@")
			contact.Address = sip.Uri{Scheme: "sip", User: c.Divert, Host: host}
		}
		who.server.Respond(code, "Moved Temporarily", &contact)
	default:
		who.server.Respond(code, reason(code), &contact)
	}
	return err
}

func reason(code int) string {
	switch code {
	case 180:
		return "Ringing"
	case 183:
		return "Session Progress"
	case 200:
		return "OK"
	case 407:
		return "Proxy Authentication Required"
	case 486:
		return "Busy Here"
	case 500:
		return "Server Internal Error"
	case 503:
		return "Service Unavailable"
	default:
		return "Because"
	}
}

func (c *Call) awaitResponse(ctx context.Context, who *side, m Message) error {
	answers := who.answers[m.method()]
	if answers == nil {
		return errors.New("has sent no such request")
	}
	if c.Lossy && m.Provisional() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Second)
		defer cancel()
	}
	for {
		select {
		case res := <-answers:
			switch {
			case res.StatusCode == m.status():
				if m.method() == "INVITE" && res.StatusCode/100 == 2 {
					who.ok = res
				}
				return nil
			case res.StatusCode >= 200:
				return fmt.Errorf("got %d %s", res.StatusCode, res.Reason)
			}
		case err := <-who.failed:
			return err
		case <-ctx.Done():
			if c.Lossy && m.Provisional() {
				return nil
			}
			return ctx.Err()
		}
	}
}

// awaitRequest awaits one at a phone: by arrival, in the dialog, or as part of the INVITE's transaction.
func (c *Call) awaitRequest(ctx context.Context, name Side, method string) error {
	who := c.side(name)
	if who == nil || method == "INVITE" && who.dialog == nil {
		if method != "INVITE" {
			return errors.New("has no call")
		}
		return c.awaitInvite(ctx, name)
	}
	var done <-chan struct{}
	switch {
	case method == "ACK":
		done = who.server.Acked()
	case method == "CANCEL":
		done = who.server.Cancelled()
	case who.dialog == nil:
		return errors.New("has no dialog")
	default:
		s, err := who.dialog.Incoming(ctx)
		if err != nil {
			return c.orRefused(err, name, method)
		}
		if string(s.Request.Method) != method {
			return fmt.Errorf("got %s", s.Request.Method)
		}
		who.server = s
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Call) awaitInvite(ctx context.Context, name Side) error {
	select {
	case a := <-c.arrived:
		s := newSide(a.At)
		s.server, s.inbound = a.Server, a.Server
		c.uas[name] = &s
		return nil
	case res := <-c.caller.answers["INVITE"]:
		return fmt.Errorf("the caller got %d %s instead", res.StatusCode, res.Reason)
	case err := <-c.caller.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// orRefused looks whether the other side was told why.
func (c *Call) orRefused(err error, name Side, method string) error {
	other := &c.caller
	if name == Caller {
		other = c.uas[Callee]
	}
	if other == nil {
		return err
	}
	select {
	case res := <-other.answers[method]:
		return fmt.Errorf("nothing came, the sender got %d %s", res.StatusCode, res.Reason)
	default:
		return err
	}
}

// CallIDs are those of the call's dialogs.
func (c *Call) CallIDs() []string { return c.callIDs }

// Transcript is what was done and awaited, with the milliseconds since the fault.
func (c *Call) Transcript(fault time.Time) string {
	var b strings.Builder
	for _, p := range c.steps {
		fmt.Fprintf(&b, "%+9.1f …%+9.1f ms  %s", ms(p.from.Sub(fault)), ms(p.end.Sub(fault)), p.step.Line)
		if p.err != nil {
			fmt.Fprintf(&b, "  ← %v", p.err)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Phone is who plays a part, nil while nobody does.
func (c *Call) Phone(s Side) *phone.Phone {
	if s == Caller {
		return c.Caller
	}
	if u := c.uas[s]; u != nil {
		return u.phone
	}
	return nil
}
