package cluster

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/fsm/pb"
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

// A node that has half of its log applied has half of the node table: it goes by the one on its disk, and does not take itself for removed.
func TestNodesWhileTheLogIsApplied(t *testing.T) {
	row := func(number uint32, uuid string) *pb.Node {
		return &pb.Node{Uuid: uuid, Number: number, Name: fmt.Sprint("n", number), Listen: fmt.Sprintf("10.77.0.%d:7700", number), PublicKey: make([]byte, 32), Voter: true}
	}
	first, self := row(1, "11111111-1111-1111-1111-111111111111"), row(2, "22222222-2222-2222-2222-222222222222")
	m := fsm.New()
	entry, err := proto.Marshal(&pb.Entry{TimeMs: 1, Batches: []*pb.Batch{{Commands: []*pb.Command{{Op: &pb.Command_PutNode{PutNode: &pb.PutNode{Node: first}}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	if r := m.Apply(7, entry); r[0].Code != pb.Code_OK {
		t.Fatal(r)
	}
	e := &engine{machine: m, members: &memberTable{dir: &dataDir{path: t.TempDir()}, logger: testLogger(t)}}
	if v := m.Config().Version; v != 1 || !e.members.set(1, membersOf([]*pb.Node{first})) {
		t.Fatalf("the table of version %d was not taken", v)
	}
	e.membership = &membership{identity: identity{UUID: self.Uuid}}
	if e.listed(e.nodes(m.Config())) {
		t.Error("it is a member by nobody's table")
	}
	if !e.members.set(2, membersOf([]*pb.Node{first, self})) {
		t.Fatal("the newer table was not taken")
	}
	for toApply, want := range map[uint64]int{8: 2, 7: 1} {
		e.toApply = toApply
		got := e.nodes(m.Config())
		if len(got) != want || !e.listed(got) {
			t.Errorf("with entries up to %d on disk: %d nodes, want %d; a member: %v", toApply, len(got), want, e.listed(got))
		}
	}
}
