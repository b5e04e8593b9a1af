package cluster

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
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

// TestSnapshotWaitsForItsFollower: that a snapshot did not get through is told when its follower is back, or not wanted any more; until then the follower counts as one that has not got it.
func TestSnapshotWaitsForItsFollower(t *testing.T) {
	listen := func(at string) *raft.NetworkTransport {
		t.Helper()
		n, err := raft.NewTCPTransport(at, nil, 1, time.Second, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		return n
	}
	follower := listen("127.0.0.1:0")
	at := follower.LocalAddr()
	if err := follower.Close(); err != nil {
		t.Fatal(err)
	}
	asked, wanted := make(chan bool, 100), true
	transport := pacedTransport{
		NetworkTransport: listen("127.0.0.1:0"), ctx: t.Context(), term: func() uint64 { return 7 }, under: &fillings{},
		wanted: func(id raft.ServerID, to raft.ServerAddress, term uint64) bool {
			asked <- true
			return wanted && id == "u2" && to == at && term == 7
		},
	}
	sent := make(chan error)
	send := func() {
		sent <- transport.InstallSnapshot("u2", at, &raft.InstallSnapshotRequest{Term: 7, Size: 5}, &raft.InstallSnapshotResponse{}, strings.NewReader("state"))
	}
	go send()
	for range 2 {
		select {
		case <-asked:
		case err := <-sent:
			t.Fatalf("it is told at once: %v", err)
		}
	}
	if u := transport.under.uuids(); !slices.Equal(u, []string{"u2"}) {
		t.Errorf("said to be filled: %q", u)
	}
	follower = listen(string(at))
	rpc := <-follower.Consumer()
	if beat, ok := rpc.Command.(*raft.AppendEntriesRequest); !ok || beat.Term != 7 || !isHeartbeat(beat) {
		t.Errorf("it is asked by %+v", rpc.Command)
	}
	rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
	if err := <-sent; err == nil || len(transport.under.uuids()) != 0 {
		t.Errorf("what did not get through: %v, %q", err, transport.under.uuids())
	}
	if err := follower.Close(); err != nil {
		t.Fatal(err)
	}
	wanted = false
	go send()
	if err := <-sent; err == nil {
		t.Error("a snapshot got through to nobody")
	}
}
