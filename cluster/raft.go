package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"holdline/fsm"
)

const (
	transportTimeout = time.Second
	transportPool    = 5
	logCacheEntries  = 512 // an entry is at most ~1 MiB, usually a few KiB
	snapshotsKept    = 2
	settingTiming    = "raft.timing"
	leaderLease      = 75 * time.Millisecond // cannot be changed while raft runs
)

// raftTiming are the timeouts that can be changed at run time.
type raftTiming struct {
	heartbeat, election time.Duration // raft's own
	look                time.Duration // a silence of the leader that leaderWatch acts upon; above leaderLease
}

// Timings by name: fast finds a new leader in about 130 ms; standard is for machines or networks that pause longer than
// that. docs/decisions/0011-raft-timing.md and 0012-election-moments.md have the figures.
var timings = map[string]raftTiming{
	"fast":     {120 * time.Millisecond, 120 * time.Millisecond, 80 * time.Millisecond},
	"standard": {225 * time.Millisecond, 300 * time.Millisecond, 150 * time.Millisecond},
}

func timingOf(cfg *fsm.Config) raftTiming {
	t, ok := timings[cfg.Setting(settingTiming, "fast")]
	if !ok {
		t = timings["fast"]
	}
	return t
}

func raftConfig(id, timing string) *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(id)
	c.ProtocolVersion = 3
	t, ok := timings[timing]
	if !ok {
		t = timings["fast"]
	}
	c.HeartbeatTimeout, c.ElectionTimeout = t.heartbeat, t.election
	c.LeaderLeaseTimeout = leaderLease
	// While entries flow, each tells followers what is committed before, and who waits for a commit is told of it at once
	// (tellCommitted). This is for the others when entries cease. What it sends is most of what an idle cluster does.
	c.CommitTimeout = 50 * time.Millisecond
	c.BatchApplyCh = true
	c.ShutdownOnRemove = false
	c.SnapshotInterval = 5 * time.Minute
	c.SnapshotThreshold = snapshotLogs
	c.TrailingLogs = trailingMost
	c.NoLegacyTelemetry = true
	return c
}

func (e *engine) startRaft(bootstrap bool) error {
	dir := e.node.dir
	if err := makeDir(dir.file(dirSnapshots)); err != nil {
		return err
	}
	e.removeCutOff()
	snapshots, err := e.openSnapshots()
	if err != nil {
		return err
	}
	cache, err := raft.NewLogCache(logCacheEntries, e.store)
	if err != nil {
		return fmt.Errorf("make log cache: %w", err)
	}
	e.transport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: e.stream, MaxPool: transportPool, MaxRPCsInFlight: 1, Timeout: transportTimeout, Logger: newHCLog(e.logger, "raft-net"),
	})
	config := raftConfig(e.UUID, "fast")
	config.Logger = newHCLog(e.logger, "raft")
	leads := make(chan bool, 64)
	config.NotifyCh = leads
	if bootstrap {
		first := raft.Configuration{Servers: []raft.Server{{ID: config.LocalID, Address: raft.ServerAddress(e.Listen.String())}}}
		if err := raft.BootstrapCluster(config, cache, e.store, snapshots, e.transport, first); err != nil {
			return errors.Join(fmt.Errorf("begin log: %w", err), e.transport.Close())
		}
	}
	if e.onDisk, err = lastOnDisk(e.store, snapshots); err != nil {
		return errors.Join(err, e.transport.Close())
	}
	if err := e.dropReplaced(snapshots); err != nil {
		return errors.Join(err, e.transport.Close())
	}
	if snapshots.least, err = leastSnapshot(e.store, snapshots); err != nil {
		return errors.Join(err, e.transport.Close())
	}
	if e.toApply, err = lastCommand(e.store); err != nil {
		return errors.Join(err, e.transport.Close())
	}
	r, err := raft.NewRaft(config, e.replica, cache, e.store, snapshots, pacedTransport{
		NetworkTransport: e.transport, ctx: e.ctx, term: e.term, under: &e.fillings, wanted: e.replicatesTo, unreached: &e.unreached,
	})
	if err != nil {
		return errors.Join(e.notStarted(err), e.transport.Close())
	}
	e.raft = r
	terms := make(chan struct{})
	e.wg.Go(func() {
		defer close(terms)
		e.followLeadership(leads)
	})
	observations := make(chan raft.Observation, 64)
	observer := raft.NewObserver(observations, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	r.RegisterObserver(observer)
	e.wg.Go(func() { e.followLeader(observations) })
	e.undo = append(e.undo, func() error {
		r.DeregisterObserver(observer)
		// Whatever waits for raft ends while raft still answers: what it has queued when it shuts down is never answered.
		e.cancel()
		<-terms
		e.verify.close()
		e.stream.Gate(true) // peers notice at once
		err := r.Shutdown().Error()
		return errors.Join(err, e.transport.Close())
	})
	return nil
}

// term is raft's; 0 before raft runs.
func (e *engine) term() uint64 {
	if !e.running.Load() {
		return 0
	}
	return e.raft.CurrentTerm()
}

// followLeader resends what was on its way to a former leader, whoever the new one is.
func (e *engine) followLeader(observations <-chan raft.Observation) {
	for {
		select {
		case o := <-observations:
			if l, ok := o.Data.(raft.LeaderObservation); ok {
				e.logger.Info("raft leader", "leader", string(l.LeaderAddr))
				if l.LeaderID != "" {
					e.submitter.Resend()
				}
			}
		case <-e.ctx.Done():
			return
		}
	}
}

// leader returns the number of the raft leader, 0 when there is none.
func (e *engine) leader() uint32 {
	_, id := e.raft.LeaderWithID()
	if id == "" {
		return 0
	}
	return e.members.number(string(id))
}

// tune changes what can be changed while raft runs.
func (e *engine) tune(change func(*raft.ReloadableConfig)) {
	e.tuning.Lock()
	defer e.tuning.Unlock()
	now := e.raft.ReloadableConfig()
	next := now
	change(&next)
	if next == now {
		return
	}
	if err := e.raft.ReloadConfig(next); err != nil {
		e.logger.Error("raft's configuration not changed", "err", err)
	}
}

// keepBounds cuts the log by bytes: raft itself counts entries only.
func (e *engine) keepBounds() {
	e.every(boundsInterval, func() {
		e.tune(func(c *raft.ReloadableConfig) { c.TrailingLogs = e.replica.trailing() })
		bad := e.badSnapshots.ids()
		if e.replica.bytes.Load() < snapshotBytes && len(bad) == 0 {
			return
		}
		switch err := e.raft.Snapshot().Error(); {
		case err == nil:
			e.setAside(bad)
		case !errors.Is(err, raft.ErrNothingNewToSnapshot):
			e.logger.Warn("snapshot failed", "err", err)
		}
	})
}

// snapshot streams the present state, from memory: what is on the disk may be unreadable, and raft's snapshots come when the log is to be cut. It is refused
// with CodeUnavailable while the state lacks what is on this node's disk.
func (e *engine) snapshot(ctx context.Context, w io.Writer) error {
	if err := e.wholeState(); err != nil {
		return err
	}
	_, err := e.replica.present().WriteTo(whileRunning{ctx, w})
	return err
}

// transferLeadership hands leadership to a voter that has caught up. Writes wait meanwhile; a transfer that hangs blocks all
// writes until restart (hashicorp/raft #696), so it is tried for a bounded time only.
func (e *engine) transferLeadership(ctx context.Context) error {
	e.logger.Info("handing leadership over")
	e.handing.Add(1)
	done := make(chan error, 1)
	go func() {
		defer e.handing.Add(-1)
		done <- e.raft.LeadershipTransfer().Error()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Second):
		return errors.New("no answer within 1 s")
	}
}
