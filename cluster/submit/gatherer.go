package submit

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"holdline/fsm"
	"holdline/fsm/pb"
)

const (
	maxApplies     = 16                    // entries in flight
	entryWindow    = 10 * time.Millisecond // between the beginnings of two entries, unless one is full
	gatherMax      = 16 << 20              // bytes of batches that may wait at the leader
	expireInterval = time.Second
	expireRows     = 10_000
)

// Future is an entry on its way; raft.ApplyFuture is one.
type Future interface {
	Error() error
}

// GathererOptions are what a Gatherer works with.
type GathererOptions struct {
	Apply func(entry []byte) Future // raft.Apply
	// Own makes this node's Submitter add what it announced, at the moment an entry is made; nil: nothing is announced.
	Own func()
	// Committed is told from which other nodes there were batches in an entry that is committed; nil: nobody wants to know.
	Committed func(nodes []uint32)
	// Now is FSM time: what the entries applied so far say. Read once, when this node has become leader and applied everything.
	Now func() int64
	// Outage is for how long there was no leader before, in ms, if that is to be told in the log; read when Now is. Nil: it is not.
	Outage func() int64
	Logger *slog.Logger
}

// Gatherer is the leader's side of group commit, for one term of leadership: it joins batches of all nodes into entries,
// stamps them, and makes time pass.
type Gatherer struct {
	opt  GathererOptions
	wake chan struct{}
	done chan struct{}
	wg   sync.WaitGroup

	mu        sync.Mutex
	queue     []queued
	bytes     int
	announced int       // bytes that Own will add
	looks     bool      // nothing waits, and the loop will look by itself
	last      time.Time // when the latest entry began
	inFlight  int
	stopped   bool
}

// queued is a batch, and the number of the node that it came from; 0: this one.
type queued struct {
	batch []byte
	from  uint32
}

// flight is an entry on its way, and who waits for it.
type flight struct {
	Future
	nodes []uint32
}

// NewGatherer starts gathering; entries are applied once ready is closed (the leader has caught up).
func NewGatherer(o GathererOptions, ready <-chan struct{}) *Gatherer {
	g := &Gatherer{opt: o, wake: make(chan struct{}, 1), done: make(chan struct{})}
	g.wg.Go(func() { g.loop(ready) })
	return g
}

// ErrBatch says that a batch is not one.
var ErrBatch = errors.New("malformed batch")

// CheckBatch says whether an encoded pb.Batch of another node may enter the log (fsm.CheckCommand).
func CheckBatch(b []byte) error {
	commands := 0
	for len(b) > 0 {
		number, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrBatch, protowire.ParseError(n))
		}
		m := protowire.ConsumeFieldValue(number, typ, b[n:])
		if m < 0 {
			return fmt.Errorf("%w: %w", ErrBatch, protowire.ParseError(m))
		}
		switch {
		case number >= 1 && number <= 3 && typ == protowire.VarintType:
		case number == 4 && typ == protowire.BytesType:
			raw, _ := protowire.ConsumeBytes(b[n:])
			cmd := new(pb.Command)
			if err := proto.Unmarshal(raw, cmd); err != nil {
				return fmt.Errorf("%w: %w", ErrBatch, err)
			}
			if err := fsm.CheckCommand(cmd); err != nil {
				return fmt.Errorf("%w: %w", ErrBatch, err)
			}
			commands++
		default:
			return fmt.Errorf("%w: field %d", ErrBatch, number)
		}
		b = b[n+m:]
	}
	if commands == 0 {
		return fmt.Errorf("%w: empty", ErrBatch)
	}
	return nil
}

// Add takes an encoded batch of a node, 0 for this one; false: there is no room, or leadership has ended. The bytes belong to the
// Gatherer then.
func (g *Gatherer) Add(batch []byte, from uint32) bool {
	g.mu.Lock()
	if g.stopped || g.bytes+len(batch) > gatherMax {
		g.mu.Unlock()
		return false
	}
	before := g.waiting()
	g.queue = append(g.queue, queued{batch, from})
	g.bytes += len(batch)
	news := g.news(before)
	g.mu.Unlock()
	if news {
		g.kick()
	}
	return true
}

// Announce says that this node's Submitter has more bytes of commands: Own takes them together when their entry is made, so that they are
// one batch there, not one each. False: leadership has ended.
func (g *Gatherer) Announce(bytes int) bool {
	g.mu.Lock()
	if g.stopped {
		g.mu.Unlock()
		return false
	}
	before := g.waiting()
	g.announced += bytes
	news := g.news(before)
	g.mu.Unlock()
	if news {
		g.kick()
	}
	return true
}

// waiting is how many bytes the next entry has, as far as known. g.mu is held.
func (g *Gatherer) waiting() int { return g.bytes + g.announced }

// news reports whether what has come since there were before bytes changes when the next entry is due, unknown to the loop. g.mu is held.
func (g *Gatherer) news(before int) bool {
	return before == 0 && !g.looks || before < batchBytes && g.waiting() >= batchBytes
}

// Stop ends it. What was not applied is dropped: the submitters send it again.
func (g *Gatherer) Stop() {
	g.mu.Lock()
	if g.stopped {
		g.mu.Unlock()
		return
	}
	g.stopped = true
	g.queue, g.bytes, g.announced = nil, 0, 0
	g.mu.Unlock()
	close(g.done)
	g.wg.Wait()
}

func (g *Gatherer) kick() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *Gatherer) loop(ready <-chan struct{}) {
	select {
	case <-ready:
	case <-g.done:
		return
	}
	clock := leaderClock{base: g.opt.Now(), start: time.Now()}
	outage := int64(0)
	if g.opt.Outage != nil {
		outage = g.opt.Outage()
	}
	futures := make(chan flight, maxApplies)
	waiter := sync.WaitGroup{}
	waiter.Go(func() {
		for f := range futures {
			if err := f.Error(); err != nil {
				g.opt.Logger.Debug("entry not committed", "err", err)
			} else if len(f.nodes) > 0 && g.opt.Committed != nil {
				g.opt.Committed(f.nodes)
			}
			g.mu.Lock()
			waits := g.inFlight >= maxApplies
			g.inFlight--
			g.mu.Unlock()
			if waits {
				g.kick()
			}
		}
	})
	defer waiter.Wait()
	defer close(futures)
	tick := time.NewTicker(expireInterval)
	defer tick.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		batches, size, wait := g.take(time.Now())
		if batches != nil {
			futures <- flight{g.opt.Apply(encodeEntry(clock.now(), time.Now().UnixMilli(), outage, batches, size)), others(batches)}
			outage = 0
			continue
		}
		timer.Reset(wait)
		select {
		case <-g.wake:
		case <-timer.C:
		case <-tick.C:
			g.expire(clock.now())
		case <-g.done:
			return
		}
	}
}

// take returns the batches of the next entry, or how long to wait.
func (g *Gatherer) take(now time.Time) ([]queued, int, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	age := now.Sub(g.last)
	if g.looks = g.waiting() == 0 && age < entryWindow; g.looks {
		return nil, 0, entryWindow - age
	}
	if g.waiting() == 0 || g.inFlight >= maxApplies {
		return nil, 0, time.Hour
	}
	// The cost is per entry, not per command: entries begin a window apart, unless one is full. On an idle cluster the
	// latest one is longer ago, and a command goes at once. docs/performance-log.md has the figures.
	if g.waiting() < batchBytes && age < entryWindow {
		return nil, 0, entryWindow - age
	}
	g.takeOwn()
	if g.looks = len(g.queue) == 0; g.looks { // the Submitter had sent by itself what it announced
		return nil, 0, entryWindow
	}
	n, size := 0, 0
	for n < len(g.queue) && (n == 0 || size+len(g.queue[n].batch) <= 4*batchBytes) {
		size += len(g.queue[n].batch)
		n++
	}
	batches := g.queue[:n:n]
	g.queue = append([]queued(nil), g.queue[n:]...)
	g.bytes -= size
	g.last = now
	g.inFlight++
	return batches, size, 0
}

// takeOwn lets this node's Submitter add what it announced. g.mu is held, but for the call.
func (g *Gatherer) takeOwn() {
	if g.announced == 0 {
		return
	}
	g.announced, g.looks = 0, true
	g.mu.Unlock()
	g.opt.Own()
	g.mu.Lock()
}

// others lists the other nodes that batches came from.
func others(batches []queued) []uint32 {
	var nodes []uint32
	for _, q := range batches {
		if q.from != 0 && !slices.Contains(nodes, q.from) {
			nodes = append(nodes, q.from)
		}
	}
	return nodes
}

// expire lets what is due at FSM time now expire, a bounded number of rows at a time.
func (g *Gatherer) expire(now int64) {
	cmd := &pb.Command{Op: &pb.Command_Expire{Expire: &pb.Expire{UpToMs: now, MaxRows: expireRows}}}
	raw, err := proto.Marshal(cmd)
	if err != nil { // cannot be: it has only numbers
		g.opt.Logger.Error("encode Expire", "err", err)
		return
	}
	g.Add(appendBatch(nil, 0, 0, 0, []*item{{raw: raw}}), 0)
}

// encodeEntry writes a pb.Entry around encoded batches.
func encodeEntry(timeMs, wallMs, outageMs int64, batches []queued, size int) []byte {
	b := make([]byte, 0, size+6*len(batches)+35)
	b = protowire.AppendTag(b, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(timeMs))
	b = protowire.AppendTag(b, 2, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(wallMs))
	for _, q := range batches {
		b = protowire.AppendTag(b, 3, protowire.BytesType)
		b = protowire.AppendBytes(b, q.batch)
	}
	if outageMs > 0 {
		b = protowire.AppendTag(b, 4, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(outageMs))
	}
	return b
}

// leaderClock is FSM time: what the log says so far, and what has passed on this leader's own monotonic clock since. Time in
// which there was no leader does not pass: an outage expires nothing.
type leaderClock struct {
	base  int64
	start time.Time
}

func (c leaderClock) now() int64 { return c.base + time.Since(c.start).Milliseconds() }
