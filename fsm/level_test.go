package fsm

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// TestOlderReleaseStops: a release that was put back after the cluster went on to a level it does not know neither applies nor restores.
func TestOlderReleaseStops(t *testing.T) {
	r := cluster(t)
	level := uint32(2)
	for _, uuid := range []string{"u1", "u2"} {
		if r.must(cmd(&pb.SetNodeState{Uuid: uuid, FeatureLevel: &level, Version: proto.String("next")})); r.Config().NodeByUUID(uuid).Version != "next" {
			t.Error("the release is not recorded")
		}
	}
	old := New()
	old.Know(1)
	for i, e := range r.log {
		b, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		old.Apply(uint64(i+1), b)
	}
	r.must(cmd(&pb.SetFeatureLevel{Level: 2}))
	last, err := proto.Marshal(r.log[len(r.log)-1])
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if stop, ok := recover().(FailStop); !ok || !strings.Contains(stop.Error(), "feature level 2") {
				t.Errorf("%v", stop)
			}
		}()
		old.Apply(r.index, last)
	}()
	late := New()
	late.Know(1)
	if err := late.Restore(bytes.NewReader(r.bytes())); err == nil || !strings.Contains(err.Error(), "feature level 2") {
		t.Errorf("restored: %v", err)
	}
	late.Know(2)
	if err := late.Restore(bytes.NewReader(r.bytes())); err != nil || late.Config().FeatureLevel != 2 {
		t.Error(err)
	}
}
