package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/types"
)

// finishRotation ends what a crash may have interrupted: raft-wal seals the last segment of the log, and writes into its list afterwards that it has, and
// which is the next. In between it finds a sealed segment where it wants to go on writing, and takes no entry ever again.
func finishRotation(dir string, filer types.SegmentFiler) (err error) {
	if _, err := os.Stat(filepath.Join(dir, metaName)); errors.Is(err, fs.ErrNotExist) {
		return nil // a new log
	}
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
	tail := &list.Segments[n-1]
	w, err := filer.RecoverTail(*tail)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // not made yet: raft-wal makes it
	}
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
