// Package store keeps raft's log and votes on disk: the log as raft-wal's segments, which take one fsync an entry, votes in
// bbolt with the two writes of a vote joined into one transaction; a watch on slow disks, and a record of how long an fsync takes.
package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	wal "github.com/hashicorp/raft-wal"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// What a store leaves in the data directory. The file of votes is made last and removed first: where it is, the log is whole.
const (
	FileName = "raft.db" // votes
	DirName  = "log"     // segments of the log
)

// segmentSize is what the log takes on disk at least, and by how much it grows: room for some minutes at full load.
const segmentSize = 16 << 20

// The keys raft votes under, and ours that holds both: raft writes LastVoteTerm, then LastVoteCand, and a crash between the
// two would let it grant an old candidate a vote of the new term (hashicorp/raft #661).
const (
	keyVoteTerm = "LastVoteTerm"
	keyVoteCand = "LastVoteCand"
	keyVote     = "holdline.LastVote"
)

// Store is raft's LogStore and StableStore.
type Store struct {
	dir    string // of the log
	log    *wal.WAL
	spares *spares
	marks  *marks
	bolt   *raftboltdb.BoltStore
	watch  *diskWatch
	refuse func() error
	faults faults
	logger hclog.Logger

	cutFailed atomic.Pointer[error] // why nothing more is written; see cut

	mu       sync.Mutex
	voteTerm uint64 // told by SetUint64, written with the candidate
}

// Options tune a Store.
type Options struct {
	Dir string
	// SlowAfter is how long a write may take before Trouble(true) is called; 0 = 300 ms.
	SlowAfter time.Duration
	// Trouble is called from its own goroutine when a write begins to take too long, and again when it has ended. Not nil.
	Trouble func(on bool)
	Logger  hclog.Logger // nil: silent
	// Refuse, if not nil, is asked before each write of the log and may refuse it, or hang: tests of disks that do.
	Refuse func() error

	files types.VFS // nil: the operating system's
}

// Open opens or makes the store in the directory. The caller holds the directory's lock.
func Open(o Options) (*Store, error) {
	if o.SlowAfter == 0 {
		o.SlowAfter = 300 * time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	dir, path := filepath.Join(o.Dir, DirName), filepath.Join(o.Dir, FileName)
	damaged := func(path string, err error) error {
		return fmt.Errorf("open raft log %s: %w: if it is damaged, remove this node from the cluster and join it again", path, err)
	}
	opening := func(path string, err error) error {
		if errors.Is(err, unix.ENOSPC) {
			return fmt.Errorf("open raft log %s: %w: free some space there and start again", path, err)
		}
		return damaged(path, err)
	}
	if lost, err := logLost(dir, path); err != nil {
		return nil, damaged(dir, err)
	} else if lost {
		return nil, damaged(dir, errors.New("it is missing, though this node has voted"))
	}
	if err := verifyTables(o.Dir); err != nil {
		return nil, damaged(dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make raft log: %w", err)
	}
	list, marks, err := openTables(dir)
	if err != nil {
		return nil, opening(dir, err)
	}
	if err := verifySegments(dir, list, marks); err != nil {
		return nil, damaged(dir, err)
	}
	if o.files == nil {
		o.files = walfs.New()
	}
	spares, err := openSpares(dir, o.files)
	if err != nil {
		return nil, fmt.Errorf("make raft log: %w", err)
	}
	filer := segment.NewFiler(dir, files{o.files, spares, marks})
	if err := prepareTail(dir, filer, marks, o.Logger); err != nil {
		spares.close()
		return nil, opening(dir, err)
	}
	log, err := wal.Open(dir, wal.WithSegmentFiler(filer), wal.WithSegmentSize(segmentSize), wal.WithLogger(o.Logger))
	if err != nil {
		spares.close()
		return nil, opening(dir, err)
	}
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			Timeout:        time.Second,
			NoFreelistSync: true,
			FreelistType:   bbolt.FreelistMapType,
		},
	})
	if err != nil {
		spares.close()
		return nil, errors.Join(opening(path, err), log.Close())
	}
	return &Store{dir: dir, log: log, spares: spares, marks: marks, bolt: bolt, watch: newDiskWatch(o.SlowAfter, o.Trouble), refuse: o.Refuse, logger: o.Logger}, nil
}

// logLost says whether there are votes but no log: going on with an empty one would break promises that this node has given.
func logLost(dir, votes string) (bool, error) {
	if _, err := os.Stat(votes); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, err
	}
	segments, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	return len(segments) == 0, err
}

// Remove removes what Open makes from the data directory. Nobody has it open.
func Remove(dir string) error {
	err := os.Remove(filepath.Join(dir, FileName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(filepath.Join(dir, DirName)))
}

// Close closes the files.
func (s *Store) Close() error {
	s.spares.close()
	return errors.Join(s.log.Close(), s.bolt.Close())
}

// FsyncP99 is the 99th percentile of recent log writes, 0 when there were none.
func (s *Store) FsyncP99() time.Duration { return s.watch.p99() }

// Fault says why nothing can be written now, in a few words; "": it can, as far as has been tried.
func (s *Store) Fault() string {
	if s.watch.hangs() {
		return FaultHung
	}
	return s.faults.text()
}

// NearlyFull says that the disk is full but for what the log has laid out beforehand.
func (s *Store) NearlyFull() bool { return s.spares.nearlyFull() }

// Slow says whether a write is taking too long now, or did within the last ten seconds.
func (s *Store) Slow() bool { return s.watch.slow() }

// Failing says whether the disk is worse than one that hung once for a moment: a write has been hanging for a second, or several have
// hung within the last ten.
func (s *Store) Failing() bool { return s.watch.failing() }

// FirstIndex implements raft.LogStore.
func (s *Store) FirstIndex() (uint64, error) { return s.log.FirstIndex() }

// LastIndex implements raft.LogStore.
func (s *Store) LastIndex() (uint64, error) { return s.log.LastIndex() }

// GetLog implements raft.LogStore.
func (s *Store) GetLog(index uint64, log *raft.Log) error { return s.log.GetLog(index, log) }

// StoreLog implements raft.LogStore.
func (s *Store) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs implements raft.LogStore.
func (s *Store) StoreLogs(logs []*raft.Log) error {
	defer s.watch.begin()()
	if err := s.broken(); err != nil {
		return s.faults.noteLog(err)
	}
	if s.refuse != nil {
		if err := s.refuse(); err != nil {
			return s.faults.noteLog(err)
		}
	}
	return s.faults.noteLog(s.log.StoreLogs(logs))
}

// DeleteRange implements raft.LogStore.
func (s *Store) DeleteRange(first, last uint64) error {
	begins, err1 := s.log.FirstIndex()
	ends, err2 := s.log.LastIndex()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if first <= begins || last < ends { // a snapshot stands for them
		return s.log.DeleteRange(first, last)
	}
	return s.faults.noteCut(s.cut(first, last))
}

// broken is why the log takes nothing more until it is opened again, nil if it does.
func (s *Store) broken() error {
	if err := s.cutFailed.Load(); err != nil {
		return *err
	}
	return nil
}

// cut takes the log's end away, for which it begins a new segment.
func (s *Store) cut(first, last uint64) error {
	if err := s.spares.ensure(); err != nil {
		return fmt.Errorf("replace the end of the log: %w", err)
	}
	if err := s.broken(); err != nil {
		return err
	}
	if err := s.log.DeleteRange(first, last); err != nil {
		// What it has sealed is sealed in memory and perhaps not on the disk. Cut once more it would be taken for whole, and be unreadable after the next start, which
		// puts it right if nothing has been done to it since.
		err = fmt.Errorf("cut the end of the log: %w: its daemon must be started again", err)
		s.cutFailed.Store(&err)
		return err
	}
	if err := trim(s.dir, first-1, s.marks); err != nil { // it goes with the next snapshot
		s.logger.Warn("the rest of a segment is not given back", "err", err)
	}
	s.spares.refill()
	return nil
}

// IsMonotonic implements raft.MonotonicLogStore: entries follow each other without a hole.
func (s *Store) IsMonotonic() bool { return s.log.IsMonotonic() }

// Set implements raft.StableStore.
func (s *Store) Set(key, value []byte) error {
	if string(key) == keyVoteCand {
		s.mu.Lock()
		vote := binary.BigEndian.AppendUint64(nil, s.voteTerm)
		s.mu.Unlock()
		key, value = []byte(keyVote), append(vote, value...)
	}
	return s.faults.noteVotes(s.bolt.Set(key, seal(value)))
}

// Get implements raft.StableStore.
func (s *Store) Get(key []byte) ([]byte, error) {
	if string(key) == keyVoteCand {
		vote, err := s.vote()
		if err != nil {
			return nil, err
		}
		return vote[8:], nil
	}
	return s.unsealed(key)
}

// SetUint64 implements raft.StableStore.
func (s *Store) SetUint64(key []byte, value uint64) error {
	if string(key) == keyVoteTerm {
		s.mu.Lock()
		s.voteTerm = value
		s.mu.Unlock()
		return nil
	}
	return s.faults.noteVotes(s.bolt.Set(key, seal(binary.BigEndian.AppendUint64(nil, value))))
}

// GetUint64 implements raft.StableStore.
func (s *Store) GetUint64(key []byte) (uint64, error) {
	if string(key) == keyVoteTerm {
		vote, err := s.vote()
		if err != nil {
			return 0, err
		}
		return binary.BigEndian.Uint64(vote), nil
	}
	value, err := s.unsealed(key)
	if err != nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, damagedRecord(key)
	}
	return binary.BigEndian.Uint64(value), nil
}

func (s *Store) vote() ([]byte, error) {
	vote, err := s.unsealed([]byte(keyVote))
	if err != nil {
		return nil, err
	}
	if len(vote) < 8 {
		return nil, damagedRecord([]byte(keyVote))
	}
	return vote, nil
}

// seal appends the value's sum: a term or vote that the disk gives back otherwise would let this node vote twice.
func seal(value []byte) []byte {
	return binary.BigEndian.AppendUint32(slices.Clip(value), crc32.Checksum(value, castagnoli))
}

func (s *Store) unsealed(key []byte) ([]byte, error) {
	value, err := s.bolt.Get(key)
	if err != nil {
		return nil, err
	}
	return unseal(key, value)
}

func unseal(key, value []byte) ([]byte, error) {
	n := len(value) - crc32.Size
	if n < 0 || crc32.Checksum(value[:n], castagnoli) != binary.BigEndian.Uint32(value[n:]) {
		return nil, damagedRecord(key)
	}
	return value[:n], nil
}

func damagedRecord(key []byte) error {
	return fmt.Errorf("read raft's %s: damaged record: remove this node from the cluster and join it again", key)
}
