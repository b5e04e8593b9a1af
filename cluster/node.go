// Package cluster is a node's place in the cluster: identity and keys, the replicated log, the link to its peers, membership,
// and the assembly of all parts of `holdline serve`. cluster/DESIGN.md has the invariants.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"holdline/cluster/api"
	"holdline/cluster/port"
)

// FeatureLevel is the highest replicated feature level that this binary understands.
const FeatureLevel = 1

// Options are what a node is opened with. Everything else is in its data directory or replicated.
type Options struct {
	DataDir string // secrets, log, snapshots: made with mode 0700 when missing
	RunDir  string // guard.sock and guard.shm: the directory of the admin socket
	Version string // of the binary
	Logger  *slog.Logger
	// GuardCommand runs the guard process; nil: this very binary with "guard".
	GuardCommand []string
	// GuardUnit, if not empty, is the systemd unit that runs the guard: then none is started here.
	GuardUnit string
	// WithoutGuard runs a node that can own no VIP and serves no SIP: for tests of the replicated state, and machines
	// without the right to change addresses.
	WithoutGuard bool
	// Release is what the binary knows of the replicated rules; the zero value is this one. Tests of upgrades set it.
	Release Release
	// RefuseLog is asked before each write of the raft log and may refuse it, or hang; nil: nothing does. Tests of disks set it.
	RefuseLog func() error
}

// Node is one node: unconfigured until Init or Join, then a member. It implements api.Backend.
type Node struct {
	opt    Options
	dir    *dataDir
	logger *slog.Logger

	change sync.Mutex // one Init, Join or Leave at a time
	engine atomic.Pointer[engine]
	closed atomic.Bool
}

var _ api.Backend = (*Node)(nil)

// Open locks the data directory and, if it is a member's, starts the member. Its errors are one line for the operator.
func Open(ctx context.Context, o Options) (*Node, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	path, err := filepath.Abs(o.DataDir)
	if err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	dir, err := openDataDir(path)
	if err != nil {
		return nil, err
	}
	n := &Node{opt: o, dir: dir, logger: o.Logger}
	m, err := dir.load()
	if err == nil && m != nil {
		err = n.start(ctx, m, nil)
		if errors.Is(err, port.ErrForeign) {
			err = fmt.Errorf("%w: give this machine the address again, or take %s out of the cluster and have it join anew (operate.md, \"A box gets another address\")", err, m.Name)
		}
	}
	if err != nil {
		return nil, errors.Join(err, dir.close())
	}
	return n, nil
}

// start makes the engine of a member. prepare, if not nil, populates a new cluster.
func (n *Node) start(ctx context.Context, m *membership, prepare func(*engine) error) error {
	e, err := startEngine(ctx, n, m, prepare)
	if err != nil {
		return err
	}
	n.engine.Store(e)
	return nil
}

// Configured says whether the node is a member.
func (n *Node) Configured() bool { return n.engine.Load() != nil }

// member returns the engine, or the error that every operation of an unconfigured node answers.
func (n *Node) member() (*engine, error) {
	if e := n.engine.Load(); e != nil {
		return e, nil
	}
	return nil, api.Errorf(api.CodeUnconfigured, "this node is not configured: run `holdline init` on the first node, `holdline join TOKEN` on the others")
}

// Close gives away the VIPs after what is on its way has been committed, hands over leadership, and stops.
func (n *Node) Close() error {
	if n.closed.Swap(true) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), retireLimit)
	defer cancel()
	n.change.Lock()
	defer n.change.Unlock()
	var err error
	if e := n.engine.Swap(nil); e != nil {
		e.retire(ctx)
		err = e.stop()
	}
	return errors.Join(err, n.dir.close())
}

// Kill stops without handing anything over, as a crash would: tests only.
func (n *Node) Kill() error {
	if n.closed.Swap(true) {
		return nil
	}
	var err error
	if e := n.engine.Swap(nil); e != nil {
		err = e.stop()
	}
	return errors.Join(err, n.dir.close())
}

const (
	defaultPort    = port.Default
	commitPatience = 5 * time.Second
	retireLimit    = 3 * time.Second // the polite part of stopping
)
