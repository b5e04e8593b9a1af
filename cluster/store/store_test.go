package store

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(Options{Dir: dir, Trouble: func(bool) {}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A crash between raft's two writes of a vote must leave the old vote whole (hashicorp/raft #661).
func TestVoteIsOneWrite(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	vote := func(term uint64, candidate string) {
		t.Helper()
		if err := s.SetUint64([]byte(keyVoteTerm), term); err != nil {
			t.Fatal(err)
		}
		if candidate == "" {
			return // crashed here
		}
		if err := s.Set([]byte(keyVoteCand), []byte(candidate)); err != nil {
			t.Fatal(err)
		}
	}
	vote(7, "a")
	vote(8, "")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	term, err := s.GetUint64([]byte(keyVoteTerm))
	if err != nil || term != 7 {
		t.Errorf("term %d, %v", term, err)
	}
	candidate, err := s.Get([]byte(keyVoteCand))
	if err != nil || string(candidate) != "a" {
		t.Errorf("candidate %q, %v", candidate, err)
	}
}

func TestEmptyStoreLooksEmptyToRaft(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	if has, err := raft.HasExistingState(s, s, raft.NewInmemSnapshotStore()); err != nil || has {
		t.Errorf("has %v, %v", has, err)
	}
	if _, err := s.GetUint64([]byte(keyVoteTerm)); err == nil || err.Error() != "not found" {
		t.Errorf("raft expects the error 'not found', got %v", err)
	}
}

func TestSlowWriteRaisesAlarm(t *testing.T) {
	var on atomic.Int32
	raised := make(chan struct{})
	w := newDiskWatch(time.Millisecond, func(up bool) {
		if up {
			on.Add(1)
			close(raised)
		} else {
			on.Add(-1)
		}
	})
	end := w.begin()
	<-raised // while the write still runs
	if !w.slow() || on.Load() != 1 {
		t.Error("no alarm during the write")
	}
	end()
	if on.Load() != 0 || !w.slow() || w.p99() < time.Millisecond {
		t.Errorf("after it: alarms %d, slow %v, p99 %v", on.Load(), w.slow(), w.p99())
	}
}
