package submit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore"
)

// Errors that Submit reports through done. After either the command may still commit, later: it was possibly on its way.
var (
	ErrNoLeader    = sipcore.ErrNoLeader
	ErrSessionLost = fmt.Errorf("%w: the node's session had expired; look before repeating it", sipcore.ErrUnknown)
)

// Errors with which a command is certain not to commit.
var (
	ErrOverload = errors.New("too many writes are waiting: try again in a moment")
	ErrClosed   = errors.New("this node is stopping")
	ErrTooLarge = errors.New("the write is too large for the replicated log")
)

// Bounds of group commit and of what may wait.
const (
	window        = 5 * time.Millisecond // how long commands gather for a leader elsewhere while others are in flight
	batchBytes    = 64 << 10
	batchCommands = 1024 // below fsm.MaxBatch
	inFlightBytes = 1 << 20
	inFlightMost  = 4096 // commands; below fsm.MaxUnacked
	maxCommand    = 1 << 20
	maxWaiting    = 64 << 10
	maxQueueBytes = 64 << 20
	resendFirst   = 250 * time.Millisecond
	resendMost    = 2 * time.Second
	gapSpacing    = 10 * time.Millisecond
	renewAfter    = fsm.SessionIdleMs / 3 * time.Millisecond // a session whose latest batch may be this old gets no more numbers
)

// Options are what a Submitter works with.
type Options struct {
	Node string // UUID
	// Send hands an encoded pb.Batch to the leader, whoever that is; false: there is none now. It must not block and may
	// keep the bytes.
	Send func(batch []byte) bool
	// Local is the Gatherer when the leader is on this node: commands wait here until it makes an entry and calls Take. Nil: it never is.
	Local  func() *Gatherer
	Logger *slog.Logger
	// Gate says why a command may not enter the log yet, nil: it may. Nil stands for none.
	Gate func(*pb.Command) error
}

// Submitter numbers this node's commands, sends them to the leader and reports their results. It is safe for concurrent use.
type Submitter struct {
	opt     Options
	nonce   uint64
	sending sync.Mutex // held from taking a batch until it is on its way, so that they go in order; taken before telling and mu
	telling sync.Mutex // held from taking items off the queue, or disarming them, until whoever waits for them is told, so that each is told in order; taken before mu
	wake    chan struct{}
	done    chan struct{}
	wg      sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	session uint64 // 0: not open yet
	opened  time.Time
	alive   time.Time // the log has opened the session, or taken its latest batch, no earlier than this; zero: it was not asked to yet
	// queue: first those that have a sequence number (base, base+1, …), of which the first sent are on their way, then
	// those never sent.
	queue    []*item
	base     uint64
	numbered int
	sent     int
	bytes    int // of the queue
	flying   int // bytes of queue[:sent]
	progress time.Time
	patience time.Duration // no result for so long: send again
	rewound  time.Time
	expire   time.Time // earliest deadline in the queue; zero: none
	wakes    time.Time // when the loop wakes by itself
}

type item struct {
	raw      []byte
	done     func(*pb.Result, error)
	since    time.Time
	deadline time.Time
	// decided is told what became of it when done has gone with ErrUndecided; nil: nobody asks.
	decided func(*pb.Result, error)
}

// disarm gives up waiting for a command that has its number: it stays, to fill its place in the session. It returns whom to tell, and what.
func (it *item) disarm() overdue {
	o := overdue{it.done, ErrNoLeader}
	if it.decided != nil {
		o.err = sipcore.ErrUndecided
	}
	it.done = nil
	return o
}

// end tells whoever still waits for the item.
func (it *item) end(r *pb.Result, err error) {
	switch {
	case it.done != nil:
		it.done(r, err)
	case it.decided != nil:
		it.decided(r, err)
	}
}

// overdue is whose patience is over.
type overdue struct {
	done func(*pb.Result, error)
	err  error
}

// New makes a Submitter and starts its loop. nonce must differ between two starts of the process.
func New(o Options, nonce uint64) *Submitter {
	s := &Submitter{opt: o, nonce: nonce, wake: make(chan struct{}, 1), done: make(chan struct{}), patience: resendFirst}
	s.wg.Go(s.loop)
	return s
}

// Submit commits cmd. done is called once: from the apply goroutine with the result, or with ErrNoLeader when patience is over
// (then the command may still commit later), or with ErrOverload or ErrClosed. It must not block. Submit never blocks.
func (s *Submitter) Submit(cmd *pb.Command, patience time.Duration, done func(*pb.Result, error)) {
	s.SubmitUntilDecided(cmd, patience, done, nil)
}

// SubmitUntilDecided implements sipcore.Log: when patience is over and cmd may still commit, done gets sipcore.ErrUndecided, and decided is called once as soon as
// it has or is certain not to, unless the Submitter is closed before. It must not block either.
func (s *Submitter) SubmitUntilDecided(cmd *pb.Command, patience time.Duration, done, decided func(*pb.Result, error)) {
	if s.opt.Gate != nil {
		if err := s.opt.Gate(cmd); err != nil {
			done(nil, err)
			return
		}
	}
	raw, err := proto.Marshal(cmd)
	if err != nil {
		done(nil, fmt.Errorf("encode command: %w", err))
		return
	}
	if len(raw) > maxCommand {
		done(nil, ErrTooLarge)
		return
	}
	now := time.Now()
	it := &item{raw: raw, done: done, since: now, deadline: now.Add(patience), decided: decided}
	local := s.local()
	s.mu.Lock()
	by := time.Time{} // when something is to be done about it
	switch {
	case s.closed:
		err = ErrClosed
	case len(s.queue) >= maxWaiting || s.bytes+len(raw) > maxQueueBytes:
		err = ErrOverload
	default:
		s.queue = append(s.queue, it)
		s.bytes += len(raw)
		if s.expire.IsZero() || it.deadline.Before(s.expire) {
			s.expire = it.deadline
		}
		if by = it.deadline; local == nil {
			by = s.due()
		}
	}
	late := s.wakes.After(by)
	s.mu.Unlock()
	switch {
	case err != nil:
		done(nil, err)
	case local != nil:
		if !local.Announce(len(raw)) || late {
			s.kick()
		}
	case late:
		s.kick()
	}
}

// local is the Gatherer of this node if it leads, or nil.
func (s *Submitter) local() *Gatherer {
	if s.opt.Local == nil {
		return nil
	}
	return s.opt.Local()
}

// Take sends what waits: the Gatherer on this node makes an entry.
func (s *Submitter) Take() {
	s.sending.Lock()
	_, late := s.send(time.Now())
	s.sending.Unlock()
	if late {
		s.kick()
	}
}

// SubmitWait commits cmd and waits for its result. Without a deadline in ctx it waits five seconds.
func (s *Submitter) SubmitWait(ctx context.Context, cmd *pb.Command) (*pb.Result, error) {
	patience := 5 * time.Second
	if d, ok := ctx.Deadline(); ok {
		patience = time.Until(d)
	}
	type answer struct {
		result *pb.Result
		err    error
	}
	c := make(chan answer, 1)
	s.Submit(cmd, patience, func(r *pb.Result, err error) { c <- answer{r, err} })
	select {
	case a := <-c:
		return a.result, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// due is when the loop must look at the queue's end, if it does not anyway. s.mu is held.
func (s *Submitter) due() time.Time {
	unsent := s.queue[s.sent:]
	if s.sent == 0 || s.session == 0 || len(unsent) == 0 || len(unsent) >= batchCommands || s.bytes-s.flying >= batchBytes {
		return time.Time{}
	}
	return unsent[0].since.Add(window)
}

// Resend says that what is on its way may be lost: another leader, a broken connection, a batch refused, a snapshot restored (the
// results kept in the session answer it then).
func (s *Submitter) Resend() {
	s.mu.Lock()
	s.rewind(time.Now())
	s.mu.Unlock()
	s.kick()
}

// Waiting is how many commands have no result yet.
func (s *Submitter) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

// Flush waits until every command submitted before has a result, or has been told that it gets none.
func (s *Submitter) Flush(ctx context.Context) error {
	s.mu.Lock()
	before := make(map[*item]bool, len(s.queue))
	for _, it := range s.queue {
		before[it] = true
	}
	s.mu.Unlock()
	waiting := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.ContainsFunc(s.queue, func(it *item) bool { return before[it] && it.done != nil })
	}
	for waiting() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for commits: %w", ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}

// Close stops the loop and fails what waits with ErrClosed.
func (s *Submitter) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	left := s.queue
	s.queue, s.numbered, s.sent, s.bytes, s.flying = nil, 0, 0, 0, 0
	s.mu.Unlock()
	close(s.done)
	s.wg.Wait()
	for _, it := range left {
		if it.done != nil {
			it.done(nil, ErrClosed)
		}
	}
}

func (s *Submitter) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// rewind makes all that is on its way unsent. s.mu is held.
func (s *Submitter) rewind(now time.Time) {
	s.sent, s.flying = 0, 0
	s.opened = time.Time{}
	s.rewound = now
}

// Opened takes the session that the log has given this process (fsm.SessionOpened).
func (s *Submitter) Opened(e fsm.SessionOpened) {
	if e.Node != s.opt.Node || e.Nonce != s.nonce {
		return
	}
	s.mu.Lock()
	if s.session == 0 {
		s.session, s.base = e.Session, e.NextSeq
		s.progress, s.patience = time.Now(), resendFirst
	}
	s.mu.Unlock()
	s.kick()
}

// Applied takes results of this node's session from the log (fsm.SessionResults); others are ignored.
func (s *Submitter) Applied(e fsm.SessionResults) {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.mu.Lock()
	if e.Session != s.session || s.session == 0 {
		s.mu.Unlock()
		return
	}
	var finished []*item
	var results []*pb.Result
	var lost []*item
	switch e.Refused {
	case pb.Code_OK:
		for i, r := range e.Results {
			if e.FirstSeq+uint64(i) == s.base && s.numbered > 0 {
				finished, results = append(finished, s.pop()), append(results, r)
			}
		}
	case pb.Code_NO_SESSION:
		lost = s.forget()
	default: // GAP, LIMIT: something before it was lost, or must be let go first
		if now := time.Now(); now.Sub(s.rewound) >= gapSpacing {
			s.rewind(now)
		}
	}
	if len(finished) > 0 {
		s.progress, s.patience = time.Now(), resendFirst
	}
	more := len(s.queue) > s.sent || e.Refused != pb.Code_OK
	s.mu.Unlock()
	for i, it := range finished {
		it.end(results[i], nil)
	}
	for _, it := range lost {
		it.end(nil, ErrSessionLost)
	}
	if more {
		s.kick()
	}
}

// pop takes the first numbered item off the queue. s.mu is held.
func (s *Submitter) pop() *item {
	it := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	s.alive = it.since // not now: this node may have applied it long after the leader stamped it
	s.base++
	s.numbered--
	s.bytes -= len(it.raw)
	if s.sent > 0 {
		s.sent--
		s.flying -= len(it.raw)
	}
	return it
}

// forget drops the session: numbered items have an unknown outcome and are returned, the others go into the next session.
func (s *Submitter) forget() []*item {
	lost := s.queue[:s.numbered:s.numbered]
	s.queue = append([]*item(nil), s.queue[s.numbered:]...)
	for _, it := range lost {
		s.bytes -= len(it.raw)
	}
	s.numbered, s.sent, s.flying = 0, 0, 0
	s.leave()
	s.opt.Logger.Warn("session of this node had expired; opening another", "unknown_outcomes", len(lost))
	return lost
}

// leave gives the session up, in which nothing is numbered any more: the next one is another. s.mu is held.
func (s *Submitter) leave() {
	s.session, s.opened, s.alive = 0, time.Time{}, time.Time{}
	s.nonce++
}
