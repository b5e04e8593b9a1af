package phone

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Client is a client transaction (RFC 3261 §17.1).
type Client struct {
	Request *sip.Request
	Sent    time.Time

	ep        *Endpoint
	key       string
	raw       []byte
	dst       netip.AddrPort
	responses chan *sip.Response
	lost      chan struct{} // closed when its connection has broken and it is not sent again

	// Guarded by ep.mu.
	timer *time.Timer
	wait  time.Duration // Timer A or E
	final bool
	ack   []byte // what answers a repeated final of an INVITE
	ackTo netip.AddrPort
}

// Send starts a client transaction. The request's top Via must be the endpoint's own; see NewRequest.
func (e *Endpoint) Send(req *sip.Request, dst netip.AddrPort) (*Client, error) {
	via := req.Via()
	if via == nil {
		return nil, fmt.Errorf("send %s: no Via", req.Method)
	}
	c := &Client{
		Request: req, Sent: time.Now(), ep: e, key: clientKey(via.Params.GetOr("branch", ""), req.Method),
		raw: []byte(req.String()), dst: dst, wait: T1, responses: make(chan *sip.Response, 32), lost: make(chan struct{}),
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, fmt.Errorf("send %s: the phone is switched off", req.Method)
	}
	e.clients[c.key] = c
	c.timer = time.AfterFunc(c.wait, c.tick)
	e.write(c.raw, dst)
	return c, nil
}

// tick is Timer A or E, and once the transaction is over its end.
func (c *Client) tick() {
	c.ep.mu.Lock()
	defer c.ep.mu.Unlock()
	switch {
	case c.ep.closed:
	case c.final || time.Since(c.Sent) > linger:
		delete(c.ep.clients, c.key)
	case c.ep.reliable:
		c.timer.Reset(linger - time.Since(c.Sent) + time.Millisecond)
	default:
		c.ep.stats.Retransmitted.Add(1)
		c.ep.write(c.raw, c.dst)
		c.wait *= 2
		if c.Request.Method != sip.INVITE {
			c.wait = min(c.wait, T2)
		}
		c.timer.Reset(c.wait)
	}
}

// ErrBroken is what the sender of a set-up gets whose connection has broken.
var ErrBroken = errors.New("the connection that the call was being set up on has broken")

// setup tells whether this is an INVITE outside a dialog.
func (c *Client) setup() bool {
	to := c.Request.To()
	return c.Request.Method == sip.INVITE && to != nil && !to.Params.Has("tag")
}

// fail ends a transaction whose connection has broken. The caller holds ep.mu.
func (c *Client) fail() {
	c.final = true
	c.timer.Reset(linger)
	close(c.lost)
}

// receive takes a response. The caller holds ep.mu.
func (c *Client) receive(res *sip.Response) {
	invite := c.Request.Method == sip.INVITE
	switch {
	case c.final:
		if invite && res.StatusCode >= 200 && c.ack != nil {
			c.ep.stats.Retransmitted.Add(1)
			c.ep.write(c.ack, c.ackTo)
		}
		return
	case res.StatusCode < 200:
		if invite {
			c.timer.Stop() // the next hop has it (§17.1.1.2)
		} else {
			c.wait = T2
		}
	default:
		c.final = true
		c.timer.Reset(linger)
		if invite && res.StatusCode >= 300 {
			c.ack, c.ackTo = []byte(ackFor(c.Request, res).String()), c.dst
			c.ep.write(c.ack, c.ackTo)
		}
	}
	select {
	case c.responses <- res:
	default: // more provisionals than anyone reads
	}
}

// Next returns the next response, or an error when ctx ends before it comes or the connection has broken (ErrBroken). Provisional responses that were repeated come
// again; finals come once.
func (c *Client) Next(ctx context.Context) (*sip.Response, error) {
	select {
	case res := <-c.responses:
		return res, nil
	default:
	}
	select {
	case res := <-c.responses:
		return res, nil
	case <-c.lost:
		return nil, ErrBroken
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Final returns the final response, passing over provisional ones.
func (c *Client) Final(ctx context.Context) (*sip.Response, error) {
	for {
		res, err := c.Next(ctx)
		if err != nil || res.StatusCode >= 200 {
			return res, err
		}
	}
}

// Cancel starts the CANCEL of an INVITE that has had a provisional response (RFC 3261 §9.1).
func (c *Client) Cancel() (*Client, error) {
	req := derive(c.Request, sip.CANCEL)
	for _, h := range c.Request.GetHeaders("Route") {
		req.AppendHeader(sip.HeaderClone(h))
	}
	copyHeader(req, c.Request, "From", "To", "Call-ID")
	req.AppendHeader(&sip.CSeqHeader{SeqNo: c.Request.CSeq().SeqNo, MethodName: sip.CANCEL})
	req.SetBody(nil)
	return c.ep.Send(req, c.dst)
}

// ackFor is the ACK to a non-2xx final: part of the INVITE's transaction (RFC 3261 §17.1.1.3).
func ackFor(invite *sip.Request, res *sip.Response) *sip.Request {
	req := derive(invite, sip.ACK)
	for _, h := range invite.GetHeaders("Route") {
		req.AppendHeader(sip.HeaderClone(h))
	}
	copyHeader(req, invite, "From")
	if to := res.To(); to != nil {
		req.AppendHeader(sip.HeaderClone(to))
	}
	copyHeader(req, invite, "Call-ID")
	req.AppendHeader(&sip.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: sip.ACK})
	req.SetBody(nil)
	return req
}

// derive starts a request that belongs to another one's transaction: same Request-URI, same top Via.
func derive(from *sip.Request, method sip.RequestMethod) *sip.Request {
	req := sip.NewRequest(method, *from.Recipient.Clone())
	req.AppendHeader(sip.HeaderClone(from.Via()))
	maxForwards := sip.MaxForwardsHeader(70)
	req.AppendHeader(&maxForwards)
	return req
}

func copyHeader(to, from *sip.Request, names ...string) {
	for _, name := range names {
		if h := from.GetHeader(name); h != nil {
			to.AppendHeader(sip.HeaderClone(h))
		}
	}
}
