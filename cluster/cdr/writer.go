// Package cdr writes call detail records to files on each node, from the replicated state: JSON lines, each record once, in order,
// whatever happens to the process. docs/cdr.md has what operators and consumers need to know.
package cdr

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"holdline/fsm/pb"
)

// Source has the records; fsm.Machine is one.
type Source interface {
	// CDRs returns records after this number in order, at most limit.
	CDRs(after uint64, limit int) []*pb.Cdr
}

// Options of a Writer. All are needed.
type Options struct {
	Dir    string // made when missing
	Prefix string // of file names: tells records of this cluster from those of one the node was in before
	Source Source
	Limits func() Limits // asked before each batch: settings change
	// Synced is told now and then, first at the start, up to which number records are on disk for good.
	Synced    func(upTo uint64)
	SyncEvery time.Duration // between fsyncs while records come
	Gather    time.Duration // least time between two writes: who writes at every record writes a hundred times a second
	Retry     time.Duration // after the disk refused
	Logger    *slog.Logger
}

// Limits of the files.
type Limits struct {
	FileBytes int64 // a file that has reached this is followed by another
	Files     int   // older ones are removed; 0: none
}

// batch is how many records are written at once.
const batch = 500

// Stats are what a Writer has done since it was opened. Safe to read at any time.
type Stats struct {
	Written  atomic.Uint64 // number of the last record in the files
	Missed   atomic.Uint64 // records that had gone before this node could write them
	Failures atomic.Uint64 // writes that the disk refused
}

// Writer writes records to files. Its position is the number in the last whole line that the files hold: there is no other note of it
// that could disagree.
type Writer struct {
	opt    Options
	files  *files
	wake   chan struct{}
	synced uint64
	Stats  Stats
}

// Open finds the position in the files. A last line that was cut off is removed.
func Open(o Options) (*Writer, error) {
	f, err := openFiles(o.Dir, o.Prefix, o.Logger)
	if err != nil {
		return nil, err
	}
	w := &Writer{opt: o, files: f, wake: make(chan struct{}, 1)}
	w.Stats.Written.Store(f.last)
	return w, nil
}

// Wake says that there may be new records. It never blocks.
func (w *Writer) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run writes until ctx ends, and closes the files.
func (w *Writer) Run(ctx context.Context) error {
	tick := time.NewTicker(w.opt.SyncEvery)
	defer tick.Stop()
	w.opt.Synced(w.files.last) // it was written by a process that is gone: sync makes that true
	for {
		err := w.drain(ctx)
		if err != nil {
			w.Stats.Failures.Add(1)
			w.opt.Logger.Error("writing CDRs failed: see to the disk; they are kept in the cluster meanwhile, within cdr.max-rows and cdr.retention", "dir", w.opt.Dir, "written", w.files.last, "err", err)
			select {
			case <-ctx.Done():
				return errors.Join(err, w.files.close())
			case <-time.After(w.opt.Retry):
			}
			continue
		}
		select {
		case <-ctx.Done():
			return w.files.close()
		case <-w.wake:
			select {
			case <-ctx.Done():
			case <-time.After(w.opt.Gather):
			}
		case <-tick.C:
			w.sync()
		}
	}
}

// drain writes what there is.
func (w *Writer) drain(ctx context.Context) error {
	for ctx.Err() == nil {
		rows := w.opt.Source.CDRs(w.files.last, batch)
		if len(rows) == 0 {
			return nil
		}
		if gap := rows[0].Number - w.files.last - 1; gap > 0 {
			w.Stats.Missed.Add(gap)
			w.opt.Logger.Warn("CDRs are missing in this node's files: it was away for longer than the cluster keeps them; other nodes' files have them",
				"from", w.files.last+1, "to", rows[0].Number-1)
		}
		if err := w.files.write(rows, w.opt.Limits()); err != nil {
			return err
		}
		w.Stats.Written.Store(w.files.last)
	}
	return nil
}

func (w *Writer) sync() {
	if w.files.last == w.synced {
		return
	}
	if err := w.files.sync(); err != nil {
		w.Stats.Failures.Add(1)
		w.opt.Logger.Error("fsync of CDRs failed: see to the disk", "dir", w.opt.Dir, "err", err)
		return
	}
	w.synced = w.files.last
	w.opt.Synced(w.synced)
}
