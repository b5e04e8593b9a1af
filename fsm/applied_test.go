package fsm

import (
	"fmt"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// Whoever has seen an index must read what it changed: linearizable reads wait for the index and then read the configuration.
func TestAppliedPromisesTheConfiguration(t *testing.T) {
	m := New()
	const entries = 20_000
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				index := m.Applied()
				if got := m.Config().SettingInt("test.value", 0); got < int64(index) {
					t.Errorf("index %d is applied, but the value is that of %d", index, got)
					return
				}
				if index == entries {
					return
				}
			}
		})
	}
	for i := uint64(1); i <= entries; i++ {
		raw, err := proto.Marshal(&pb.Entry{TimeMs: int64(i), Batches: []*pb.Batch{{Commands: []*pb.Command{
			{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: "test.value", Value: fmt.Sprint(i)}}},
		}}}})
		if err != nil {
			t.Fatal(err)
		}
		m.Apply(i, raw)
	}
	readers.Wait()
}
