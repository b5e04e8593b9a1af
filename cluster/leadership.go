package cluster

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"holdline/cluster/submit"
)

// leadership is one term of this node as leader: it gathers the writes of all nodes and keeps membership in order.
type leadership struct {
	gatherer *submit.Gatherer
	ready    chan struct{} // closed when everything committed before this term is applied here
	cancel   context.CancelFunc
	wake     chan struct{}
	wg       sync.WaitGroup
}

func (l *leadership) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *leadership) stop() {
	l.cancel()
	l.gatherer.Stop()
	l.wg.Wait()
}

// followLeadership begins and ends terms of leadership.
func (e *engine) followLeadership(leads <-chan bool) {
	for {
		select {
		case on := <-leads:
			if old := e.lead.Swap(nil); old != nil {
				old.stop()
				e.stuck.note(false)
			}
			if on {
				e.lead.Store(e.startLeadership())
			}
		case r := <-e.restores:
			e.restoreBetweenTerms(r)
		case <-e.ctx.Done():
			if old := e.lead.Swap(nil); old != nil {
				old.stop()
			}
			return
		}
	}
}

func (e *engine) startLeadership() *leadership {
	ctx, cancel := context.WithCancel(e.ctx)
	l := &leadership{ready: make(chan struct{}), cancel: cancel, wake: make(chan struct{}, 1)}
	silence := e.replica.silence() // before the barrier has more applied
	table := e.members.known()     // likewise
	l.gatherer = submit.NewGatherer(submit.GathererOptions{
		Apply: func(entry []byte) submit.Future { return watched{e.raft.Apply(entry, transportTimeout), &e.stuck} },
		Own:   e.submitter.Take,
		Committed: func(nodes []uint32) {
			for _, n := range nodes {
				e.tellCommitted(n)
			}
		},
		Now:    e.machine.Now,
		Outage: func() int64 { return e.outage(silence) },
		Logger: e.logger,
	}, l.ready)
	l.wg.Go(func() {
		if err := e.raft.Barrier(commitPatience).Error(); err != nil {
			e.logger.Info("leadership lost before it began", "err", err)
			return
		}
		e.correctMembers(table)
		close(l.ready)
		e.submitter.Resend()
		e.superviseMembership(ctx, l)
	})
	return l
}

// correctMembers puts this node's own table in the place of one that nothing stands for any more. known is its version before the barrier of the term.
func (e *engine) correctMembers(known uint64) {
	cfg := e.machine.Config()
	if e.members.correct(known, cfg.Version, membersOf(cfg.Nodes())) {
		e.logger.Warn("member table of a log that is no more replaced", "version", known, "by", cfg.Version)
		e.port.Recheck()
		e.changed()
	}
}

// watched notices a leadership transfer that never ends: raft then refuses every write until the process is started anew
// (hashicorp/raft #696).
type watched struct {
	submit.Future
	stuck *stuckTransfer
}

// Error implements submit.Future.
func (w watched) Error() error {
	err := w.Future.Error()
	w.stuck.note(errors.Is(err, raft.ErrLeadershipTransferInProgress))
	return err
}

// stuckTransfer is since when writes have been refused because of a leadership transfer; nil: they are not.
type stuckTransfer struct{ since atomic.Pointer[time.Time] }

const transferLimit = 3 * time.Second

func (s *stuckTransfer) note(refused bool) {
	if !refused {
		s.since.Store(nil)
	} else if s.since.Load() == nil {
		now := time.Now()
		s.since.CompareAndSwap(nil, &now)
	}
}

func (s *stuckTransfer) stuck() bool {
	at := s.since.Load()
	return at != nil && time.Since(*at) > transferLimit
}

// ownGatherer is the Gatherer if this node leads, or nil.
func (e *engine) ownGatherer() *submit.Gatherer {
	if l := e.lead.Load(); l != nil {
		return l.gatherer
	}
	return nil
}

// sendBatch hands a batch of this node's submitter to the leader.
func (e *engine) sendBatch(batch []byte) bool {
	if l := e.lead.Load(); l != nil {
		return l.gatherer.Add(batch, 0)
	}
	if !e.running.Load() {
		return false
	}
	leader := e.leader()
	conn := e.link.Load()
	return leader != 0 && conn != nil && leader != e.number.Load() && conn.Forward(leader, batch)
}

var errNotLeader = errors.New("this node does not lead")

// verifier joins read indexes that are asked for at the same time: one round of raft.VerifyLeader answers all that came before
// it began.
type verifier struct {
	mu      sync.Mutex
	running bool
	closed  bool
	idle    chan struct{} // closed when the last round has ended; nil until somebody waits for it
	next    []func(uint64, error)
	count   atomic.Uint64 // rounds, for tests
}

// asking says that a round is under way.
func (v *verifier) asking() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.running
}

// close ends the rounds and waits for the one under way. raft must still run (engine.startRaft).
func (v *verifier) close() {
	v.mu.Lock()
	v.closed = true
	if v.running && v.idle == nil {
		v.idle = make(chan struct{})
	}
	idle := v.idle
	v.mu.Unlock()
	if idle != nil {
		<-idle
	}
}

// readIndexHere calls done with an index that covers every write acknowledged before the call, if this node leads.
func (e *engine) readIndexHere(done func(uint64, error)) {
	v := &e.verify
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		done(0, submit.ErrClosed)
		return
	}
	v.next = append(v.next, done)
	start := !v.running
	v.running = true
	v.mu.Unlock()
	if start {
		e.wg.Go(e.verifyRounds)
	}
}

func (e *engine) verifyRounds() {
	v := &e.verify
	for {
		v.mu.Lock()
		round := v.next
		v.next = nil
		if len(round) == 0 {
			v.running = false
			if v.idle != nil {
				close(v.idle)
			}
			v.mu.Unlock()
			return
		}
		v.mu.Unlock()
		v.count.Add(1)
		index, err := e.verifiedIndex()
		for _, done := range round {
			done(index, err)
		}
	}
}

func (e *engine) verifiedIndex() (uint64, error) {
	l := e.lead.Load()
	if l == nil {
		return 0, errNotLeader
	}
	select {
	case <-l.ready: // a commit index is only known once something of this term is committed
	default:
		return 0, errNotLeader
	}
	index, err := e.lastCommand(e.raft.CommitIndex())
	if err != nil {
		return 0, err
	}
	if err := e.raft.VerifyLeader().Error(); err != nil {
		return 0, err
	}
	return index, nil
}

// lastCommand is the last entry up to index that the state machine sees: others are raft's own.
func (e *engine) lastCommand(index uint64) (uint64, error) {
	applied := e.machine.Applied()
	for ; index > applied; index-- {
		var entry raft.Log
		if err := e.store.GetLog(index, &entry); err != nil {
			return 0, err
		}
		if entry.Type == raft.LogCommand {
			break
		}
	}
	return index, nil
}

// ReadIndex waits until this node has applied every write that was acknowledged anywhere before the call: what is read then is
// linearizable. Without a leader it fails when ctx ends.
func (e *engine) ReadIndex(ctx context.Context) error {
	for {
		index, err := e.readIndexOnce(ctx)
		if err == nil {
			return e.waitApplied(ctx, index)
		}
		select {
		case <-ctx.Done():
			return errors.Join(submit.ErrNoLeader, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (e *engine) readIndexOnce(ctx context.Context) (uint64, error) {
	if e.lead.Load() != nil {
		type answer struct {
			index uint64
			err   error
		}
		c := make(chan answer, 1)
		e.readIndexHere(func(index uint64, err error) { c <- answer{index, err} })
		select {
		case a := <-c:
			return a.index, a.err
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	leader, conn := e.leader(), e.link.Load()
	if leader == 0 || conn == nil {
		return 0, submit.ErrNoLeader
	}
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	return conn.ReadIndex(ctx, leader)
}

func (e *engine) waitApplied(ctx context.Context, index uint64) error {
	for e.machine.Applied() < index {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.ctx.Done():
			return submit.ErrClosed
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}
