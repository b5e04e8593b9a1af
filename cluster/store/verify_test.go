package store

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// change writes a file anew as do leaves it.
func change(t *testing.T, path string, do func([]byte)) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	do(b)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// flip changes some bytes.
func flip(b []byte) {
	for i := range b {
		b[i] ^= 0xa5
	}
}

// damages are what a disk may do to a node's files.
var damages = []struct {
	name, file string
	do         func([]byte)
}{
	{"an entry in the middle", "log/*.wal", func(b []byte) { flip(b[bytes.Index(b, []byte("entry 5")):][:7]) }},
	{"a frame in the middle", "log/*.wal", func(b []byte) { flip(b[bytes.Index(b, []byte("entry 5"))-24:][:16]) }},
	{"a page of zeros in the middle", "log/*.wal", func(b []byte) { clear(b[bytes.Index(b, []byte("entry 4"))&^7:][:96]) }},
	{"the head of the log", "log/*.wal", func(b []byte) { flip(b[:segmentHeader]) }},
	{"the list of segments", "log/wal-meta.db", func(b []byte) { flip(b[8192:]) }},
	{"a page of votes", "raft.db", func(b []byte) { flip(b[8192:]) }},
	{"a vote", "raft.db", func(b []byte) {
		for at := bytes.Index(b, []byte("candidate-a")); at >= 0; at = bytes.Index(b, []byte("candidate-a")) {
			b[at] ^= 1 // every copy: which one is in use does not matter
		}
	}},
}

// Whatever part of a node's log the disk gives back otherwise, the node does not go on with it, and says what to do.
func TestDamageIsRefused(t *testing.T) {
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			appendLogs(t, s, 1, 10)
			if err := s.SetUint64([]byte(keyVoteTerm), 3); err != nil {
				t.Fatal(err)
			}
			if err := s.Set([]byte(keyVoteCand), []byte("candidate-a")); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			paths, err := filepath.Glob(filepath.Join(dir, d.file))
			if err != nil || len(paths) != 1 {
				t.Fatalf("%q, %v", paths, err)
			}
			change(t, paths[0], d.do)
			s, err = Open(Options{Dir: dir, Trouble: func(bool) {}})
			if err == nil {
				defer s.Close()
				_, err = s.Get([]byte(keyVoteCand)) // raft reads the vote as it starts
			}
			if err == nil || !strings.Contains(err.Error(), "remove this node from the cluster and join it again") || strings.Contains(err.Error(), "\n") {
				t.Errorf("opened and read: %v", err)
			}
		})
	}
}

// Any damage to any byte of a segment is told, or it is in the last batch, which may be one that was never acknowledged: that of one bit, and of all that lies between two places.
func TestEveryByteOfASegment(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	appendLogs(t, s, 1, 6)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "log/*.wal"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("%q, %v", paths, err)
	}
	b, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	b = b[:8192]
	m := s.marks.of(paths[0])
	end, unmarked := wholeBatches(b, m)
	last := bytes.Index(b, []byte("entry 6"))
	if verifySegment(b, m, 0) != nil || end <= last || last < 0 || unmarked {
		t.Fatalf("undamaged: %v, %d whole, %d, unmarked %v", verifySegment(b, m, 0), end, last, unmarked)
	}
	before, _ := wholeBatches(b[:last], m) // the commit frame of entry 5 is the last of these
	for i := range before {
		for bit := range 8 {
			b[i] ^= 1 << bit
			if verifySegment(b, m, 0) == nil {
				t.Errorf("bit %d of byte %d of %d may change unnoticed", bit, i, end)
			}
			b[i] ^= 1 << bit
		}
		holed := bytes.Clone(b)
		clear(holed[i:before])
		if verifySegment(holed, m, 0) == nil {
			t.Errorf("bytes %d to %d may be lost unnoticed", i, before)
		}
	}
}
