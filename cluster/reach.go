package cluster

import (
	"time"

	"github.com/hashicorp/raft"
)

const (
	// reachAgain is how long a leader waits before it sends entries again that a follower has not taken.
	reachAgain = 100 * time.Millisecond
	// unreachedAfter is for how long that has to go on before it is told: a node that has just died is silent before.
	unreachedAfter = 2 * silentPeer
)

// AppendEntries implements raft.Transport. After each request that fails raft waits, twice as long each time, ten seconds in the end, and does not notice
// meanwhile that the follower is back: it would be heard and counted, and have no entry until then. So entries are sent again here, until they get
// through or are not raft's to send any more. Heartbeats are left to raft: after one of these it waits for less than reachAgain.
func (t pacedTransport) AppendEntries(
	id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	err := t.NetworkTransport.AppendEntries(id, target, args, resp)
	if err == nil || isHeartbeat(args) {
		return err
	}
	told := time.AfterFunc(unreachedAfter, func() { t.unreached.add(id, +1) })
	defer func() {
		if !told.Stop() {
			t.unreached.add(id, -1)
		}
	}()
	for err != nil && t.again(id, target, args.Term) {
		err = t.NetworkTransport.AppendEntries(id, target, args, resp)
	}
	return err
}

// again waits for a moment, and says whether what has not got through to a follower is to be sent once more.
func (t pacedTransport) again(id raft.ServerID, target raft.ServerAddress, term uint64) bool {
	if !t.wanted(id, target, term) {
		return false
	}
	select {
	case <-time.After(reachAgain):
		return true
	case <-t.ctx.Done():
		return false
	}
}

// awaitReach waits until a follower that a snapshot has not got through to answers, by heartbeats, or is not to be sent it any more. The snapshot itself is not sent again: it may
// be old by then.
func (t pacedTransport) awaitReach(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest) {
	beat := &raft.AppendEntriesRequest{RPCHeader: args.RPCHeader, Term: args.Term}
	for t.again(id, target, args.Term) {
		if t.NetworkTransport.AppendEntries(id, target, beat, &raft.AppendEntriesResponse{}) == nil {
			return
		}
	}
}

// isHeartbeat tells raft's heartbeats as raft's transport itself does.
func isHeartbeat(a *raft.AppendEntriesRequest) bool {
	return a.PrevLogEntry == 0 && a.PrevLogTerm == 0 && len(a.Entries) == 0 && a.LeaderCommitIndex == 0
}

// replicatesTo says whether this node, as leader of a term, still sends its log to a server, and nothing waits for the end of that: a transfer of the leadership
// stands still while raft sends.
func (e *engine) replicatesTo(id raft.ServerID, address raft.ServerAddress, term uint64) bool {
	if e.ctx.Err() != nil || e.term() != term || e.raft.State() != raft.Leader || e.handing.Load() > 0 {
		return false
	}
	f := e.raft.GetConfiguration()
	if f.Error() != nil {
		return false
	}
	srv := serverOf(f.Configuration().Servers, string(id))
	return srv != nil && srv.Address == address
}
