package cluster

import (
	"fmt"

	"github.com/hashicorp/raft"

	"holdline/cluster/api"
)

// raft applies nothing before it has heard from a leader what is committed. So the state of a node that has just started, and hears none, is that of its last snapshot: older
// than its disk, and empty in a small cluster, which has none.

// wholeState refuses with CodeUnavailable while the state machine lacks what was in the log when this process started. A leader that has taken the end of that log away
// writes an entry each second: it is passed soon.
func (e *engine) wholeState() error {
	if e.machine.Applied() < e.toApply || len(e.machine.Config().Nodes()) == 0 {
		return api.Errorf(api.CodeUnavailable, "this node has not applied yet what its log holds, for which it must hear a raft leader: wait until `holdline status` shows one, or, if the other nodes are lost for good, run `holdline recover`")
	}
	return nil
}

// lastCommand is the last entry of the log that the state machine gets, 0 if it has none: those behind it are raft's own.
func lastCommand(log raft.LogStore) (uint64, error) {
	first, err := log.FirstIndex()
	if err != nil {
		return 0, fmt.Errorf("read the begin of the log: %w", err)
	}
	last, err := log.LastIndex()
	if err != nil {
		return 0, fmt.Errorf("read the end of the log: %w", err)
	}
	for ; last >= first && last > 0; last-- {
		var entry raft.Log
		if err := log.GetLog(last, &entry); err != nil {
			return 0, fmt.Errorf("read entry %d of the log: %w", last, err)
		}
		if entry.Type == raft.LogCommand {
			return last, nil
		}
	}
	return 0, nil
}
