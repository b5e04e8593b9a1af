// Package fsm is Holdline's replicated state machine: the tables every node holds and the commands that change them.
// It is pure: no sockets, clocks or goroutines. See DESIGN.md.
package fsm

import (
	"fmt"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// Machine is one replica. Apply, Restore and Snapshot must be called by one goroutine at a time, as raft does;
// reads are safe from any goroutine, at any time, from watchers too.
type Machine struct {
	mu sync.RWMutex // guards state; held for one command at a time
	st *state

	config   atomic.Pointer[Config]
	now      atomic.Int64
	lived    atomic.Int64
	wall     atomic.Int64
	applied  atomic.Uint64
	watchers atomic.Pointer[[]func(Event)]
	known    uint32 // the highest feature level that this release knows; 0: not asked

	entry    pb.Entry  // scratch of Apply
	bindings []Binding // scratch of register
}

// FailStop is what Apply panics with: the entry is committed, so every replica must apply it, and this binary can't.
// Nothing a client sends reaches it: entries are made by the leader, from commands that CheckCommand has passed.
type FailStop struct {
	Index  uint64
	Reason string
}

func (f FailStop) Error() string {
	return fmt.Sprintf("apply log entry %d: %s: this node stops rather than differ from the others; install the release they run", f.Index, f.Reason)
}

// New returns an empty replica.
func New() *Machine {
	m := &Machine{st: newState()}
	m.watchers.Store(&[]func(Event){})
	m.config.Store(m.st.view())
	return m
}

// Watch adds a function that is called inside Apply and Restore, after the change, in log order. It must be quick, may read
// the machine and must not call Apply, Restore or Watch.
func (m *Machine) Watch(fn func(Event)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := *m.watchers.Load()
	all := append(old[:len(old):len(old)], fn)
	m.watchers.Store(&all)
}

// Know says up to which feature level this release's rules go. A cluster that has gone further is not followed: Apply panics with
// FailStop, Restore fails. Call it before both.
func (m *Machine) Know(level uint32) { m.known = level }

// Config returns the immutable view of what operators configure. A change makes a new one.
func (m *Machine) Config() *Config { return m.config.Load() }

// Now is FSM time in ms: that of the last entry applied.
func (m *Machine) Now() int64 { return m.now.Load() }

// Lived is FSM time in ms with the outages that it leaves out: what phones and callers live through. It says how old a command is, wherever
// that waited: for a leader, for its node to be reached again, or on a machine that slept. Like FSM time it is that of the last entry
// applied, and never goes back.
func (m *Machine) Lived() int64 { return m.lived.Load() }

// Wall is the wall clock in ms of the leader that made the last entry, when it made it; 0: not known.
func (m *Machine) Wall() int64 { return m.wall.Load() }

// Applied is the raft index of the last entry applied or restored. Whoever has seen it reads what that entry changed: a read index waits
// for it.
func (m *Machine) Applied() uint64 { return m.applied.Load() }

// Apply applies one committed entry and returns the result of each command in order, batches after one another. A
// batch that is refused as a whole gives its refusal once per command. Results are read-only: the session keeps them.
// It panics with FailStop on an entry that this binary doesn't understand.
func (m *Machine) Apply(index uint64, entry []byte) []*pb.Result {
	e := &m.entry
	proto.Reset(e)
	if err := proto.Unmarshal(entry, e); err != nil {
		panic(FailStop{index, fmt.Sprintf("malformed entry: %v", err)})
	}
	for _, b := range e.Batches {
		for _, c := range b.Commands {
			if unknown(c) {
				panic(FailStop{index, "a command of a later release"})
			}
		}
	}
	x := &exec{m: m, st: m.st, index: index, now: max(m.now.Load(), e.TimeMs), wall: e.WallMs}
	x.ago(0)
	m.now.Store(x.now)
	if e.WallMs != 0 {
		m.wall.Store(e.WallMs)
	}
	if e.OutageMs > 0 {
		x.outage(e.OutageMs)
	}
	m.lived.Store(x.lived())
	var out []*pb.Result
	for _, b := range e.Batches {
		out = append(out, x.batch(b)...)
	}
	x.publish(index)
	return out
}

// CheckCommand says whether a command that came from another node may enter the log. The leader asks before proposing, so that
// a newer or faulty peer can't stop the cluster.
func CheckCommand(c *pb.Command) error {
	if c == nil || unknown(c) {
		return fmt.Errorf("check command: it is unknown to this release")
	}
	return nil
}

// CommandLevel is the feature level from which on a command may enter the log: before, some node may run a release without it. Nothing has
// been released yet, so there is no other level than the first.
func CommandLevel(*pb.Command) uint32 { return 1 }

// unknown reports a command of a later release, or one that holds such a step.
func unknown(c *pb.Command) bool {
	if up, ok := c.Op.(*pb.Command_CatchUpCall); ok {
		for _, s := range up.CatchUpCall.GetSteps() {
			if s.GetStep() == nil {
				return true
			}
		}
	}
	return c.Op == nil
}
