package phone

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/google/uuid"
	"github.com/icholy/digest"
)

// Phone is a user agent: an endpoint with an identity. A gateway is a Phone without a password.
type Phone struct {
	*Endpoint
	User     string
	Domain   string
	Password string
	Proxy    netip.AddrPort // where requests outside a dialog go: a VIP

	regCallID string
	instance  string // of a phone that keeps connections (RFC 5626 §4.1)
	mu        sync.Mutex
	regCSeq   uint32
}

// NewPhone makes a phone of an endpoint.
func NewPhone(e *Endpoint, user, domain, password string, proxy netip.AddrPort) *Phone {
	p := &Phone{Endpoint: e, User: user, Domain: domain, Password: password, Proxy: proxy, regCallID: sip.GenerateTagN(24)}
	if e.reliable {
		p.instance = `"<urn:uuid:` + uuid.NewString() + `>"`
	}
	return p
}

// AoR is the phone's address of record, without scheme.
func (p *Phone) AoR() string { return p.User + "@" + p.Domain }

// Contact is where the phone is reached directly.
func (p *Phone) Contact() sip.ContactHeader {
	c := sip.ContactHeader{
		Address: sip.Uri{Scheme: "sip", User: p.User, Host: p.addr.Addr().String(), Port: int(p.addr.Port())},
		Params:  sip.NewParams(),
	}
	if p.reliable {
		c.Address.UriParams = sip.NewParams()
		c.Address.UriParams.Add("transport", strings.ToLower(p.transport))
		c.Params.Add("+sip.instance", p.instance)
	}
	return c
}

// via is a new Via of the endpoint: a new transaction.
func (e *Endpoint) via() *sip.ViaHeader {
	v := &sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: e.transport,
		Host: e.addr.Addr().String(), Port: int(e.addr.Port()), Params: sip.NewParams(),
	}
	v.Params.Add("branch", sip.GenerateBranchN(24))
	v.Params.Add("rport", "")
	return v
}

// NewRequest starts a request outside a dialog, from this phone to a user of its domain.
func (p *Phone) NewRequest(method sip.RequestMethod, user string) *sip.Request {
	uri := sip.Uri{Scheme: "sip", User: user, Host: p.Domain}
	return p.newRequest(method, uri, uri, sip.GenerateTagN(24), 1)
}

func (p *Phone) newRequest(method sip.RequestMethod, recipient, to sip.Uri, callID string, cseq uint32) *sip.Request {
	req := sip.NewRequest(method, recipient)
	req.AppendHeader(p.via())
	maxForwards := sip.MaxForwardsHeader(70)
	req.AppendHeader(&maxForwards)
	from := &sip.FromHeader{Address: sip.Uri{Scheme: "sip", User: p.User, Host: p.Domain}, Params: sip.NewParams()}
	from.Params.Add("tag", sip.GenerateTagN(12))
	req.AppendHeader(from)
	req.AppendHeader(&sip.ToHeader{Address: to, Params: sip.NewParams()})
	id := sip.CallIDHeader(callID)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: cseq, MethodName: method})
	contact := p.Contact()
	req.AppendHeader(&contact)
	req.AppendHeader(sip.NewHeader("User-Agent", "holdline-lab"))
	return req
}

// Request sends a request outside a dialog to the phone's VIP and answers one digest challenge (RFC 3261 §22.2). It returns the
// transaction whose response came first that is no challenge, and that response, which may be provisional.
func (p *Phone) Request(ctx context.Context, req *sip.Request) (*Client, *sip.Response, error) {
	return p.RequestVia(ctx, req, p.Proxy)
}

// RequestVia is Request through another VIP than the phone's own.
func (p *Phone) RequestVia(ctx context.Context, req *sip.Request, proxy netip.AddrPort) (*Client, *sip.Response, error) {
	if req.ContentLength() == nil {
		req.SetBody(nil)
	}
	c, err := p.Send(req, proxy)
	if err != nil {
		return nil, nil, err
	}
	res, err := c.Next(ctx)
	for err == nil && res.StatusCode == 100 {
		res, err = c.Next(ctx)
	}
	if err != nil || (res.StatusCode != 401 && res.StatusCode != 407) || p.Password == "" {
		return c, res, err
	}
	again, err := p.authorize(req, res)
	if err != nil {
		return c, res, err
	}
	if c, err = p.Send(again, proxy); err != nil {
		return nil, nil, err
	}
	for {
		res, err := c.Next(ctx)
		if err != nil || res.StatusCode != 100 {
			return c, res, err
		}
	}
}

// authorize repeats a request with credentials: same Call-ID and From, next CSeq, new branch.
func (p *Phone) authorize(req *sip.Request, res *sip.Response) (*sip.Request, error) {
	ask, answer := "WWW-Authenticate", "Authorization"
	if res.StatusCode == 407 {
		ask, answer = "Proxy-Authenticate", "Proxy-Authorization"
	}
	var chal *digest.Challenge
	for _, h := range res.GetHeaders(ask) { // the first we can do: they are in the server's order (RFC 8760 §2.4)
		c, err := digest.ParseChallenge(h.Value())
		if err == nil && digest.CanDigest(c) {
			chal = c
			break
		}
	}
	if chal == nil {
		return nil, fmt.Errorf("%d without a usable %s", res.StatusCode, ask)
	}
	cred, err := digest.Digest(chal, digest.Options{
		Method: string(req.Method), URI: req.Recipient.String(), Username: p.User, Password: p.Password, Count: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("answer the challenge: %w", err)
	}
	again := req.Clone()
	again.RemoveHeader("Via")
	again.PrependHeader(p.via())
	cseq := again.CSeq()
	cseq.SeqNo++
	again.RemoveHeader(answer)
	again.AppendHeader(sip.NewHeader(answer, cred.String()))
	return again, nil
}

// Register binds the phone's contact for some time and returns the final response, nil with an error when none came.
func (p *Phone) Register(ctx context.Context, expires time.Duration) (*sip.Response, error) {
	p.mu.Lock()
	p.regCSeq += 2 // one for the challenge, one for the answer
	cseq := p.regCSeq
	p.mu.Unlock()
	req := p.newRequest(sip.REGISTER, sip.Uri{Scheme: "sip", Host: p.Domain}, sip.Uri{Scheme: "sip", User: p.User, Host: p.Domain}, p.regCallID, cseq)
	req.AppendHeader(sip.NewHeader("Expires", strconv.Itoa(int(expires.Seconds()))))
	c, res, err := p.Request(ctx, req)
	if err == nil && res.StatusCode < 200 {
		res, err = c.Final(ctx)
	}
	return res, err
}

// Confirm makes the caller's dialog from the 2xx to its INVITE and acknowledges it.
func (p *Phone) Confirm(c *Client, res *sip.Response) (*Dialog, error) {
	d, err := p.dialogUAC(c.Request, res)
	if err != nil {
		return nil, err
	}
	return d, d.Ack(c)
}

// Answer accepts an INVITE and returns the callee's dialog.
func (p *Phone) Answer(s *Server) (*Dialog, error) {
	contact := p.Contact()
	d, err := p.dialogUAS(s, contact)
	if err != nil {
		return nil, err
	}
	s.Respond(200, "OK", &contact)
	return d, nil
}

// Ring answers 180.
func (p *Phone) Ring(s *Server) {
	contact := p.Contact()
	s.Respond(180, "Ringing", &contact)
}
