package cluster

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// A snapshot on its way to a peer leaves room on the link, and arrives whole.
func TestSnapshotsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := bytes.Repeat([]byte("state"), (paceBurst+paceRate)/5)
		began := time.Now()
		got, err := io.ReadAll(newPaced(t.Context(), bytes.NewReader(state), func() error { return nil }))
		if took := time.Since(began); err != nil || !bytes.Equal(got, state) || took < 990*time.Millisecond || took > 1010*time.Millisecond {
			t.Errorf("%d bytes of %d within %v, %v; want all within 1 s", len(got), len(state), took, err)
		}
	})
}

// What was begun in a term that is over is given up.
func TestSnapshotOfAnOldTermIsGivenUp(t *testing.T) {
	over := false
	r := newPaced(t.Context(), bytes.NewReader(make([]byte, paceBurst)), func() error {
		if over {
			return errTermOver
		}
		return nil
	})
	if n, err := r.Read(make([]byte, 4096)); n != 4096 || err != nil {
		t.Fatal(n, err)
	}
	over = true
	if n, err := io.Copy(io.Discard, r); n != 0 || !errors.Is(err, errTermOver) {
		t.Errorf("%d bytes more, %v", n, err)
	}
	transport := pacedTransport{term: func() uint64 { return 8 }}
	if err := transport.InstallSnapshot("", "", &raft.InstallSnapshotRequest{Term: 7}, nil, nil); !errors.Is(err, errTermOver) {
		t.Errorf("begun in an old term: %v", err)
	}
}
