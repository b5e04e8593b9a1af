package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
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

func appendLogs(t *testing.T, s *Store, first, last uint64) {
	t.Helper()
	for i := first; i <= last; i++ {
		if err := s.StoreLog(&raft.Log{Index: i, Term: 1, Data: fmt.Append(nil, "entry ", i)}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLogSurvives(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	appendLogs(t, s, 1, 20)
	if err := s.DeleteRange(16, 20); err != nil { // what a new leader overwrites
		t.Fatal(err)
	}
	if err := s.DeleteRange(1, 5); err != nil { // what a snapshot stands for
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	first, err1 := s.FirstIndex()
	last, err2 := s.LastIndex()
	if first != 6 || last != 15 || err1 != nil || err2 != nil {
		t.Fatalf("entries %d to %d, %v, %v", first, last, err1, err2)
	}
	var l raft.Log
	if err := s.GetLog(12, &l); err != nil || string(l.Data) != "entry 12" {
		t.Errorf("%q, %v", l.Data, err)
	}
	if err := s.GetLog(16, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("an entry that was deleted: %v", err)
	}
	appendLogs(t, s, 16, 17)
}

// What a loss of power leaves of an entry that was being written is not an entry; what was acknowledged is.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	appendLogs(t, s, 1, 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, DirName, "*.wal"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("segments %q, %v", paths, err)
	}
	segment, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	end := bytes.LastIndex(segment, []byte("entry 10"))
	for i := end; i < end+64; i++ {
		segment[i] ^= 0x55
	}
	if err := os.WriteFile(paths[0], segment, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	if last, err := s.LastIndex(); err != nil || last != 9 {
		t.Errorf("last entry %d, %v", last, err)
	}
	appendLogs(t, s, 10, 11)
}

// A segment that could not be made on a full disk does not stop the log for good: a new leader's entries replace others when there is room.
func TestSegmentLeftByAFullDisk(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	defer s.Close()
	appendLogs(t, s, 1, 10)
	for id := range 8 { // whichever number comes next
		left := filepath.Join(dir, DirName, segment.FileName(types.SegmentInfo{BaseIndex: 9, ID: uint64(id)}))
		if err := os.WriteFile(left, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DeleteRange(9, 10); err != nil {
		t.Fatal(err)
	}
	appendLogs(t, s, 9, 12)
	if last, err := s.LastIndex(); err != nil || last != 12 {
		t.Errorf("last entry %d, %v", last, err)
	}
}

// A node that has voted and lost its log must not go on with an empty one.
func TestLostLogIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, DirName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir, Trouble: func(bool) {}}); err == nil || !strings.Contains(err.Error(), "remove this node from the cluster and join it again") {
		t.Errorf("opened: %v", err)
	}
	if err := Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
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

// A stopped process finds its timers late when it goes on; a disk that hangs lets them run.
func TestWatchTellsAStoppedProcessFromAHungDisk(t *testing.T) {
	alarms := 0
	w := newDiskWatch(300*time.Millisecond, func(on bool) {
		if on {
			alarms++
		}
	})
	write := &diskWrite{w: w, start: time.Now().Add(-10 * time.Second)} // it was away for ten seconds …
	write.timer = time.AfterFunc(time.Hour, write.tick)
	write.tick() // … and sees one tick, late
	write.end()
	if alarms != 0 || w.slow() || w.p99() > 300*time.Millisecond {
		t.Errorf("after a stop of the process: %d alarms, slow %v, p99 %v; want none", alarms, w.slow(), w.p99())
	}
	hung := &diskWrite{w: w, start: time.Now().Add(-10 * time.Second)}
	hung.timer = time.AfterFunc(time.Hour, hung.tick)
	for range watchSteps {
		hung.tick()
	}
	if alarms != 1 || !w.slow() {
		t.Errorf("while the disk hangs: %d alarms, slow %v; want 1, true", alarms, w.slow())
	}
	hung.end()
	if w.p99() < 9*time.Second {
		t.Errorf("p99 after a hang of 10 s: %v", w.p99())
	}
}

// TestFailingIsMoreThanAHiccup: a disk that hung once is slow for a while, but no reason to move addresses away from its node.
func TestFailingIsMoreThanAHiccup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newDiskWatch(60*time.Millisecond, func(bool) {})
		hang := func(d time.Duration) {
			end := w.begin()
			time.Sleep(d)
			end()
		}
		want := func(slow, failing bool, when string) {
			t.Helper()
			if w.slow() != slow || w.failing() != failing {
				t.Errorf("%s: slow %v, failing %v; want %v, %v", when, w.slow(), w.failing(), slow, failing)
			}
		}
		hang(50 * time.Millisecond)
		want(false, false, "after a write that took long, but not too long")
		hang(400 * time.Millisecond)
		want(true, false, "after a write that hung for a moment")
		time.Sleep(slowMemory)
		want(false, false, "ten seconds later")

		end := w.begin()
		time.Sleep(hungLong / 2)
		want(true, false, "while a write hangs, for half a second so far")
		time.Sleep(hungLong)
		want(true, true, "while a write hangs for more than a second")
		end()
		want(true, false, "after it")

		time.Sleep(slowMemory)
		for range hungOften {
			want(w.slow(), false, "before writes have hung time and again")
			hang(100 * time.Millisecond)
		}
		want(true, true, "after writes have hung time and again")
		time.Sleep(slowMemory)
		want(false, false, "ten seconds after that")
	})
}
