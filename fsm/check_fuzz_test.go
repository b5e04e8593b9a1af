package fsm

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// FuzzCheckCommand: a command that the leader lets in never stops the machine, whatever is in it.
func FuzzCheckCommand(f *testing.F) {
	for _, e := range sample(f).log {
		for _, b := range e.Batches {
			for _, c := range b.Commands {
				text, err := proto.Marshal(c)
				if err != nil {
					f.Fatal(err)
				}
				f.Add(text)
			}
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var c pb.Command
		if proto.Unmarshal(text, &c) != nil || CheckCommand(&c) != nil {
			return
		}
		m := New()
		for _, e := range [][]*pb.Command{{&c}, {setting("a"), &c}} {
			entry, err := proto.Marshal(&pb.Entry{TimeMs: 5, Batches: []*pb.Batch{{Commands: e}}})
			if err != nil {
				t.Fatal(err)
			}
			if failStop(m, entry) {
				t.Fatalf("%v was let in and stopped the machine", &c)
			}
		}
		checkDerived(t, m)
	})
}
