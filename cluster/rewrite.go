package cluster

import (
	"bytes"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"holdline/fsm"
	"holdline/fsm/pb"
)

// rewrite makes another state out of one, by the state machine's own commands, on a machine of its own: what the cluster has is
// untouched until the result, a snapshot, takes its place as a whole.
type rewrite struct {
	machine *fsm.Machine
	refused error
}

// newRewrite begins with the state of a snapshot.
func newRewrite(snapshot io.Reader) (*rewrite, error) {
	w := &rewrite{machine: fsm.New()}
	return w, w.machine.Restore(snapshot)
}

// apply applies commands in order, at the index and time of the state that was begun with. The first refusal is kept, and nothing
// is applied after it.
func (w *rewrite) apply(commands ...*pb.Command) {
	if w.refused != nil || len(commands) == 0 {
		return
	}
	entry, err := proto.Marshal(&pb.Entry{TimeMs: w.machine.Now(), Batches: []*pb.Batch{{Commands: commands}}})
	if err != nil {
		w.refused = fmt.Errorf("encode commands: %w", err)
		return
	}
	for _, r := range w.machine.Apply(w.machine.Applied(), entry) {
		if r.Code != pb.Code_OK {
			w.refused = fmt.Errorf("%s", r.Error)
			return
		}
	}
}

// snapshot returns the new state, or why there is none. It has been read back: installing a state that cannot be read would stop
// every node.
func (w *rewrite) snapshot() ([]byte, error) {
	if w.refused != nil {
		return nil, w.refused
	}
	var b bytes.Buffer
	if _, err := w.machine.Snapshot().WriteTo(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), fsm.New().Restore(bytes.NewReader(b.Bytes()))
}
