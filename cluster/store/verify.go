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

	"go.etcd.io/bbolt"
)

// A disk may give back other bytes than were written. Neither raft-wal nor bbolt looks at more than the last batch and the two
// meta pages when it opens: a log damaged further back would be cut off there, or applied as it is, and the node would go on
// without what it has acknowledged. So all of it is read once, before it is opened.

// verify reads every file of a store. A file that is not there is somebody else's to judge.
func verify(dir string) error {
	for _, path := range []string{filepath.Join(dir, FileName), filepath.Join(dir, DirName, metaName)} {
		if err := verifyBolt(path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	segments, err := filepath.Glob(filepath.Join(dir, DirName, "*.wal"))
	if err != nil {
		return err
	}
	for _, path := range segments {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := verifySegment(b); err != nil {
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
// of entries ends in a commit frame with the CRC-32C of all since the one before, the header included in the first.
const (
	segmentHeader = 32
	frameHeader   = 8
	frameEntry    = 1
	frameIndex    = 2
	frameCommit   = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// verifySegment tells damage from what a crash may leave: a last batch that is not whole was never acknowledged, but no whole batch
// can come after it.
func verifySegment(b []byte) error {
	whole := wholeBatches(b)
	if at := batchAfter(b, whole); at != 0 {
		return fmt.Errorf("it is damaged at byte %d or after: entries that follow at %d are whole", whole, at)
	}
	return nil
}

// wholeBatches returns where the batches end that follow each other from the beginning and have the right sum.
func wholeBatches(b []byte) (end int) {
	for at := segmentHeader; at+frameHeader <= len(b); {
		if b[at+1]|b[at+2]|b[at+3] != 0 {
			return end
		}
		size := int64(binary.LittleEndian.Uint32(b[at+4:]))
		switch b[at] {
		case frameEntry, frameIndex:
			next := int64(at) + frameHeader + (size+7)/8*8
			if next > int64(len(b)) {
				return end
			}
			at = int(next)
		case frameCommit:
			if crc32.Checksum(b[end:at], castagnoli) != uint32(size) {
				return end
			}
			at += frameHeader
			end = at
		default:
			return end
		}
	}
	return end
}

// batchAfter looks for a whole batch beyond end, and returns where it begins: 0 if there is none. Any 8 bytes may look like a commit
// frame; two of them with the right sum of what is between are no accident.
func batchAfter(b []byte, end int) int {
	var recent [4]int // where what looked like commit frames ended
	for at := (end + 7) / 8 * 8; at+frameHeader <= len(b); at += 8 {
		if b[at] != frameCommit || b[at+1]|b[at+2]|b[at+3] != 0 {
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
