package cluster

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"holdline/fsm"
)

// replica is the state machine as raft drives it.
type replica struct {
	machine *fsm.Machine
	whole   sync.Mutex   // held while an entry is applied or another state put in place
	bytes   atomic.Int64 // of entries applied since the last snapshot
	entries atomic.Int64
	last    atomic.Pointer[time.Time] // when an entry was last applied; nil: none since this process started

	// Used by raft's state machine goroutine alone.
	config *fsm.Config
	asked  string
	ask    func(ask string, state *fsm.Snapshot) // called between two entries when a checksum is asked for; nil: by nobody
}

var _ raft.BatchingFSM = (*replica)(nil)

// Apply implements raft.FSM.
func (r *replica) Apply(log *raft.Log) any {
	r.whole.Lock()
	defer r.whole.Unlock()
	r.machine.Apply(log.Index, log.Data)
	now := time.Now()
	r.last.Store(&now)
	r.bytes.Add(int64(len(log.Data)))
	r.entries.Add(1)
	r.checkAsked()
	return nil
}

// checkAsked looks whether the entry just applied asks for a checksum.
func (r *replica) checkAsked() {
	cfg := r.machine.Config()
	if cfg == r.config {
		return
	}
	r.config = cfg
	if ask := cfg.Setting(settingChecksum, ""); ask != r.asked {
		r.asked = ask
		if r.ask != nil && ask != "" {
			r.ask(ask, r.machine.Snapshot())
		}
	}
}

// ApplyBatch implements raft.BatchingFSM.
func (r *replica) ApplyBatch(logs []*raft.Log) []any {
	for _, log := range logs {
		if log.Type == raft.LogCommand {
			r.Apply(log)
		}
	}
	return make([]any, len(logs))
}

// Snapshot implements raft.FSM. It is O(1): the tables are copied on write.
func (r *replica) Snapshot() (raft.FSMSnapshot, error) {
	r.bytes.Store(0)
	r.entries.Store(0)
	return snapshot{r.machine.Snapshot()}, nil
}

// present is the state between two entries, for any goroutine. It is O(1), as Snapshot is, but the log is not cut behind it: nothing is counted anew.
func (r *replica) present() *fsm.Snapshot {
	r.whole.Lock()
	defer r.whole.Unlock()
	return r.machine.Snapshot()
}

// Restore implements raft.FSM.
func (r *replica) Restore(from io.ReadCloser) error {
	r.whole.Lock()
	defer r.whole.Unlock()
	err := r.machine.Restore(from)
	if e := from.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	r.config = r.machine.Config()
	r.asked = r.config.Setting(settingChecksum, "")
	return nil
}

type snapshot struct{ *fsm.Snapshot }

// Persist implements raft.FSMSnapshot.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := s.WriteTo(sink); err != nil {
		_ = sink.Cancel()
		return fmt.Errorf("write snapshot: %w", err)
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (s snapshot) Release() {}

// Bounds of the log in bytes: it is cut by count in raft, so the count follows the size of entries.
const (
	snapshotBytes = 128 << 20
	trailingBytes = 64 << 20
	trailingLeast = 1_000
	trailingMost  = 100_000
	snapshotLogs  = 200_000
)

// trailing is how many entries to keep behind a snapshot, for entries of the size seen since the one before. A few that are small do not tell, and
// then the log is kept for the next one to cut.
//
// It follows that a snapshot must not come before there is something to cut: taken every minute, say for backups, each would find a few entries that tell
// nothing, and a log of large ones would grow to a hundred thousand of them. So raft's snapshots come after snapshotBytes or snapshotLogs alone, or in the place
// of one that cannot be read. Between two of them sizes may differ: where the latest entries are the small ones less than trailingBytes is kept, where they
// are the large ones no more than what has come since the last snapshot, and what was kept then.
func (r *replica) trailing() uint64 {
	n, bytes := r.entries.Load(), r.bytes.Load()
	if n < trailingLeast && bytes < trailingBytes {
		return trailingMost
	}
	return uint64(min(max(trailingBytes*n/max(bytes, 1), trailingLeast), trailingMost))
}

const boundsInterval = 5 * time.Second
