package sipcore

import (
	"sync/atomic"

	"holdline/sipcore/proxy"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// drops counts datagrams that went no further.
type drops struct {
	notOwned atomic.Uint64 // came in on a VIP whose lease this node does not hold, or is giving away
	stale    atomic.Uint64 // came in before the lease began
	garbage  atomic.Uint64 // not SIP, or SIP that cannot be answered
	frames   atomic.Uint64 // frames of other nodes that could not be read
}

// scratch is what handling messages needs and no message keeps.
type scratch struct {
	out   *transport.Sender // for those who do not come with one
	msg   wire.Msg
	in    proxy.Inbound
	reply []byte
}

// handle takes a batch of datagrams from a reader. It runs to completion on the reader's goroutine.
func (c *Core) handle(out *transport.Sender, batch []transport.Packet) {
	sc := c.scratch.Get().(*scratch)
	v, now := c.currentView(), c.now()
	ahead := leaseClockAhead()
	if batch[0].Flow.Conn == 0 {
		c.admission.Queued(batch[0].Queued, len(batch))
	}
	for i := range batch {
		p := &batch[i]
		_, since, ok := c.opt.Owners.Lease(p.Flow.Group)
		switch {
		case !ok:
			c.drops.notOwned.Add(1)
		case p.At+ahead < since:
			c.drops.stale.Add(1)
		case p.STUN:
			sc.reply = transport.AppendSTUN(sc.reply[:0], p.Data, p.Flow.Remote)
			if len(sc.reply) > 0 {
				out.Send(p.Flow, sc.reply)
			}
		case p.Fault != 0:
			c.misframed(out, sc, p)
		default:
			c.datagram(v, now, out, sc, p.Flow, p.Data)
		}
	}
	c.scratch.Put(sc)
}

// leaseClockAhead is by how much the clock of leases, CLOCK_MONOTONIC, is ahead of that of datagrams, CLOCK_MONOTONIC_RAW: the
// former is slewed by time synchronization, and hours of that add up to more than a takeover takes. The order of the
// readings makes it err to the small side: a datagram looks too early rather than too late.
func leaseClockAhead() int64 {
	monotonic := transport.Monotonic()
	return monotonic - transport.MonotonicRaw()
}

// datagram scans a message and takes it to the transaction's owner: a shard here, or another node.
func (c *Core) datagram(v *proxy.View, now int64, out *transport.Sender, sc *scratch, flow transport.Flow, data []byte) {
	m := &sc.msg
	if err := m.Scan(data); err != nil {
		c.unreadable(out, sc, flow, err)
		return
	}
	if v.Ping(m) {
		v.AnswerSource(m, flow)
		c.reply(out, sc, flow, proxy.Pong(m))
		return
	}
	if v.AnswersOptions(m, flow) {
		c.alive.answered.Add(1)
		return
	}
	in := &sc.in
	in.Msg, in.Flow = m, flow
	if flow.Conn != 0 && m.Request {
		c.reuse(v, m, flow)
	}
	if !v.Classify(in) {
		c.stats.StrayResponses.Add(1)
		return
	}
	epoch, _, ok := c.opt.Owners.Lease(in.Home)
	if !ok {
		c.sendToOwner(in.Home, frameInbound, flow, data)
		return
	}
	in.Epoch = epoch
	c.receive(v, now, out, in)
}

// receive has the transaction's shard handle a message of a group of ours, unless it is for the group's next owner.
func (c *Core) receive(v *proxy.View, now int64, out *transport.Sender, in *proxy.Inbound) {
	if v.RecordsLater() && in.Flow.Conn == 0 && now < (*c.acquired.Load())[in.Home].leaves {
		c.drops.notOwned.Add(1)
		return
	}
	s := c.shardOf(in.Msg.Bytes(in.Msg.CallID))
	s.lock(out)
	s.proxy.Receive(v, now, in)
	s.unlock(v, now)
}

// unreadable answers a message that Scan found fault with, where that can be done.
func (c *Core) unreadable(out *transport.Sender, sc *scratch, flow transport.Flow, err error) {
	fault, ok := err.(wire.ScanError)
	if !ok || fault.Status() == 0 || !sc.msg.Answerable() {
		c.drops.garbage.Add(1)
		return
	}
	c.reply(out, sc, flow, &wire.Response{Status: fault.Status(), Reason: fault.Reason()})
}

// answer sends sc.reply to where responses to sc.msg go.
func (c *Core) answer(out *transport.Sender, sc *scratch, flow transport.Flow) {
	if len(sc.reply) == 0 {
		c.drops.garbage.Add(1)
		return
	}
	out.Send(proxy.ReplyFlow(&sc.msg, flow), sc.reply)
}

// admit keeps the judgement up of how much can be served. One worker calls it.
func (c *Core) admit() {
	drops := c.udp.Stats().KernelDrops
	c.admission.Lost(int64(drops - c.kernelDrops))
	c.kernelDrops = drops
	if c.room.collected() {
		c.admission.Taken(c.room.taken(c.Transactions()) / shards)
	}
	c.admission.Step(c.now())
}
