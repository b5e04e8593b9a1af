package cluster

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// tellers are under way to followers that wait for a commit.
type tellers struct {
	mu sync.Mutex
	at map[uint32]bool // by node; true: something more is committed since
}

// A follower that is told of an entry's commit before it has the entry refuses; it is told again.
const (
	tellTries = 5
	tellAgain = 2 * time.Millisecond
)

// tellCommitted tells a follower what is committed, at once, because it waits for that: the result of its own write, or a read index.
// Raft itself tells it with the next entry, or CommitTimeout after the last one, which is long, as the others are in no hurry. It is
// what raft then sends, an AppendEntries without entries behind the last committed one, which is always of this leader's term (it
// answers for nothing before; see verifiedIndex), sent beside raft's own. Late, repeated or of a former leader, it is refused or changes
// nothing. It must be called from within e.wg, and does not block.
func (e *engine) tellCommitted(node uint32) {
	t := &e.tellers
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, busy := t.at[node]; busy {
		t.at[node] = true
		return
	}
	if t.at == nil {
		t.at = map[uint32]bool{}
	}
	t.at[node] = false
	e.wg.Go(func() {
		for again := true; again; again = t.more(node) {
			e.tellOnce(node)
		}
	})
}

// more reports whether there is more to tell a node; if not, its teller is done.
func (t *tellers) more(node uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at[node] {
		t.at[node] = false
		return true
	}
	delete(t.at, node)
	return false
}

func (e *engine) tellOnce(node uint32) {
	m, ok := e.members.byNumber(node)
	if !ok {
		return
	}
	id, address := raft.ServerID(m.UUID), raft.ServerAddress(m.Listen.String())
	self := e.transport.EncodePeer(raft.ServerID(e.UUID), e.transport.LocalAddr())
	for range tellTries {
		term, index := e.term(), e.raft.CommitIndex()
		if e.raft.State() != raft.Leader || e.ctx.Err() != nil {
			return
		}
		req := raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(e.UUID), Addr: self},
			Term:      term, PrevLogEntry: index, PrevLogTerm: term, LeaderCommitIndex: index,
		}
		var resp raft.AppendEntriesResponse
		if err := e.transport.AppendEntries(id, address, &req, &resp); err != nil {
			e.logger.Debug("telling a node what is committed", "peer", m.Name, "err", err) // raft will
			return
		}
		if resp.Success || resp.Term > term {
			return
		}
		select {
		case <-time.After(tellAgain):
		case <-e.ctx.Done():
		}
	}
}
