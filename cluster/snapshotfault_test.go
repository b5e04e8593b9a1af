package cluster

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/fsm/pb"
)

// snapshotCheck is what doctor says of the snapshots of a node.
func (l *lab) snapshotCheck(i int) api.Check {
	l.t.Helper()
	return l.nodes[i].engine.Load().doctorSnapshots()[0]
}

// unreadable lays a snapshot on the node's disk that stands before all that raft will take for a while, and is cut short.
func (l *lab) unreadable(i int) (name string) {
	l.t.Helper()
	e := l.nodes[i].engine.Load()
	store, err := e.openSnapshots()
	if err != nil {
		l.t.Fatal(err)
	}
	sink, err := store.Create(raft.SnapshotVersionMax, e.raft.LastIndex()+1000, e.raft.CurrentTerm(), raft.Configuration{}, 1, e.transport)
	if err == nil {
		err = snapshot{e.replica.present()}.Persist(sink)
	}
	if err == nil {
		err = os.Truncate(filepath.Join(l.dirs[i], dirSnapshots, sink.ID(), "state.bin"), 100)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return sink.ID()
}

// replacedSnapshot waits until another one has taken the place of an unreadable one, and the node goes on with it.
func (l *lab) replacedSnapshot(i int, name string) {
	l.t.Helper()
	l.until("another one takes its place", func() bool {
		told, waits := l.nodes[i].engine.Load().badSnapshots.fault()
		return told != "" && !waits
	})
	if c := l.snapshotCheck(i); c.Result != api.CheckWarn || !strings.Contains(c.Detail, name) || !strings.Contains(c.Advice, "has taken its place") {
		l.t.Errorf("doctor says %+v", c)
	}
	l.kill(i)
	l.restart(i)
	l.until("it goes on", func() bool { return l.hasDomain(i, "kept.example") })
	if c := l.snapshotCheck(i); c.Result != api.CheckOK {
		l.t.Errorf("after a restart doctor says %+v", c)
	}
}

// The newest snapshot cannot be read: a backup is of the state in memory, doctor tells, and another one takes its place.
func TestUnreadableSnapshot(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	l.snapshot(0)
	l.addDomain(0, "kept.example")
	if c := l.snapshotCheck(0); c.Result != api.CheckOK || c.Detail != "1, readable" {
		t.Errorf("of a sound one doctor says: %+v", c)
	}
	name := l.unreadable(0)
	var backup bytes.Buffer
	if err := l.nodes[0].Backup(t.Context(), &backup); err != nil {
		t.Errorf("backup: %v", err)
	}
	state := fsm.New()
	if err := state.Restore(&backup); err != nil || state.Config().Domain("kept.example") == nil {
		t.Errorf("what the backup holds is not the present state: %v", err)
	}
	if c := l.snapshotCheck(0); c.Result != api.CheckFail || !strings.Contains(c.Detail, name) || c.Advice == "" {
		t.Errorf("doctor says %+v", c)
	}
	l.replacedSnapshot(0, name)
}

// The same if raft finds it at the start, and begins with an older one.
func TestUnreadableSnapshotAtTheStart(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	l.snapshot(0)
	l.addDomain(0, "kept.example")
	path := l.replaced(0)
	if err := os.Truncate(filepath.Join(path, "state.bin"), 100); err != nil {
		t.Fatal(err)
	}
	l.restart(0)
	l.replacedSnapshot(0, filepath.Base(path))
}

// A snapshot that raft is removing, file by file, is not damaged; one that lacks a file for good is.
func TestSnapshotBeingRemoved(t *testing.T) {
	for _, x := range []struct {
		name   string
		damage func(state string) error
		goes   time.Duration // after this time; 0: it stays
		takes  time.Duration // to tell
		told   bool
	}{
		{"it is being removed", os.Remove, reapTime / 2, reapTime, false},
		{"a file is missing", os.Remove, 0, 2 * reapTime, true},
		{"a file is cut short", func(state string) error { return os.Truncate(state, 1) }, 0, 0, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				files, err := raft.NewFileSnapshotStore(dir, 2, io.Discard)
				if err != nil {
					t.Fatal(err)
				}
				_, transport := raft.NewInmemTransport("")
				sink, err := files.Create(raft.SnapshotVersionMax, 10, 1, raft.Configuration{}, 1, transport)
				if err == nil {
					_, err = sink.Write([]byte("state"))
				}
				if err == nil {
					err = sink.Close()
				}
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, dirSnapshots, sink.ID())
				if err := x.damage(filepath.Join(path, "state.bin")); err != nil {
					t.Fatal(err)
				}
				if x.goes > 0 {
					time.AfterFunc(x.goes, func() {
						if err := os.RemoveAll(path); err != nil {
							t.Error(err)
						}
					})
				}
				began := time.Now()
				var bad badSnapshots
				s := snapshotStore{FileSnapshotStore: files, dir: filepath.Dir(path), bad: &bad}
				if _, _, err := s.Open(sink.ID()); err == nil {
					t.Error("opened")
				}
				if fault, _ := bad.fault(); (fault != "") != x.told {
					t.Errorf("told: %q", fault)
				}
				if took := time.Since(began); took > x.takes {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// notOpened wants the node not to start, and returns why.
func (l *lab) notOpened(i int) string {
	l.t.Helper()
	n, err := Open(l.t.Context(), Options{DataDir: l.dirs[i], RunDir: l.dirs[i], WithoutGuard: true, Logger: testLogger(l.t)})
	if err == nil {
		l.t.Errorf("started: %v", n.Kill())
		return ""
	}
	return err.Error()
}

// The log does not reach back to the older snapshot, as it is cut by the newest: a node that cannot read that one does not start, and says what to do. It has
// acknowledged what it no longer has.
func TestUnreadableSnapshotWithoutALog(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	l.snapshot(0)
	for k := range 5 {
		l.addDomain(0, fmt.Sprintf("d%d.example", k))
	}
	l.nodes[0].engine.Load().tune(func(c *raft.ReloadableConfig) { c.TrailingLogs = 0 })
	l.snapshot(0)
	l.addDomain(0, "kept.example")
	store, err := l.nodes[0].engine.Load().openSnapshots()
	if err != nil {
		t.Fatal(err)
	}
	list, err := store.List()
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	l.kill(0)
	newest := filepath.Join(l.dirs[0], dirSnapshots, list[0].ID)
	state := filepath.Join(newest, "state.bin")
	whole, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(state, whole[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	if why := l.notOpened(0); !strings.Contains(why, list[0].ID) || !strings.Contains(why, "join it again") || strings.Contains(why, "\n") {
		t.Errorf("it says: %s", why)
	}
	if err := os.WriteFile(state, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(newest, newest+".tmp"); err != nil { // as if its list of contents could not be read either
		t.Fatal(err)
	}
	if why := l.notOpened(0); !strings.Contains(why, "no snapshot that can be read") || !strings.Contains(why, "join it again") || strings.Contains(why, "\n") {
		t.Errorf("it says: %s", why)
	}
}

// Which snapshots a log follows on.
func TestLeastSnapshot(t *testing.T) {
	dir := t.TempDir()
	files, err := raft.NewFileSnapshotStore(dir, 2, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	_, transport := raft.NewInmemTransport("")
	for _, index := range []uint64{10, 20} {
		sink, err := files.Create(raft.SnapshotVersionMax, index, 1, raft.Configuration{}, 1, transport)
		if err == nil {
			err = sink.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		first uint64 // 0: there is no log
		want  []uint64
	}{
		{1, []uint64{20, 10}},
		{11, []uint64{20, 10}},
		{12, []uint64{20}},
		{21, []uint64{20}},
		{0, []uint64{20}},
		{22, nil},
	} {
		log := raft.NewInmemStore()
		if x.first > 0 {
			if err := log.StoreLog(&raft.Log{Index: x.first}); err != nil {
				t.Fatal(err)
			}
		}
		s := snapshotStore{FileSnapshotStore: files}
		if s.least, err = leastSnapshot(log, s); (err != nil) != (x.want == nil) {
			t.Errorf("log from %d: %v", x.first, err)
			continue
		}
		var got []uint64
		if err == nil {
			list, err := s.List()
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range list {
				got = append(got, m.Index)
			}
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("log from %d: %v, want %v", x.first, got, x.want)
		}
	}
}

// Backups take no snapshot of raft's: however often they come, the log is kept and cut as without them.
func TestBackupsLeaveTheLogAlone(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	r := l.nodes[0].engine.Load().replica
	for k := range 5 {
		before := r.entries.Load()
		l.addDomain(0, fmt.Sprintf("d%d.example", k))
		if err := l.nodes[0].Backup(t.Context(), io.Discard); err != nil {
			t.Fatal(err)
		}
		if after := r.entries.Load(); after <= before {
			t.Errorf("%d entries are counted before a backup, %d after it", before, after)
		}
	}
	if found, err := os.ReadDir(filepath.Join(l.dirs[0], dirSnapshots)); err != nil || len(found) != 0 {
		t.Errorf("snapshots %v, %v", found, err)
	}
}

// A backup holds whole entries, never the first half of one.
func TestPresentIsBetweenEntries(t *testing.T) {
	const commands, entries = 100, 200
	r := &replica{machine: fsm.New()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range uint64(entries) {
			var batch pb.Batch
			for k := range commands {
				batch.Commands = append(batch.Commands, putSetting(fmt.Sprint("test.", k), fmt.Sprint(i)))
			}
			entry, err := proto.Marshal(&pb.Entry{TimeMs: 1, Batches: []*pb.Batch{&batch}})
			if err != nil {
				t.Error(err)
				return
			}
			r.Apply(&raft.Log{Index: i + 1, Data: entry})
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		var b bytes.Buffer
		if _, err := r.present().WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		state := fsm.New()
		if err := state.Restore(&b); err != nil {
			t.Fatal(err)
		}
		first := state.Config().Setting("test.0", "")
		for k := range commands {
			if got := state.Config().Setting(fmt.Sprint("test.", k), ""); got != first {
				t.Fatalf("setting 0 is of entry %q, setting %d of %q", first, k, got)
			}
		}
	}
	if v := r.machine.Config().Version; v != entries {
		t.Errorf("version %d after %d entries", v, entries)
	}
}
