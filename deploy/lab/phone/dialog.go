package phone

import (
	"context"
	"fmt"
	"sync"

	"github.com/emiago/sipgo/sip"
)

// Dialog is one side of a confirmed dialog (RFC 3261 §12). Its methods may be called from one goroutine at a time.
type Dialog struct {
	ep        *Endpoint
	callID    string
	local     sip.FromHeader // with our tag
	remote    sip.ToHeader   // with theirs
	contact   sip.ContactHeader
	target    sip.Uri
	routes    []sip.Uri
	incoming  chan *Server
	closeOnce sync.Once

	mu   sync.Mutex
	cseq uint32
}

// newDialog registers a dialog so that its requests find it.
func (e *Endpoint) newDialog(d *Dialog) (*Dialog, error) {
	d.ep, d.incoming = e, make(chan *Server, 16)
	tag := d.local.Params.GetOr("tag", "")
	if tag == "" || d.remote.Params.GetOr("tag", "") == "" {
		return nil, fmt.Errorf("dialog %s: a tag is missing", d.callID)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dialogs[dialogKey(d.callID, tag)] = d
	return d, nil
}

// dialogUAC is the caller's side, made by the 2xx (RFC 3261 §12.1.2).
func (e *Endpoint) dialogUAC(req *sip.Request, res *sip.Response) (*Dialog, error) {
	if res.Contact() == nil || res.To() == nil || req.Contact() == nil {
		return nil, fmt.Errorf("2xx to %s: no Contact or To", req.CallID().Value())
	}
	d := &Dialog{
		callID: req.CallID().Value(), local: *req.From(), remote: *res.To(), contact: *req.Contact(),
		target: res.Contact().Address, cseq: req.CSeq().SeqNo,
	}
	routes := res.GetHeaders("Record-Route")
	for i := len(routes) - 1; i >= 0; i-- { // the UAC takes them in reverse order
		if rr, ok := routes[i].(*sip.RecordRouteHeader); ok {
			d.routes = append(d.routes, rr.Address)
		}
	}
	return e.newDialog(d)
}

// dialogUAS is the callee's side (RFC 3261 §12.1.1).
func (e *Endpoint) dialogUAS(s *Server, contact sip.ContactHeader) (*Dialog, error) {
	req := s.Request
	if req.Contact() == nil {
		return nil, fmt.Errorf("INVITE %s: no Contact", req.CallID().Value())
	}
	from, to := req.From(), req.To()
	local := sip.FromHeader{DisplayName: to.DisplayName, Address: to.Address, Params: to.Params.Clone()}
	local.Params.Add("tag", s.tag)
	d := &Dialog{
		callID: req.CallID().Value(), local: local, remote: from.AsTo(), contact: contact, target: req.Contact().Address,
	}
	for _, h := range req.GetHeaders("Record-Route") {
		if rr, ok := h.(*sip.RecordRouteHeader); ok {
			d.routes = append(d.routes, rr.Address)
		}
	}
	return e.newDialog(d)
}

// receive takes an in-dialog request. A dialog that nobody reads answers 500 rather than grow.
func (d *Dialog) receive(s *Server) {
	select {
	case d.incoming <- s:
	default:
		s.Respond(500, "Server Internal Error")
	}
}

// Incoming returns the next request that the other side sent in the dialog.
func (d *Dialog) Incoming(ctx context.Context) (*Server, error) {
	select {
	case s := <-d.incoming:
		return s, nil
	default:
	}
	select {
	case s := <-d.incoming:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Contact is where the phone is reached in the dialog.
func (d *Dialog) Contact() sip.ContactHeader { return *d.contact.Clone() }

// Send starts a request in the dialog (RFC 3261 §12.2.1.1).
func (d *Dialog) Send(method sip.RequestMethod, headers ...sip.Header) (*Client, error) {
	d.mu.Lock()
	d.cseq++
	cseq := d.cseq
	d.mu.Unlock()
	req := d.request(method, cseq)
	for _, h := range headers {
		req.AppendHeader(h)
	}
	req.SetBody(nil)
	next := &req.Recipient
	if len(d.routes) > 0 {
		next = &d.routes[0]
	}
	dst, err := addrOf(next)
	if err != nil {
		return nil, err
	}
	return d.ep.Send(req, dst)
}

// Ack acknowledges a 2xx to the INVITE of a client transaction, and again whenever that 2xx comes again (§13.2.2.4).
func (d *Dialog) Ack(c *Client) error {
	req := d.request(sip.ACK, c.Request.CSeq().SeqNo)
	req.SetBody(nil)
	next := &req.Recipient
	if len(d.routes) > 0 {
		next = &d.routes[0]
	}
	dst, err := addrOf(next)
	if err != nil {
		return err
	}
	d.ep.mu.Lock()
	defer d.ep.mu.Unlock()
	c.ack, c.ackTo = []byte(req.String()), dst
	d.ep.write(c.ack, dst)
	return nil
}

func (d *Dialog) request(method sip.RequestMethod, cseq uint32) *sip.Request {
	req := sip.NewRequest(method, *d.target.Clone())
	req.AppendHeader(d.ep.via())
	for _, r := range d.routes {
		req.AppendHeader(&sip.RouteHeader{Address: *r.Clone()})
	}
	maxForwards := sip.MaxForwardsHeader(70)
	req.AppendHeader(&maxForwards)
	local, remote := d.local, d.remote
	req.AppendHeader(&local)
	req.AppendHeader(&remote)
	callID := sip.CallIDHeader(d.callID)
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: cseq, MethodName: method})
	if method != sip.ACK && method != sip.BYE {
		req.AppendHeader(d.contact.Clone())
	}
	return req
}

// Close forgets the dialog: requests that still come get 481.
func (d *Dialog) Close() {
	d.closeOnce.Do(func() {
		d.ep.mu.Lock()
		defer d.ep.mu.Unlock()
		delete(d.ep.dialogs, dialogKey(d.callID, d.local.Params.GetOr("tag", "")))
	})
}
