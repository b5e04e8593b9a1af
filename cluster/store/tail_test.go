package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
)

// A crash between the sealing of a segment and the note of it: the log goes on where it was.
func TestCrashAfterSealing(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, DirName, metaName)
	s := open(t, dir)
	put := func(i uint64) {
		t.Helper()
		if err := s.StoreLog(&raft.Log{Index: i, Term: 1, Data: make([]byte, 1<<20)}); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
	again := func() {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint64(15) {
		put(i + 1)
	}
	again()
	before, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	put(16) // seals the first segment
	again() // the note of it may have been taken, or not
	if err := os.WriteFile(list, before, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	put(17)
	put(18)
	again()
	if segments, err := filepath.Glob(filepath.Join(dir, DirName, "*.wal")); err != nil || len(segments) != 2 {
		t.Errorf("segments %q, %v; want a sealed one and the next", segments, err)
	}
	s = open(t, dir)
	defer s.Close()
	for i := range uint64(18) {
		var l raft.Log
		if err := s.GetLog(i+1, &l); err != nil || l.Index != i+1 {
			t.Fatalf("entry %d: %d, %v", i+1, l.Index, err)
		}
	}
}
