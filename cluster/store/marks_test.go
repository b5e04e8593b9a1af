package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// segmentOf is the one segment of a log.
func segmentOf(t *testing.T, dir string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, DirName, "*.wal"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("segments %q, %v", paths, err)
	}
	return paths[0]
}

// end is where a segment's whole batches end.
func (s *Store) end(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := wholeBatches(b, s.marks.of(path))
	return end
}

func wantLogs(t *testing.T, s *Store, last uint64) {
	t.Helper()
	if got, err := s.LastIndex(); err != nil || got != last {
		t.Fatalf("last entry %d, %v; want %d", got, err, last)
	}
	for i := uint64(1); i <= last; i++ {
		var l raft.Log
		if err := s.GetLog(i, &l); err != nil || l.Index != i {
			t.Fatalf("entry %d: %d, %v", i, l.Index, err)
		}
	}
}

// forgedBatches are commit frames with the right sum of what is between them, wherever in a segment they come to lie.
func forgedBatches() (b []byte) {
	for range 8 {
		for range 64 {
			b = append(b, frameCommit, 0, 0, 0)
			b = binary.LittleEndian.AppendUint32(b, crc32.Checksum([]byte("a batch?"), castagnoli))
			b = append(b, "a batch?"...)
		}
		b = append(b, 0)
	}
	return b
}

const sector = 512

// A loss of power tears a batch that holds what its sender has made look like whole batches: it is cut off all the same, whatever part of
// it is missing.
func TestForgedBatchIsNoBatch(t *testing.T) {
	for _, lost := range []string{"first", "middle", "last", "but one"} {
		t.Run(lost, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			appendLogs(t, s, 1, 10)
			path := segmentOf(t, dir)
			begin := s.end(t, path)
			if err := s.StoreLog(&raft.Log{Index: 11, Term: 1, Data: forgedBatches()}); err != nil {
				t.Fatal(err)
			}
			end := s.end(t, path)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			change(t, path, func(b []byte) {
				first, last := b[begin:(begin/sector+1)*sector], b[end/sector*sector:end]
				switch lost {
				case "first":
					clear(first)
				case "last":
					clear(last)
				case "middle":
					clear(b[(begin/sector+3)*sector:][:sector])
				case "but one":
					clear(b[begin : (end/sector-1)*sector])
					clear(last)
				}
			})
			s = open(t, dir)
			wantLogs(t, s, 10)
			if s.end(t, path) != begin {
				t.Errorf("whole up to %d, want %d", s.end(t, path), begin)
			}
			appendLogs(t, s, 11, 12)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir)
			defer s.Close()
			wantLogs(t, s, 12)
		})
	}
}

// The same with the first batch of a log, which nothing goes before that would show that marks are to be expected.
func TestForgedFirstBatchIsNoBatch(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.StoreLog(&raft.Log{Index: 1, Term: 1, Data: forgedBatches()}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	change(t, segmentOf(t, dir), func(b []byte) { clear(b[:sector]) })
	s = open(t, dir)
	wantLogs(t, s, 0)
	appendLogs(t, s, 1, 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	wantLogs(t, s, 3)
}

// forgedEntry is a batch of its own: an entry frame and the commit frame that goes with it.
func forgedEntry(t *testing.T, index uint64) []byte {
	t.Helper()
	var entry bytes.Buffer
	if err := new(wal.BinaryCodec).Encode(&raft.Log{Index: index, Term: 1, AppendedAt: time.Unix(0, 0)}, &entry); err != nil {
		t.Fatal(err)
	}
	b := binary.LittleEndian.AppendUint32([]byte{frameEntry, 0, 0, 0}, uint32(entry.Len()))
	b = append(b, entry.Bytes()...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	sum := crc32.Checksum(b, castagnoli)
	return binary.LittleEndian.AppendUint32(append(b, frameCommit, 0, 0, 0), sum)
}

// forgedEntries has them at every alignment.
func forgedEntries(t *testing.T, index uint64) (b []byte) {
	t.Helper()
	for range 8 {
		b = append(b, bytes.Repeat(forgedEntry(t, index), 64)...)
		b = append(b, 0)
	}
	return b
}

// What a torn batch has left does not become entries behind a shorter one that takes its place.
func TestTornRestIsNoEntry(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	appendLogs(t, s, 1, 10)
	path := segmentOf(t, dir)
	begin := s.end(t, path)
	if err := s.StoreLog(&raft.Log{Index: 11, Term: 1, Data: forgedEntries(t, 12)}); err != nil {
		t.Fatal(err)
	}
	forged := (begin/sector + 2) * sector
	for b := readFile(t, path); !bytes.HasPrefix(b[forged:], forgedEntry(t, 12)); forged += 8 {
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	change(t, path, func(b []byte) { clear(b[begin : (begin/sector+1)*sector]) })
	s = open(t, dir)
	const around = 2*frameHeader + 22 // what an entry of that size takes besides its data
	if err := s.StoreLog(&raft.Log{Index: 11, Term: 1, Data: make([]byte, forged-begin-around)}); err != nil {
		t.Fatal(err)
	}
	if end := s.end(t, path); end != forged {
		t.Fatalf("the shorter batch ends at %d, what is forged begins at %d", end, forged)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	wantLogs(t, s, 11)
}

// Nor does what is left of a batch that was written and not synced.
func TestRefusedRestIsNoEntry(t *testing.T) {
	dir := t.TempDir()
	disk := &brittleDisk{VFS: walfs.New()}
	s := openOn(t, dir, disk)
	appendLogs(t, s, 1, 10)
	disk.badSync.Store(true)
	if err := s.StoreLog(&raft.Log{Index: 11, Term: 1, Data: forgedEntries(t, 12)}); err == nil {
		t.Fatal("written, though the disk has failed")
	}
	disk.badSync.Store(false)
	appendLogs(t, s, 11, 11)
	path := segmentOf(t, dir)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if rest := bytes.TrimRight(b[s.end(t, path):], "\x00"); len(rest) != 0 {
		t.Errorf("%d bytes of what was refused are left", len(rest))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openOn(t, dir, disk)
	defer s.Close()
	wantLogs(t, s, 11)
}

// A sender that tries many marks may guess one. A single batch with a right one, amid others of a batch that was torn, does not make that look damaged.
func TestOneGuessedMarkIsNoBatch(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	appendLogs(t, s, 1, 10)
	path := segmentOf(t, dir)
	begin := s.end(t, path)
	if err := s.StoreLog(&raft.Log{Index: 11, Term: 1, Data: forgedEntries(t, 12)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	change(t, path, func(b []byte) {
		forged := forgedEntry(t, 12)
		at := (begin/sector + 2) * sector
		for ; !bytes.HasPrefix(b[at:], forged); at += 8 {
		}
		s.marks.of(path).put(b[at:][:len(forged)], int64(at))
		clear(b[begin : (begin/sector+1)*sector])
	})
	s = open(t, dir)
	defer s.Close()
	wantLogs(t, s, 10)
}

// What is written over at the start is told: it may be more than a batch that a loss of power has torn.
func TestSweepIsTold(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	appendLogs(t, s, 1, 10)
	path := segmentOf(t, dir)
	whole := s.end(t, path)
	appendLogs(t, s, 11, 11)
	lost := s.end(t, path) - whole
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	change(t, path, func(b []byte) { b[whole+frameHeader]++; b[whole+lost-1] |= 1 }) // no zeros at its end
	want := fmt.Sprintf("at=%d bytes=%d", whole, lost)
	for _, told := range []bool{true, false} {
		var log bytes.Buffer
		s, err := Open(Options{Dir: dir, Trouble: func(bool) {}, Logger: hclog.New(&hclog.LoggerOptions{Output: &log})})
		if err != nil {
			t.Fatal(err)
		}
		wantLogs(t, s, 10)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(log.String(), want) != told || strings.Contains(log.String(), "written over with zeros") != told {
			t.Errorf("want %q %v: %s", want, told, log.String())
		}
	}
}

// withoutMarks is how a release writes that does not know of them.
func withoutMarks(t *testing.T, dir string, first, last uint64) {
	t.Helper()
	dir = filepath.Join(dir, DirName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	log, err := wal.Open(dir, wal.WithSegmentFiler(segment.NewFiler(dir, walfs.New())), wal.WithSegmentSize(segmentSize))
	if err != nil {
		t.Fatal(err)
	}
	for i := first; i <= last; i++ {
		if err := log.StoreLog(&raft.Log{Index: i, Term: 1, Data: fmt.Append(nil, "entry ", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

// A log of a release without marks goes on under this one, and under that one again; damage to what either has written is told.
func TestMarksOverReleases(t *testing.T) {
	dir := t.TempDir()
	withoutMarks(t, dir, 1, 10)
	s := open(t, dir)
	wantLogs(t, s, 10)
	appendLogs(t, s, 11, 20)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, unmarked := wholeBatches(readFile(t, segmentOf(t, dir)), s.marks.of(segmentOf(t, dir))); s.marks.of(segmentOf(t, dir)) != nil || !unmarked {
		t.Error("a segment from before there were marks is marked")
	}
	refusesDamage(t, dir, "entry 5", "entry 15")

	dir = t.TempDir()
	s = open(t, dir)
	appendLogs(t, s, 1, 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	withoutMarks(t, dir, 11, 20)
	refusesDamage(t, dir, "entry 5", "entry 15")
	s = open(t, dir)
	wantLogs(t, s, 20)
	appendLogs(t, s, 21, 30)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	wantLogs(t, s, 30)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	refusesDamage(t, dir, "entry 5", "entry 15", "entry 25")
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// refusesDamage damages each entry in turn, and mends it.
func refusesDamage(t *testing.T, dir string, entries ...string) {
	t.Helper()
	path := segmentOf(t, dir)
	whole := readFile(t, path)
	for _, entry := range entries {
		change(t, path, func(b []byte) { flip(b[bytes.Index(b, []byte(entry)):][:7]) })
		if s, err := Open(Options{Dir: dir, Trouble: func(bool) {}}); err == nil {
			t.Errorf("%s is damaged, and the log was opened", entry)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The last batch of a segment that is sealed was acknowledged: damage to it is told, though nothing follows it in its file.
func TestDamageAtTheEndOfASealedSegment(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for i := range uint64(18) {
		if err := s.StoreLog(&raft.Log{Index: i + 1, Term: 1, Data: bytes.Repeat([]byte{byte(i + 1)}, 1<<20)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, DirName, "*.wal"))
	if err != nil || len(paths) != 2 {
		t.Fatalf("segments %q, %v", paths, err)
	}
	change(t, paths[0], func(b []byte) { flip(b[s.end(t, paths[0])-1<<19:][:1]) }) // in its last entry
	if s, err := Open(Options{Dir: dir, Trouble: func(bool) {}}); err == nil || !strings.Contains(err.Error(), "join it again") {
		t.Errorf("opened: %v", err)
		if err == nil {
			_ = s.Close()
		}
	}
}

// memoryFiles is where FuzzTorn has its segment.
type memoryFiles struct {
	types.VFS
	marks *marks
	b     []byte
}

type memoryFile struct{ *memoryFiles }

func (m *memoryFiles) Create(_, name string, _ uint64) (types.WritableFile, error) {
	return &segmentFile{WritableFile: memoryFile{m}, marks: m.marks.of(name)}, nil
}

func (m memoryFile) WriteAt(b []byte, at int64) (int, error) { return copy(m.b[at:], b), nil }

func (m memoryFile) ReadAt(b []byte, at int64) (int, error) { return copy(b, m.b[at:]), nil }

func (memoryFile) Sync() error { return nil }

func (memoryFile) Close() error { return nil }

// FuzzTorn: whatever an entry holds, and whichever sectors of its batch a loss of power has kept, the batch is cut off and no damage.
func FuzzTorn(f *testing.F) {
	f.Add(forgedBatches()[:1100], uint64(0xfffffffffffffffe))
	f.Add(forgedBatches()[:80], uint64(0))
	f.Add([]byte("v=0\r\n"), uint64(0))
	f.Fuzz(func(t *testing.T, body []byte, kept uint64) {
		if len(body) > 12<<10 {
			return
		}
		m := &marks{k0: 0x0123456789abcdef, k1: 0xfedcba9876543210}
		files := &memoryFiles{marks: m, b: make([]byte, 16<<10)}
		info := types.SegmentInfo{ID: 1, BaseIndex: 1, MinIndex: 1, SizeLimit: 1 << 20}
		w, err := segment.NewFiler("", files).Create(info)
		if err != nil {
			t.Fatal(err)
		}
		put := func(index uint64, data []byte) int {
			if err := w.Append([]types.LogEntry{{Index: index, Data: data}}); err != nil {
				t.Fatal(err)
			}
			end, _ := wholeBatches(files.b, m.of(segment.FileName(info)))
			return end
		}
		put(1, []byte("before"))
		begin := put(2, []byte("it"))
		end := put(3, body)
		torn := false
		for at, i := begin, 0; at < end; i++ {
			next := min((at/sector+1)*sector, end)
			if kept>>(i%64)&1 == 0 {
				torn = torn || len(bytes.TrimRight(files.b[at:next], "\x00")) > 0
				clear(files.b[at:next])
			}
			at = next
		}
		if err := verifySegment(files.b, m.of(segment.FileName(info)), 0); err != nil {
			t.Fatal(err)
		}
		if whole, _ := wholeBatches(files.b, m.of(segment.FileName(info))); torn && whole != begin {
			t.Errorf("whole up to %d, want %d", whole, begin)
		}
	})
}
