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
	for err != nil && t.wanted(id, target, args.Term) {
		select {
		case <-time.After(reachAgain):
			err = t.NetworkTransport.AppendEntries(id, target, args, resp)
		case <-t.ctx.Done():
			return err
		}
	}
	return err
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
