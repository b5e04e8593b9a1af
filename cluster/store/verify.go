package store

import (
	"bytes"
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

// triesEach is how many beginnings of a batch are tried at most for one commit frame: it has one, but a sender may have written more.
const triesEach = 4

// batchAfter looks for a whole batch beyond end, and returns where it begins: 0 if there is none. A batch is a chain of frames up to a commit frame with their sum. A
// sender may have written such a thing into what a loss of power has torn, so that in a segment with marks the commit frame must bear one (unmarked: need not), and one mark alone,
// which can be guessed, is not enough of the many that a sender may try: either another one lies right before the batch, or it is the last that was written, of which there is one.
func batchAfter(b []byte, end int, m *segmentMarks, unmarked bool) int {
	commits := func(at int) bool {
		is, marked := m.isCommit(b, at)
		return is && (marked || unmarked)
	}
	begin := max(end, segmentHeader)
	written := len(bytes.TrimRight(b, "\x00"))
	ends, tries := chains(b, begin), map[int]int{}
	for i, at := range ends {
		from := begin + i*8
		if int(at) == from || tries[int(at)] == triesEach || !commits(int(at)) {
			continue
		}
		if int(at)+frameHeader < written && !commits(from-frameHeader) {
			continue
		}
		tries[int(at)]++
		if crc32.Checksum(b[from:at], castagnoli) == binary.LittleEndian.Uint32(b[at+4:]) {
			return from
		}
	}
	return 0
}

// chains follows, from each multiple of 8 bytes behind begin, frames of entries for as long as they fit, and returns where the first lies that is none: right there, if
// none begins there.
func chains(b []byte, begin int) []uint32 {
	n := max(0, (len(b)-begin)/frameHeader)
	ends := make([]uint32, n)
	for i := n - 1; i >= 0; i-- {
		at := begin + i*8
		ends[i] = uint32(at)
		switch binary.LittleEndian.Uint32(b[at:]) {
		case frameEntry, frameIndex:
			if next := i + 1 + (int(binary.LittleEndian.Uint32(b[at+4:]))+7)/8; next < n {
				ends[i] = ends[next]
			}
		}
	}
	return ends
}
