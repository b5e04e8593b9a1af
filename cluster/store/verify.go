package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
	"go.etcd.io/bbolt"
)

// A disk may give back other bytes than were written. Neither raft-wal nor bbolt looks at more than the last batch and the two
// meta pages when it opens: a log damaged further back would be cut off there, or applied as it is, and the node would go on
// without what it has acknowledged. So all of it is read once, before it is opened.

// verifyTables reads the votes and the list of segments. A file that is not there is somebody else's to judge, here and below.
func verifyTables(dir string) error {
	for _, path := range []string{filepath.Join(dir, FileName), filepath.Join(dir, DirName, metaName)} {
		if err := verifyBolt(path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// verifySegments reads the log.
func verifySegments(dir string, list types.PersistentState, m *marks) error {
	sealed := map[string]uint64{} // where the index of a segment is that nothing more was written to
	for _, s := range list.Segments {
		if !s.SealTime.IsZero() {
			sealed[segment.FileName(s)] = s.IndexStart
		}
	}
	segments, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil {
		return err
	}
	for _, path := range segments {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := verifySegment(b, m.of(path), sealed[filepath.Base(path)]); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// metaName is raft-wal's list of segments.
const metaName = "wal-meta.db"

// verifyBolt walks through every page in use. bbolt panics at a page that is none, and a page number beyond the file is a fault.
func verifyBolt(path string) (err error) {
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it is damaged: %v", r)
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(_, _ []byte) error { return nil })
		})
	})
}

// The parts of a segment of raft-wal (segment/format.go): a header, then frames of 8 bytes and their content, padded to 8. Each batch
// of entries ends in a commit frame with the CRC-32C of all since the one before, the header included in the first; its own bytes are in no sum.
const (
	segmentHeader = 32
	frameHeader   = 8
	frameEntry    = 1
	frameIndex    = 2
	frameCommit   = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// verifySegment tells damage from what a crash may leave: a last batch that is not whole was never acknowledged, but no whole batch
// can come after it; nor is there any such batch in a segment that is sealed. m are the segment's marks, nil if it has none, index is where its
// index lies if it is sealed.
func verifySegment(b []byte, m *segmentMarks, index uint64) error {
	whole, unmarked := wholeBatches(b, m)
	if at := batchAfter(b, whole, m, unmarked || m == nil); at != 0 {
		return fmt.Errorf("it is damaged at byte %d or after: entries that follow at %d are whole", whole, at)
	}
	if index > 0 && uint64(whole) <= index {
		return fmt.Errorf("it is damaged at byte %d or after: its index at %d was whole", whole, index)
	}
	return nil
}

// wholeBatches returns where the batches end that follow each other from the beginning and have the right sum, and whether one of them is
// unmarked: then a release without marks has written here.
func wholeBatches(b []byte, m *segmentMarks) (end int, unmarked bool) {
	for at := segmentHeader; at+frameHeader <= len(b); {
		size := int64(binary.LittleEndian.Uint32(b[at+4:]))
		switch word := binary.LittleEndian.Uint32(b[at:]); word {
		case frameEntry, frameIndex:
			next := int64(at) + frameHeader + (size+7)/8*8
			if next > int64(len(b)) {
				return end, unmarked
			}
			at = int(next)
		default:
			is, marked := m.isCommit(b, at)
			if !is || crc32.Checksum(b[end:at], castagnoli) != uint32(size) {
				return end, unmarked
			}
			unmarked = unmarked || !marked
			at += frameHeader
			end = at
		}
	}
	return end, unmarked
}

// batchAfter looks for a whole batch beyond end, and returns where it begins: 0 if there is none. Any 8 bytes may look like a commit
// frame; two of them with the right sum of what is between are no accident. But a sender may have meant them to be there, so that unmarked
// ones count only where no others are to be expected.
func batchAfter(b []byte, end int, m *segmentMarks, unmarked bool) int {
	var recent [4]int // where what looked like commit frames ended
	for at := (end + 7) / 8 * 8; at+frameHeader <= len(b); at += 8 {
		if is, marked := m.isCommit(b, at); !is || !marked && !unmarked {
			continue
		}
		for _, from := range recent {
			if from != 0 && from < at && crc32.Checksum(b[from:at], castagnoli) == binary.LittleEndian.Uint32(b[at+4:]) {
				return from
			}
		}
		copy(recent[1:], recent[:])
		recent[0] = at + frameHeader
	}
	return 0
}
