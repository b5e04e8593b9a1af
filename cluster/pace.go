package cluster

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/hashicorp/raft"
	"golang.org/x/time/rate"
)

// A snapshot for a node that was away is hundreds of megabytes, and raft sends it as fast as it goes. The link, and on a small machine the
// processors too, are wanted for calls, heartbeats and leases meanwhile: so it takes paceRate bytes a second, a quarter of a gigabit
// link, after paceBurst at once.
const (
	paceRate  = 32 << 20
	paceBurst = 1 << 20
)

// pacedTransport is raft's transport, but entries are sent again soon (AppendEntries), and snapshots are sent at a pace, and not to the end when this node leads no more in the term
// they were begun in. Raft itself goes on sending such a one, beside that of the next term, and its follower reads it all to no purpose.
type pacedTransport struct {
	*raft.NetworkTransport
	ctx   context.Context // of the engine
	term  func() uint64   // raft's
	under *fillings

	wanted    func(raft.ServerID, raft.ServerAddress, uint64) bool // engine.replicatesTo
	unreached *fillings                                            // who has not taken what was sent last
}

// fillings are the nodes that this one, as leader, is sending the state to. Until they have it they can neither vote nor take entries.
type fillings struct {
	mu sync.Mutex
	by map[raft.ServerID]int
}

func (f *fillings) add(id raft.ServerID, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = map[raft.ServerID]int{}
	}
	if f.by[id] += n; f.by[id] == 0 {
		delete(f.by, id)
	}
}

// uuids lists them.
func (f *fillings) uuids() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for id := range f.by {
		out = append(out, string(id))
	}
	return out
}

var errTermOver = errors.New("send snapshot: the term that it was begun in is over")

// InstallSnapshot implements raft.Transport. One that fails is told to have when its follower can be reached: the next one, of the newest state, goes at once then (reach.go).
func (t pacedTransport) InstallSnapshot(
	id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader,
) error {
	valid := func() error {
		if t.term() != args.Term {
			return errTermOver
		}
		return nil
	}
	if err := valid(); err != nil {
		return err
	}
	t.under.add(id, +1)
	defer t.under.add(id, -1)
	err := t.NetworkTransport.InstallSnapshot(id, target, args, resp, newPaced(t.ctx, data, valid))
	if err != nil {
		t.awaitReach(id, target, args)
	}
	return err
}

// paced is read no faster than the pace, until ctx ends or valid fails.
type paced struct {
	io.Reader
	ctx   context.Context
	valid func() error
	limit *rate.Limiter
}

func newPaced(ctx context.Context, r io.Reader, valid func() error) paced {
	return paced{r, ctx, valid, rate.NewLimiter(paceRate, paceBurst)}
}

// Read implements io.Reader.
func (p paced) Read(b []byte) (int, error) {
	if err := p.valid(); err != nil {
		return 0, err
	}
	n, err := p.Reader.Read(b[:min(len(b), paceBurst/4)])
	if e := p.limit.WaitN(p.ctx, n); e != nil {
		return n, e
	}
	return n, err
}
