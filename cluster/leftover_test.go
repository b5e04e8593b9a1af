package cluster

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"holdline/cluster/store"
)

// replaced kills the node and lays its newest snapshot behind the end of its log, as a crash amid a restore does. It returns where.
func (l *lab) replaced(i int) string {
	l.t.Helper()
	l.kill(i)
	disk, err := store.Open(store.Options{Dir: l.dirs[i], Trouble: func(bool) {}})
	if err != nil {
		l.t.Fatal(err)
	}
	var last raft.Log
	end, err := disk.LastIndex()
	if err == nil {
		err = disk.GetLog(end, &last)
	}
	if e := disk.Close(); err != nil || e != nil {
		l.t.Fatal(err, e)
	}
	snapshots, err := raft.NewFileSnapshotStore(l.dirs[i], snapshotsKept, io.Discard)
	if err != nil {
		l.t.Fatal(err)
	}
	list, err := snapshots.List()
	if err != nil || len(list) == 0 || list[0].Index >= end {
		l.t.Fatal("no snapshot before the end of the log", err)
	}
	meta, from, err := snapshots.Open(list[0].ID)
	if err != nil {
		l.t.Fatal(err)
	}
	defer from.Close()
	_, transport := raft.NewInmemTransport("")
	sink, err := snapshots.Create(meta.Version, end+1, last.Term, meta.Configuration, meta.ConfigurationIndex, transport)
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := io.Copy(sink, from); err != nil {
		l.t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		l.t.Fatal(err)
	}
	return filepath.Join(l.dirs[i], dirSnapshots, sink.ID())
}

// A crash amid a restore: the new state is on disk, and so is the log before it. The new state holds and is written on; where it cannot be
// read, the old one goes on as if there had been no restore.
func TestCrashAmidRestore(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	begin := func(name string) {
		t.Helper()
		l.snapshot(0)
		l.addDomain(0, name)
	}
	begin("old.example")
	state := filepath.Join(l.replaced(0), "state.bin")
	if info, err := os.Stat(state); err != nil || os.Truncate(state, info.Size()-1) != nil {
		t.Fatal("state not damaged", err)
	}
	l.restart(0)
	l.until("the log is kept if the snapshot cannot be read", func() bool { return l.hasDomain(0, "old.example") })
	l.addDomain(0, "again.example")

	begin("replaced.example")
	l.replaced(0)
	l.restart(0)
	l.leader()
	l.addDomain(0, "new.example")
	l.kill(0)
	l.restart(0)
	l.until("it goes on", func() bool { return l.hasDomain(0, "new.example") })
	if !l.hasDomain(0, "again.example") || l.hasDomain(0, "replaced.example") {
		t.Error("the state is not that of the snapshot")
	}
}

// What is left of a snapshot that a crash has cut off goes with the next start; whole ones stay.
func TestCutOffSnapshotIsRemoved(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	l.snapshot(0)
	l.kill(0)
	dir := filepath.Join(l.dirs[0], dirSnapshots)
	whole, err := os.ReadDir(dir)
	if err != nil || len(whole) != 1 {
		t.Fatal(whole, err)
	}
	cut := filepath.Join(dir, "1-1-1.tmp")
	if err := os.Mkdir(cut, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cut, "state.bin"), []byte("HOLDLINE"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.restart(0)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != whole[0].Name() {
		t.Errorf("left of %v and a snapshot that was cut off: %v, %v", whole, left, err)
	}
}
