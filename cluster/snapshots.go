package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/raft"
	"golang.org/x/sys/unix"
)

// snapshotStore is raft's, which writes hundreds of megabytes into the page cache and syncs them all at the end. A sync of the log then waits
// behind them, on a slow disk for so long that the node gives its leadership up. So the disk begins to write each flushStep as it
// comes, and no more than two of them are ahead of it.
type snapshotStore struct {
	*raft.FileSnapshotStore
	dir   string
	flush func(f *os.File, from, to int64, wait bool) error
	bad   *badSnapshots // hears of those that cannot be read; nil: nobody does
	least uint64        // ones before this entry are not listed
}

const flushStep = 4 << 20

func (e *engine) openSnapshots() (snapshotStore, error) {
	store, err := raft.NewFileSnapshotStoreWithLogger(e.node.dir.path, snapshotsKept, newHCLog(e.logger, "raft"))
	if err != nil {
		return snapshotStore{}, fmt.Errorf("open snapshots: %w", err)
	}
	return snapshotStore{store, e.node.dir.file(dirSnapshots), flushRange, &e.badSnapshots, 0}, nil
}

// List implements raft.SnapshotStore.
func (s snapshotStore) List() ([]*raft.SnapshotMeta, error) {
	list, err := s.FileSnapshotStore.List()
	return slices.DeleteFunc(list, func(m *raft.SnapshotMeta) bool { return m.Index < s.least }), err
}

// Create implements raft.SnapshotStore.
func (s snapshotStore) Create(
	version raft.SnapshotVersion, index, term uint64, c raft.Configuration, configIndex uint64, t raft.Transport,
) (raft.SnapshotSink, error) {
	sink, err := s.FileSnapshotStore.Create(version, index, term, c, configIndex, t)
	if err != nil {
		return nil, err
	}
	// Names of raft's own: if they change nothing is flushed early, and all else works.
	f, err := os.Open(filepath.Join(s.dir, sink.ID()+".tmp", "state.bin"))
	if err != nil {
		return sink, nil
	}
	return &flushedSink{SnapshotSink: sink, file: f, flush: s.flush}, nil
}

// flushedSink writes a snapshot that reaches the disk as it grows.
type flushedSink struct {
	raft.SnapshotSink
	file    *os.File
	flush   func(f *os.File, from, to int64, wait bool) error
	written int64
	begun   int64 // the disk has begun to write up to here
	waited  int64 // it has been waited for up to here
}

// Write implements io.Writer.
func (s *flushedSink) Write(b []byte) (int, error) {
	n, err := s.SnapshotSink.Write(b)
	s.written += int64(n)
	if err != nil || s.written-s.begun < flushStep {
		return n, err
	}
	// A file system that cannot do this has it all to write at the end, as before; a disk that fails is noticed by the sync there.
	_ = s.flush(s.file, s.begun, s.written, false)
	if s.begun > s.waited {
		_ = s.flush(s.file, s.waited, s.begun, true)
	}
	s.waited, s.begun = s.begun, s.written
	return n, nil
}

// Close implements io.Closer.
func (s *flushedSink) Close() error {
	_ = s.file.Close()
	return s.SnapshotSink.Close()
}

// Cancel implements raft.SnapshotSink.
func (s *flushedSink) Cancel() error {
	_ = s.file.Close()
	return s.SnapshotSink.Cancel()
}

// flushRange has the disk write a part of the file, and waits for that if it should. It makes nothing durable.
func flushRange(f *os.File, from, to int64, wait bool) error {
	how := unix.SYNC_FILE_RANGE_WRITE
	if wait {
		how |= unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	}
	return unix.SyncFileRange(int(f.Fd()), from, to-from, how)
}
