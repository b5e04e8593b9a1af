package store

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"

	"github.com/dchest/siphash"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/types"
)

// What strangers send is in the log, byte for byte: an INVITE's body may hold what looks like frames of a segment, sums and all. So that
// nobody but this node can make one that counts, each commit frame that it writes bears a mark in the three bytes that raft-wal leaves zero and never
// reads: a MAC, by a key of this log alone, over where the frame lies and the sum it holds. Three bytes are few, but two frames
// together are what counts, or the last one that was written (batchAfter), and the key never leaves the node.
//
// Segments from before there was a key bear no marks and are read as ever; what is written to them stays unmarked. A release that knows nothing of
// marks reads marked segments, for raft-wal does not look at them, and goes on in them without.
type marks struct {
	k0, k1 uint64
	first  uint64 // the number of the first segment that has marks
}

// keyMarks is where raft-wal's list of segments keeps them, in the bucket it lends out: who has lost it has lost the log.
const keyMarks = "holdline.marks"

const marksSize = 3 * 8

// openTables reads raft-wal's list of segments and the log's marks. It makes what there is not yet.
func openTables(dir string) (list types.PersistentState, m *marks, err error) {
	var db metadb.BoltMetaDB
	if list, err = db.Load(dir); err != nil {
		return list, nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	sealed, err := db.GetStable([]byte(keyMarks))
	if err != nil {
		return list, nil, err
	}
	if len(sealed) == 0 {
		sealed = newMarks(list.NextSegmentID)
		if err := db.SetStable([]byte(keyMarks), sealed); err != nil {
			return list, nil, fmt.Errorf("write the key of the log's marks: %w", err)
		}
	}
	m, err = decodeMarks(sealed)
	return list, m, err
}

// newMarks makes a key, for segments from that number on.
func newMarks(first uint64) (sealed []byte) {
	key := make([]byte, marksSize-8, marksSize)
	_, _ = rand.Read(key) // never fails: crypto/rand
	return seal(binary.LittleEndian.AppendUint64(key, first))
}

func decodeMarks(sealed []byte) (*marks, error) {
	b, err := unseal([]byte(keyMarks), sealed)
	if err != nil {
		return nil, err
	}
	if len(b) != marksSize {
		return nil, damagedRecord([]byte(keyMarks))
	}
	word := binary.LittleEndian.Uint64
	return &marks{k0: word(b), k1: word(b[8:]), first: word(b[16:])}, nil
}

// of returns the marks of the segment in that file; nil: it has none.
func (m *marks) of(path string) *segmentMarks {
	var first, number uint64
	if _, err := fmt.Sscanf(filepath.Base(path), "%020d-%016x", &first, &number); err != nil || number < m.first {
		return nil
	}
	return &segmentMarks{m.k0, m.k1, number}
}

// segmentMarks are those of one segment.
type segmentMarks struct{ k0, k1, number uint64 }

const markBytes = 0xffffff << 8 // the three bytes after a frame's type

// of is the first word of a commit frame that lies at so many bytes and holds that sum.
func (s *segmentMarks) of(at int64, sum uint32) uint32 {
	var b [8 + 8 + crc32.Size]byte
	binary.LittleEndian.PutUint64(b[:], s.number)
	binary.LittleEndian.PutUint64(b[8:], uint64(at))
	binary.LittleEndian.PutUint32(b[16:], sum)
	mark := uint32(siphash.Hash(s.k0, s.k1, b[:])) & markBytes
	if mark == 0 {
		mark = 1 << 8 // 0 is none
	}
	return mark | frameCommit
}

// put marks the commit frame that ends a batch, which is to lie at so many bytes.
func (s *segmentMarks) put(batch []byte, at int64) {
	end := len(batch) - frameHeader
	if end < 0 || binary.LittleEndian.Uint32(batch[end:]) != frameCommit {
		return
	}
	frame := batch[end:]
	binary.LittleEndian.PutUint32(frame, s.of(at+int64(end), binary.LittleEndian.Uint32(frame[4:])))
}

// isCommit says whether a commit frame lies there, and whether it is marked. One whose mark is wrong is none.
func (s *segmentMarks) isCommit(b []byte, at int) (is, marked bool) {
	word := binary.LittleEndian.Uint32(b[at:])
	switch {
	case word == frameCommit:
		return true, false
	case byte(word) != frameCommit || s == nil:
		return false, false
	}
	return word == s.of(int64(at), binary.LittleEndian.Uint32(b[at+4:])), true
}
