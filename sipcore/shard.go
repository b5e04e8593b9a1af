package sipcore

import (
	"sync"
	"time"

	"holdline/fsm/pb"
	"holdline/sipcore/proxy"
	"holdline/sipcore/resolve"
	"holdline/sipcore/transport"
)

// shard drives a proxy.Shard: it holds the lock, knows through which sender messages go now, and takes in what
// others post to it.
type shard struct {
	core   *Core
	worker *worker
	proxy  *proxy.Shard

	mu     sync.Mutex        // guards proxy, out and urgent
	out    *transport.Sender // of whoever holds mu
	urgent bool              // out is to be flushed before mu is let go

	inboxMu sync.Mutex // guards inbox and busy; taken within mu, never around it
	inbox   []posted
	spare   []posted
	busy    bool // the holder of mu will look at the inbox again before it lets go
}

// posted is something that happened elsewhere: a command applied, a name looked up.
type posted struct {
	commit  proxy.Commit
	result  *pb.Result
	err     error
	decided bool // it is what proxy.Shard.Decided is told

	lookup   proxy.Lookup
	targets  []resolve.Target
	isLookup bool

	undelivered *proxy.Undelivered
	unreachable *proxy.Unreachable
	rebound     string // AoR of a phone that has come back
}

// lock takes the shard for the owner of out.
func (s *shard) lock(out *transport.Sender) {
	s.mu.Lock()
	s.out = out
	s.inboxMu.Lock()
	s.busy = true
	s.inboxMu.Unlock()
}

// unlock handles what was posted meanwhile and lets the shard go.
func (s *shard) unlock(v *proxy.View, now int64) {
	for {
		s.inboxMu.Lock()
		batch := s.inbox
		if len(batch) == 0 && !s.urgent {
			s.busy = false
			s.inboxMu.Unlock()
			s.mu.Unlock()
			return
		}
		s.inbox, s.spare = s.spare[:0], nil
		s.inboxMu.Unlock()
		for i := range batch {
			p := &batch[i]
			switch {
			case p.undelivered != nil:
				s.proxy.Undeliverable(v, now, *p.undelivered)
			case p.unreachable != nil:
				s.proxy.Unreachable(v, now, p.unreachable)
			case p.rebound != "":
				s.proxy.Rebound(v, now, p.rebound)
			case p.isLookup:
				s.proxy.Resolved(v, now, p.lookup, p.targets)
			case p.decided:
				s.proxy.Decided(v, now, p.commit, p.result, p.err)
			default:
				s.proxy.Committed(v, now, p.commit, p.result, p.err)
			}
		}
		clear(batch)
		s.spare = batch[:0]
		if s.urgent {
			s.urgent = false
			s.out.Flush()
		}
	}
}

// post hands something to the shard from any goroutine. It does not wait for the shard's lock.
func (s *shard) post(p posted) {
	s.inboxMu.Lock()
	s.inbox = append(s.inbox, p)
	wake := !s.busy && len(s.inbox) == 1
	s.inboxMu.Unlock()
	if wake {
		s.worker.wake(s)
	}
}

// Send implements proxy.Env: the owner of the flow's group writes.
func (s *shard) Send(to transport.Flow, data []byte) {
	if _, _, ok := s.core.opt.Owners.Lease(to.Group); ok {
		s.out.Send(to, data)
		return
	}
	// What was sent before must be on the wire before: a callee answers an INVITE over the link sooner than a batch ends, and
	// its 200 would overtake the 100 to the caller.
	s.out.Flush()
	s.core.sendToOwner(to.Group, frameOutbound, to, data)
}

// Urgent implements proxy.Env.
func (s *shard) Urgent() { s.urgent = true }

// Submit implements proxy.Env.
func (s *shard) Submit(cmd *pb.Command, c proxy.Commit) {
	done := func(r *pb.Result, err error) { s.post(posted{commit: c, result: r, err: err}) }
	if !c.MakesRecord() {
		s.core.opt.Log.Submit(cmd, c.Patience(), done)
		return
	}
	s.core.opt.Log.SubmitUntilDecided(cmd, c.Patience(), done, func(r *pb.Result, err error) {
		s.post(posted{commit: c, result: r, err: err, decided: true})
	})
}

// Slept implements proxy.Env.
func (s *shard) Slept() int64 { return s.core.slept.so() }

// Lookup implements proxy.Env.
func (s *shard) Lookup(q resolve.Query, r proxy.Lookup) {
	s.core.resolver.Resolve(s.core.ctx, q, func(t []resolve.Target, err error) {
		if err != nil {
			s.core.log.Debug("cannot resolve a next hop", "err", err)
		}
		s.post(posted{lookup: r, targets: t, isLookup: true})
	})
}

// Known implements proxy.Env.
func (s *shard) Known(q resolve.Query) ([]resolve.Target, bool) { return s.core.resolver.Known(q) }

// Lease implements proxy.Env.
func (s *shard) Lease(group uint32) (uint64, bool) {
	epoch, _, ok := s.core.opt.Owners.Lease(group)
	return epoch, ok
}

// KeptAlive implements proxy.Env. The phone answers for itself with a little delay (RFC 5626 §4.4.1: it waits 10 s for the answer to
// a ping), hence the slack.
func (s *shard) KeptAlive(flow transport.Flow, alive time.Duration) {
	const slack = 15 * time.Second
	s.core.streams.KeepAlive(flow.Conn, alive+slack)
}

// AcquiredAt implements proxy.Env.
func (s *shard) AcquiredAt(group uint32) int64 {
	a, _ := s.core.acquisition(group)
	return a.at
}

// TakenUp implements proxy.Env.
func (s *shard) TakenUp(group uint32) bool { return s.core.takenUp(group) }

// Settled implements proxy.Env.
func (s *shard) Settled(group uint32) bool { return s.core.settled(group) }
