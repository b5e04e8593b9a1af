package store

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"
	"golang.org/x/sys/unix"
)

// brittleDisk fails its next writes to segments while bad is set, and their syncs while badSync is.
type brittleDisk struct {
	types.VFS
	bad, badSync atomic.Bool
}

type brittleFile struct {
	types.WritableFile
	disk *brittleDisk
}

func (d *brittleDisk) Create(dir, name string, size uint64) (types.WritableFile, error) {
	f, err := d.VFS.Create(dir, name, size)
	return brittleFile{f, d}, err
}

func (d *brittleDisk) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := d.VFS.OpenWriter(dir, name)
	return brittleFile{f, d}, err
}

func (f brittleFile) WriteAt(b []byte, at int64) (int, error) {
	if f.disk.bad.Load() {
		return 0, unix.EIO
	}
	return f.WritableFile.WriteAt(b, at)
}

func (f brittleFile) Sync() error {
	if f.disk.badSync.Load() {
		return unix.EIO
	}
	return f.WritableFile.Sync()
}

// TestCutFails: a disk that fails while a new leader's entries are to replace the log's end has the log take nothing more, and say so, until it is opened again. Tried
// again at once, the segment would be taken for sealed, and could not be read after the next start.
func TestCutFails(t *testing.T) {
	dir := t.TempDir()
	disk := &brittleDisk{VFS: walfs.New()}
	s := openOn(t, dir, disk)
	appendLogs(t, s, 1, 10)
	disk.bad.Store(true)
	if err := s.DeleteRange(9, 10); err == nil {
		t.Fatal("cut, though the disk has failed")
	}
	disk.bad.Store(false)
	if err := s.DeleteRange(9, 10); err == nil || !strings.Contains(err.Error(), "must be started again") {
		t.Errorf("cut again: %v", err)
	}
	if err := s.StoreLog(&raft.Log{Index: 11, Term: 1}); err == nil {
		t.Error("it goes on")
	}
	if f := s.Fault(); !strings.Contains(f, "its daemon must be started again") {
		t.Errorf("fault: %q", f)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openOn(t, dir, disk)
	defer s.Close()
	for i := uint64(1); i <= 10; i++ {
		var log raft.Log
		if err := s.GetLog(i, &log); err != nil || log.Index != i {
			t.Fatalf("entry %d after a restart: %v", i, err)
		}
	}
	if err := s.DeleteRange(9, 10); err != nil {
		t.Fatal(err)
	}
	appendLogs(t, s, 9, 12)
	if f := s.Fault(); f != "" {
		t.Errorf("fault: %q", f)
	}
}
