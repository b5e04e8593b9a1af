package cluster

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// outageLeast is from which time without leader on the log is told of it (pb.Entry.outage_ms). What is shorter changes nothing for a call, and every election would have
// the state machine go over all calls.
const outageLeast = 5 * time.Second

// silence is for how long this process has applied nothing. While there is a leader there is an entry each second.
func (r *replica) silence() time.Duration {
	if at := r.last.Load(); at != nil {
		return time.Since(*at)
	}
	return 0
}

// outage is for how many ms there was no leader, as a new one finds when it has applied everything; silence is what its replica's was when it was elected. All that
// was applied may have been on disk when this process started, as after a loss of power: then no other clock than the wall clock has run. If that is wrong, calls that
// rang when the power went are given up too early, or taken up too late; and what a node that ran all the time told of calls, and nobody committed, is told once more, or entered as if it
// had waited for less (Machine.Lived). Nothing else goes by it.
func (e *engine) outage(silence time.Duration) int64 {
	if wall := e.machine.Wall(); e.machine.Applied() <= e.onDisk && wall != 0 {
		silence = time.Duration(time.Now().UnixMilli()-wall) * time.Millisecond
	}
	if silence < outageLeast {
		return 0
	}
	e.logger.Info("there was no leader", "for", silence.Round(time.Millisecond))
	return silence.Milliseconds()
}

// lastOnDisk is the last entry that the log or a snapshot has.
func lastOnDisk(log raft.LogStore, snapshots raft.SnapshotStore) (uint64, error) {
	last, err := log.LastIndex()
	if err != nil {
		return 0, fmt.Errorf("read the end of the log: %w", err)
	}
	list, err := snapshots.List()
	if err != nil {
		return 0, fmt.Errorf("list snapshots: %w", err)
	}
	for _, s := range list {
		last = max(last, s.Index)
	}
	return last, nil
}
