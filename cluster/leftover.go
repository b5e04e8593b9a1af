package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"holdline/fsm"
)

// removeCutOff removes snapshots that a crash has cut off while they were written or received: each may be as large as the whole state, and
// raft leaves them where they are. No raft may be running.
func (e *engine) removeCutOff() {
	// The name is raft's own: if it changes nothing is removed, and all else works.
	found, err := filepath.Glob(filepath.Join(e.node.dir.file(dirSnapshots), "*.tmp"))
	for _, path := range found {
		err = errors.Join(err, os.RemoveAll(path))
	}
	if err != nil {
		e.logger.Warn("snapshots that were cut off take up room: remove them", "err", err)
	}
}

// dropReplaced empties a log that ends before the snapshot raft will begin with: raft would write on behind the snapshot, and the log
// takes no entry behind a hole. A crash leaves that, for raft removes the old log last when it puts another state in place, be it restored
// or sent by the leader.
func (e *engine) dropReplaced(snapshots raft.SnapshotStore) error {
	first, err := e.store.FirstIndex()
	if err != nil {
		return fmt.Errorf("read the begin of the log: %w", err)
	}
	last, err := e.store.LastIndex()
	if err != nil {
		return fmt.Errorf("read the end of the log: %w", err)
	}
	list, err := snapshots.List()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	if last == 0 {
		return nil
	}
	for _, s := range list { // in raft's order: it takes the first that it can read
		if s.Index <= last {
			return nil
		}
		if err := e.readable(snapshots, s.ID); err != nil {
			e.logger.Warn("snapshot not readable", "snapshot", s.ID, "err", err)
			continue
		}
		e.logger.Info("the log is dropped: a snapshot stands for all of it", "last", last, "snapshot", s.Index)
		if err := e.store.DeleteRange(first, last); err != nil {
			return fmt.Errorf("drop the log that a snapshot stands for: %w: start again", err)
		}
		return nil
	}
	return nil
}

// readable reads a snapshot as raft will, into a machine that is thrown away.
func (e *engine) readable(snapshots raft.SnapshotStore, id string) error {
	_, from, err := snapshots.Open(id)
	if err != nil {
		return fmt.Errorf("open snapshot: %w", err)
	}
	machine := fsm.New()
	machine.Know(e.node.opt.Release.level())
	return (&replica{machine: machine}).Restore(from)
}

// leastSnapshot is the oldest entry that a snapshot may stand for to begin with: the log follows on it. Raft panics where it begins with an older one, if newer ones
// cannot be read. Where there is no log only the newest will do: whatever was before it may have been acknowledged.
func leastSnapshot(log raft.LogStore, snapshots raft.SnapshotStore) (uint64, error) {
	first, err := log.FirstIndex()
	if err != nil {
		return 0, fmt.Errorf("read the begin of the log: %w", err)
	}
	list, err := snapshots.List() // newest first
	if err != nil {
		return 0, fmt.Errorf("list snapshots: %w", err)
	}
	var newest uint64
	if len(list) > 0 {
		newest = list[0].Index
	}
	switch {
	case first == 0:
		return newest, nil
	case newest+1 < first:
		return 0, fmt.Errorf("start raft: the log begins at entry %d, and no snapshot that can be read stands for what was before: %s", first, joinAnew)
	}
	return first - 1, nil
}

const joinAnew = "remove this node from the cluster and join it again, or, if it is all that is left, restore a backup into a new cluster"

// notStarted is why raft does not start, with what to do if that is a snapshot.
func (e *engine) notStarted(err error) error {
	err = fmt.Errorf("start raft: %w", err)
	if fault, _ := e.badSnapshots.fault(); fault != "" {
		err = fmt.Errorf("%w: %s, and there is no older one that the log reaches back to: %s", err, fault, joinAnew)
	}
	return err
}
