package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// prepareTail puts the last segment right before raft-wal goes on in it, after verifySegments has found it undamaged.
func prepareTail(dir string, filer types.SegmentFiler, m *marks, logger hclog.Logger) (err error) {
	var db metadb.BoltMetaDB
	list, err := db.Load(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	n := len(list.Segments)
	if n == 0 || !list.Segments[n-1].SealTime.IsZero() {
		return nil
	}
	err = sweep(filepath.Join(dir, segment.FileName(list.Segments[n-1])), m, logger)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // not made yet: raft-wal makes it
	}
	if err != nil {
		return fmt.Errorf("clear a batch that was cut off: %w", err)
	}
	return finishRotation(&db, list, filer)
}

// sweep writes zeros over what follows the last whole batch: a loss of power has cut off the next one, which nobody was promised. Left there, what a
// sender has put into it would lie behind the next entry, if that is shorter, and raft-wal would read it as entries should it fit.
func sweep(path string, m *marks, logger hclog.Logger) (err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	whole, _ := wholeBatches(b, m.of(path))
	rest := bytes.TrimRight(b[whole:], "\x00")
	if len(rest) == 0 {
		return nil
	}
	logger.Warn("the last batch of the log is not whole, as after a loss of power: written over with zeros", "segment", filepath.Base(path), "at", whole, "bytes", len(rest))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	clear(rest)
	if _, err := f.WriteAt(rest, int64(whole)); err != nil {
		return err
	}
	return f.Sync()
}

// finishRotation ends what a crash may have interrupted: raft-wal seals the last segment of the log, and writes into its list afterwards that it has, and
// which is the next. In between it finds a sealed segment where it wants to go on writing, and takes no entry ever again.
func finishRotation(db types.MetaStore, list types.PersistentState, filer types.SegmentFiler) error {
	tail := &list.Segments[len(list.Segments)-1]
	w, err := filer.RecoverTail(*tail)
	if err != nil {
		return err
	}
	sealed, index, err := w.Sealed()
	last := w.LastIndex()
	if err = errors.Join(err, w.Close()); err != nil || !sealed {
		return err
	}
	tail.SealTime, tail.IndexStart, tail.MaxIndex = time.Now(), index, last
	list.Segments = append(list.Segments, types.SegmentInfo{
		ID: list.NextSegmentID, BaseIndex: last + 1, MinIndex: last + 1, SizeLimit: tail.SizeLimit, Codec: tail.Codec, CreateTime: time.Now(),
	})
	list.NextSegmentID++
	if err := db.CommitState(list); err != nil {
		return fmt.Errorf("begin the next segment: %w", err)
	}
	return nil
}
