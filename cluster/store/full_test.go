package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"
	"golang.org/x/sys/unix"
)

// smallDisk is a disk that has room for so many bytes in the log's directory.
type smallDisk struct {
	types.VFS
	room atomic.Int64
}

func newSmallDisk(segments int64) *smallDisk {
	d := &smallDisk{VFS: walfs.New()}
	d.room.Store(segments * segmentSize)
	return d
}

func used(dir string) (bytes int64) {
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, n := range names {
		if info, err := os.Stat(n); err == nil && !strings.HasSuffix(n, ".db") {
			bytes += info.Size()
		}
	}
	return bytes
}

func (d *smallDisk) Create(dir, name string, size uint64) (types.WritableFile, error) {
	if used(dir)+int64(size) > d.room.Load() {
		// As raft-wal's own does: the file is there, and empty.
		return nil, errors.Join(unix.ENOSPC, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	return d.VFS.Create(dir, name, size)
}

func openOn(t *testing.T, dir string, disk types.VFS) *Store {
	t.Helper()
	s, err := Open(Options{Dir: dir, Trouble: func(bool) {}, files: disk})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: ", what)
		}
	}
}

func (s *spares) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ready)
}

// A full disk: the log goes on in its spares, then refuses entries and says why, and takes them again without a restart once there is
// room.
func TestLogOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	disk := newSmallDisk(3) // one segment, two spares
	s := openOn(t, dir, disk)
	eventually(t, "two spares", func() bool { return s.spares.count() == sparesKept })
	entry := func(i uint64) error { return s.StoreLog(&raft.Log{Index: i, Term: 1, Data: make([]byte, 1<<20)}) }
	var n uint64
	var err error
	for err == nil && n < 100 {
		n++
		err = entry(n)
	}
	if !errors.Is(err, unix.ENOSPC) || n < 45 || n > 48 {
		t.Errorf("entry %d of 1 MiB is refused with %v; want the one that would seal the third segment", n, err)
	}
	if s.Fault() != FaultFull || !s.NearlyFull() {
		t.Errorf("fault %q, nearly full %v", s.Fault(), s.NearlyFull())
	}
	if err := entry(n); err == nil {
		t.Error("taken on a disk that is still full")
	}
	disk.room.Add(3 * segmentSize)
	if err := entry(n); err != nil {
		t.Errorf("with room again: %v", err)
	}
	for i := n + 1; i < n+20; i++ {
		if err := entry(i); err != nil {
			t.Fatal(err)
		}
	}
	if s.Fault() != "" {
		t.Errorf("fault %q after entries were taken", s.Fault())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openOn(t, dir, disk)
	defer s.Close()
	if last, err := s.LastIndex(); err != nil || last != n+19 {
		t.Errorf("last entry after a restart %d, %v; want %d", last, err, n+19)
	}
}

// Leader after leader replaces the log's end on a full disk: no room is taken for it.
func TestReplacedEndsTakeNoRoom(t *testing.T) {
	dir := t.TempDir()
	disk := newSmallDisk(3)
	s := openOn(t, dir, disk)
	eventually(t, "two spares", func() bool { return s.spares.count() == sparesKept })
	disk.room.Store(0)
	disk.room.Store(used(filepath.Join(dir, DirName))) // full from here on
	last := uint64(10)
	appendLogs(t, s, 1, last)
	for range 40 {
		if err := s.DeleteRange(last-2, last); err != nil {
			t.Fatalf("cut after %d: %v", last, err)
		}
		appendLogs(t, s, last-2, last+3)
		last += 3
	}
	if s.Fault() != "" {
		t.Errorf("fault %q", s.Fault())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openOn(t, dir, disk)
	defer s.Close()
	if end, err := s.LastIndex(); err != nil || end != last {
		t.Fatalf("last entry after a restart %d, %v; want %d", end, err, last)
	}
	for i := uint64(1); i <= last; i++ {
		var l raft.Log
		if err := s.GetLog(i, &l); err != nil || l.Index != i {
			t.Fatalf("entry %d: %+v, %v", i, l, err)
		}
	}
}

// A disk that hangs is told while it does; one that refuses is told until it takes something.
func TestFaultsAreTold(t *testing.T) {
	refusal := make(chan error)
	s, err := Open(Options{Dir: t.TempDir(), Trouble: func(bool) {}, SlowAfter: 6 * time.Millisecond, Refuse: func() error { return <-refusal }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	done := make(chan error)
	write := func(i uint64) {
		go func() { done <- s.StoreLog(&raft.Log{Index: i, Term: 1}) }()
	}
	write(1)
	eventually(t, "a hung disk is told", func() bool { return s.Fault() == FaultHung })
	refusal <- errors.New("input/output error")
	if err := <-done; err == nil || s.Fault() != "input/output error" {
		t.Errorf("%v; fault %q", err, s.Fault())
	}
	write(1)
	refusal <- nil
	if err := <-done; err != nil || s.Fault() != "" {
		t.Errorf("%v; fault %q after a write", err, s.Fault())
	}
}
