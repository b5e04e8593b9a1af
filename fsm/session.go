package fsm

import (
	"holdline/fsm/pb"
)

// MaxBatch is how many commands a batch may hold, and MaxUnacked how many results a session may leave unacknowledged.
// A batch beyond either is refused whole, with LIMIT: replicated memory is bounded whatever a client does.
const (
	MaxBatch   = 4096
	MaxUnacked = 2 * MaxBatch
)

// SessionIdleMs is for how long, in FSM time, a session may take no batch before it goes: its node has been away or started anew. Who would
// number a command in a session that may be that old opens another one first.
const SessionIdleMs = 24 * 3600 * 1000

const (
	sessionsPerNode = 4 // a node opens one per start; older ones go
	maxSessions     = 1024
)

// session is a node's numbered stream of commands. Rows are immutable; each takes its predecessor's place, so those of one session may share
// the array of results: a later one writes only behind an earlier one's end.
type session struct {
	id      uint64
	node    string
	nonce   uint64
	next    uint64       // the only sequence number a batch a batch's new part may begin with
	acked   uint64       // results below are forgotten
	results []*pb.Result // of acked … next-1
	last    int64        // FSM time of the last batch
}

func (x *exec) openSession(c *pb.OpenSession) *pb.Result {
	if c.GetNode() == "" {
		return rejected("open session: no node named")
	}
	var own []*session
	for _, s := range x.st.sessionsOf(c.Node) {
		if s.nonce == c.Nonce {
			x.events = append(x.events, SessionOpened{s.id, s.node, s.nonce, s.next})
			return again(s.id)
		}
		own = append(own, s)
	}
	for len(own) >= sessionsPerNode { // oldest first
		x.st.dropSession(own[0])
		own = own[1:]
	}
	if x.st.sessions.len() >= maxSessions {
		return fail(pb.Code_LIMIT, "open session: %d are open already", maxSessions)
	}
	x.st.meta.lastSession++
	s := &session{id: x.st.meta.lastSession, node: c.Node, nonce: c.Nonce, next: 1, acked: 1, last: x.now}
	x.st.sessions.set(s.id, s)
	x.events = append(x.events, SessionOpened{s.id, s.node, s.nonce, s.next})
	return okID(s.id)
}

// batch applies the part of a batch that continues its session and answers the part applied before from the kept results.
func (x *exec) batch(b *pb.Batch) []*pb.Result {
	if b.Session == 0 {
		out := make([]*pb.Result, len(b.Commands))
		for i, c := range b.Commands {
			out[i] = x.run(c)
		}
		return out
	}
	s, known := x.st.sessions.get(b.Session)
	switch {
	case !known:
		return x.refuseBatch(b, fail(pb.Code_NO_SESSION, "session %d is unknown", b.Session))
	case b.FirstSeq == 0 || b.FirstSeq > s.next:
		return x.refuseBatch(b, &pb.Result{Code: pb.Code_GAP, Expected: s.next})
	}
	n := *s
	n.ack(b.Acked)
	skip := min(n.next-b.FirstSeq, uint64(len(b.Commands)))
	fresh := b.Commands[skip:]
	if len(fresh) > MaxBatch || len(n.results)+len(fresh) > MaxUnacked {
		return x.refuseBatch(b, fail(pb.Code_LIMIT, "session %d has %d results to acknowledge", b.Session, len(n.results)))
	}
	out := make([]*pb.Result, 0, len(b.Commands))
	for i := range skip {
		out = append(out, n.kept(b.FirstSeq+i))
	}
	for _, c := range fresh {
		out = append(out, x.run(c))
	}
	n.results = append(n.results, out[skip:]...)
	n.next += uint64(len(fresh))
	n.last = x.now
	x.m.mu.Lock()
	x.st.setSession(&n)
	x.m.mu.Unlock()
	x.events = append(x.events, SessionResults{Session: b.Session, FirstSeq: b.FirstSeq, Results: out})
	return out
}

func (x *exec) refuseBatch(b *pb.Batch, r *pb.Result) []*pb.Result {
	r.TimeMs = x.now
	x.events = append(x.events, SessionResults{Session: b.Session, FirstSeq: b.FirstSeq, Refused: r.Code, Expected: r.Expected})
	out := make([]*pb.Result, len(b.Commands))
	for i := range out {
		out[i] = r
	}
	return out
}

// ack forgets results below seq. The array keeps them until it is full, then only those that are wanted go to the next: copying at each
// batch would cost as much as the commands do. It holds MaxUnacked at most, doubled.
func (s *session) ack(seq uint64) {
	seq = min(seq, s.next)
	if seq <= s.acked {
		return
	}
	s.results = s.results[seq-s.acked:]
	s.acked = seq
	if len(s.results) == 0 {
		s.results = nil
	}
}

// kept returns the result of a command applied before. One that was acknowledged is wanted by nobody.
func (s *session) kept(seq uint64) *pb.Result {
	if seq < s.acked {
		return &pb.Result{Existing: true}
	}
	return s.results[seq-s.acked]
}
