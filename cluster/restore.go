package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"holdline/cluster/api"
	"holdline/fsm"
)

const (
	restoreTries = 50 // a configuration entry may be on its way
	restorePause = 100 * time.Millisecond
	restoreLimit = time.Minute // until the new state is in the queue of raft
)

var errTermEnded = errors.New("this node has lost leadership meanwhile")

// Restore implements api.Backend. Whole or not at all: the new state is made aside, of this cluster's own nodes, groups, keys and
// calls and of the backup's domains, users, pools, routes, certificates and settings, and raft then puts it in the place of the present one.
func (n *Node) Restore(ctx context.Context, from io.Reader, r api.RestoreRequest) (api.RestoreAnswer, error) {
	e, err := n.member()
	if err != nil {
		return api.RestoreAnswer{}, err
	}
	backup := fsm.New()
	if err := backup.Restore(from); err != nil {
		e.logger.Info("backup not readable", "err", err)
		return api.RestoreAnswer{}, api.Errorf(api.CodeInvalid, "this is no backup, or not a whole one, or one of a newer release: nothing was changed")
	}
	if len(backup.Config().Nodes()) == 0 {
		return api.RestoreAnswer{}, api.Errorf(api.CodeInvalid, "this backup is of a node that had not applied its log yet, and holds nothing, not even its nodes: take another one; nothing was changed")
	}
	if e.lead.Load() == nil {
		if leader := e.name(e.leader()); leader != "" {
			return api.RestoreAnswer{}, api.Errorf(api.CodeRefused, "%s is the raft leader: run the same command there", leader)
		}
		return api.RestoreAnswer{}, api.Errorf(api.CodeUnavailable, "there is no raft leader: look at `holdline status`")
	}
	work := &restoration{engine: e, backup: backup.Config(), force: r.Force, done: make(chan error, 1)}
	select {
	case e.restores <- work:
	case <-ctx.Done():
		return api.RestoreAnswer{}, api.Errorf(api.CodeUnavailable, "the leader is busy: try again")
	case <-e.ctx.Done():
		return api.RestoreAnswer{}, api.Errorf(api.CodeUnavailable, "this node is stopping")
	}
	// From here on it must be waited for: what it answers is what has happened.
	select {
	case err = <-work.done:
	case <-e.ctx.Done():
		err = api.Errorf(api.CodeUnavailable, "this node is stopping: see `holdline domain list` for whether the backup was restored")
	}
	return work.answer, err
}

// restoration is one restore, carried out by the goroutine that follows leadership: no write enters the log meanwhile.
type restoration struct {
	*engine
	backup *fsm.Config
	force  bool
	answer api.RestoreAnswer
	done   chan error
}

// restoreBetweenTerms stops the term of leadership, so that every write waits at its submitter, and begins another afterwards.
func (e *engine) restoreBetweenTerms(r *restoration) {
	old := e.lead.Swap(nil)
	if old == nil {
		r.done <- api.Errorf(api.CodeUnavailable, "%w: try again on the new leader", errTermEnded)
		return
	}
	old.stop()
	err := r.run()
	if e.raft.State() == raft.Leader {
		e.lead.Store(e.startLeadership())
	}
	r.done <- err
}

func (r *restoration) run() error {
	var err error
	for range restoreTries {
		err = r.try()
		if err == nil || api.CodeOf(err) != api.CodeInternal || errors.Is(err, errTermEnded) {
			return err
		}
		r.logger.Info("restore is tried again", "err", err)
		select {
		case <-time.After(restorePause):
		case <-r.ctx.Done():
			return err
		}
	}
	return fmt.Errorf("restore backup: %w", err)
}

// try makes the new state and installs it. The term must be the same all along: entries of another leader would be lost.
func (r *restoration) try() error {
	term := r.raft.CurrentTerm()
	if err := r.raft.Barrier(commitPatience).Error(); err != nil {
		return fmt.Errorf("wait for the log: %w", err)
	}
	var now bytes.Buffer
	if err := r.engine.snapshot(r.ctx, &now); err != nil {
		return err
	}
	w, err := newRewrite(&now)
	if err != nil {
		return err
	}
	if w.machine.Applied() != r.machine.Applied() {
		return errors.New("the snapshot is not of the present state")
	}
	if err := r.rewrite(w); err != nil {
		return err
	}
	state, err := w.snapshot()
	if err != nil {
		return api.Errorf(api.CodeRefused, "the backup does not fit into this cluster, nothing was changed: %w", err)
	}
	if r.raft.CurrentTerm() != term || r.raft.State() != raft.Leader {
		return errTermEnded
	}
	meta := &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Size: int64(len(state))}
	if err := r.raft.Restore(meta, bytes.NewReader(state), restoreLimit); err != nil {
		return fmt.Errorf("install the restored state: %w", err)
	}
	return nil
}
