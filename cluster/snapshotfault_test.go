package cluster

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
