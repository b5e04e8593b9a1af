package proxy

import (
	"time"

	"holdline/fsm/pb"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// register hands a REGISTER to the registrar. Its 200 waits until the bindings are committed.
func (s *Shard) register(in *Inbound, key txn.Key) {
	uri, err := wire.ParseURI(in.Msg.Bytes(in.Msg.URI))
	var domain *pb.Domain
	if err == nil {
		domain = s.view.domain(uri.Host)
	}
	if domain == nil || s.opt.Registrar == nil {
		s.refuse(in, key, &wire.Response{Status: 404, Reason: "Domain Not Served Here"})
		return
	}
	cmd, resp := s.opt.Registrar.Register(in, domain, recordKeyOf(key))
	if cmd == nil {
		s.reply(in, key, resp)
		return
	}
	if s.turnedAway(in, key, &sender{}) {
		return
	}
	c, _ := s.newCell(in, key, kindRegister)
	if c == nil {
		s.overloaded(in, key)
		return
	}
	c.Request = s.opt.Pool.Copy(in.Msg.B)
	s.opt.Admission.wait()
	s.env.Submit(cmd, Commit{Kind: commitRegister, Cell: c.Ref(), at: s.now})
}

// registered answers a REGISTER. The transaction is not kept: a retransmission finds the same result in the
// replicated state, on any node.
func (s *Shard) registered(c *txn.Cell, u *call, r *pb.Result, err error) {
	if s.tmp.Scan(c.Request.B) == nil {
		s.in = Inbound{Msg: &s.tmp, Flow: u.source, Home: c.Home, Epoch: c.Epoch}
		if resp, alive := s.opt.Registrar.Answer(&s.in, r, err); resp != nil {
			s.answerRegister(c, u, resp, alive)
		}
	}
	s.freeCell(c)
}

func (s *Shard) answerRegister(c *txn.Cell, u *call, resp *wire.Response, alive time.Duration) {
	var tag [8]byte
	resp.ToTag = appendTag(tag[:0], u.respTag)
	resp.Source = u.source.Remote
	out, err := wire.AppendResponse(s.out[:0], &s.tmp, resp)
	if err != nil {
		return
	}
	s.refused(&s.tmp, u.source, resp)
	s.out = out
	s.send(c.Caller, out)
	if alive > 0 {
		s.env.KeptAlive(u.source, alive)
	}
}

func recordKeyOf(key txn.Key) []byte { return recordKey(key, 0) }
