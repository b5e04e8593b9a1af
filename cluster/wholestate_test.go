package cluster

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"holdline/cluster/api"
	"holdline/fsm"
)

// A node that has started and hears no leader has the state of its last snapshot at most: it writes no backup, until it has applied its log.
func TestNoBackupBeforeTheLogIsApplied(t *testing.T) {
	for _, snapshot := range []bool{false, true} {
		l := newLab(t, 3).formed()
		if snapshot {
			l.snapshot(0)
		}
		l.addDomain(l.leader(), "kept.example")
		for i := range 3 {
			l.until("all have it", func() bool { return l.hasDomain(i, "kept.example") })
		}
		for i := range 3 {
			l.kill(i)
		}
		l.restart(0)
		var file bytes.Buffer
		err := l.nodes[0].Backup(t.Context(), &file)
		if api.CodeOf(err) != api.CodeUnavailable || !strings.Contains(err.Error(), "holdline recover") || strings.Contains(err.Error(), "\n") || file.Len() > 0 {
			t.Errorf("with a snapshot %v: %d bytes, %v", snapshot, file.Len(), err)
		}
		l.restart(1)
		l.restart(2)
		l.until("it has applied its log", func() bool {
			file.Reset()
			return l.nodes[0].Backup(t.Context(), &file) == nil
		})
		state := fsm.New()
		if err := state.Restore(&file); err != nil || state.Config().Domain("kept.example") == nil {
			t.Errorf("with a snapshot %v: the backup is not whole: %v", snapshot, err)
		}
	}
}

// Nor does one that has neither a log nor a snapshot yet.
func TestNoBackupOfNothing(t *testing.T) {
	e := &engine{machine: fsm.New()}
	e.replica = &replica{machine: e.machine}
	if err := e.snapshot(t.Context(), io.Discard); api.CodeOf(err) != api.CodeUnavailable {
		t.Errorf("backup: %v", err)
	}
}

// An empty backup, as a release has written that did not refuse, empties no cluster.
func TestEmptyBackupIsNotRestored(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	l.addDomain(0, "kept.example")
	var file bytes.Buffer
	if _, err := fsm.New().Snapshot().WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	_, err := l.nodes[0].Restore(t.Context(), &file, api.RestoreRequest{Force: true})
	if api.CodeOf(err) != api.CodeInvalid || !strings.Contains(err.Error(), "holds nothing") || !l.hasDomain(0, "kept.example") {
		t.Errorf("restored: %v", err)
	}
}

// The state machine never gets raft's own entries, so nothing waits for them.
func TestLastCommand(t *testing.T) {
	const command, own = raft.LogCommand, raft.LogNoop
	for _, x := range []struct {
		want uint64
		log  []raft.LogType
	}{
		{0, nil},
		{0, []raft.LogType{raft.LogConfiguration, own}},
		{2, []raft.LogType{raft.LogConfiguration, command, own, raft.LogBarrier}},
		{3, []raft.LogType{own, command, command}},
	} {
		log := raft.NewInmemStore()
		for i, kind := range x.log {
			if err := log.StoreLog(&raft.Log{Index: uint64(i) + 1, Type: kind}); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := lastCommand(log); err != nil || got != x.want {
			t.Errorf("%v: %d, %v; want %d", x.log, got, err, x.want)
		}
	}
}
