package cluster

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
)

// A snapshot reaches the disk as it is written, never more than two steps behind, and is whole.
func TestSnapshotIsFlushedAsItGrows(t *testing.T) {
	dir := t.TempDir()
	store, err := raft.NewFileSnapshotStore(dir, 1, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var begun, waited int64
	s := snapshotStore{store, filepath.Join(dir, dirSnapshots), func(f *os.File, from, to int64, wait bool) error {
		if wait {
			if from != waited {
				t.Errorf("waits for %d to %d after %d", from, to, waited)
			}
			waited = to
		} else {
			if from != begun {
				t.Errorf("begins %d to %d after %d", from, to, begun)
			}
			begun = to
		}
		return flushRange(f, from, to, wait)
	}, nil, 0}
	_, transport := raft.NewInmemTransport("")
	sink, err := s.Create(raft.SnapshotVersionMax, 7, 1, raft.Configuration{}, 1, transport)
	if err != nil {
		t.Fatal(err)
	}
	state := bytes.Repeat([]byte("0123456789abcdef"), 5*flushStep/16)
	for at := 0; at < len(state); at += 256 << 10 {
		if _, err := sink.Write(state[at : at+256<<10]); err != nil {
			t.Fatal(err)
		}
		if behind := int64(at) - waited; behind > 2*flushStep {
			t.Fatalf("%d bytes are ahead of the disk", behind)
		}
	}
	if err := sink.Close(); err != nil || begun != int64(len(state)) {
		t.Errorf("%d bytes begun of %d, %v", begun, len(state), err)
	}
	_, r, err := s.Open(sink.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, state) {
		t.Errorf("%d bytes come back of %d, %v", len(got), len(state), err)
	}
}
