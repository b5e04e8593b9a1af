package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft-wal/types"
)

// files is where raft-wal keeps its segments. On a full disk raft-wal alone does not find back: a segment that could not be made leaves a
// file behind, over which it falls ever after, and a log whose last segment is sealed without a next one takes no entry before a
// restart. Here a segment begins in a spare one, nothing is left of what could not be made, and none is sealed before there is a next.
type files struct {
	types.VFS
	spares *spares
	marks  *marks
}

var _ types.VFS = files{}

// Create implements types.VFS. Segments are numbered anew, so a file of that name is what a failure has left.
func (f files) Create(dir, name string, size uint64) (types.WritableFile, error) {
	path := filepath.Join(dir, name)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if f.spares.take(path) {
		return f.OpenWriter(dir, name)
	}
	w, err := f.VFS.Create(dir, name, size)
	if err != nil {
		if left := os.Remove(path); left != nil && !errors.Is(left, fs.ErrNotExist) {
			err = errors.Join(err, left)
		}
		return nil, err
	}
	return &segmentFile{WritableFile: w, spares: f.spares, marks: f.marks.of(name)}, nil
}

// OpenWriter implements types.VFS.
func (f files) OpenWriter(dir, name string) (types.WritableFile, error) {
	w, err := f.VFS.OpenWriter(dir, name)
	if err != nil {
		return nil, err
	}
	return &segmentFile{WritableFile: w, spares: f.spares, marks: f.marks.of(name)}, nil
}

// Delete implements types.VFS.
func (f files) Delete(dir, name string) error {
	err := f.VFS.Delete(dir, name)
	f.spares.refill() // there may be room again
	return err
}

// segmentFile is a segment that is being written, by one goroutine at a time.
type segmentFile struct {
	types.WritableFile
	spares *spares
	marks  *segmentMarks // nil: it has none
	tried  int64         // the end of what has been written since the last sync
}

// WriteAt implements io.WriterAt. What reaches beyond the segment's size seals it, and nothing else does but a cut of the log's end, which
// Store.DeleteRange looks after. An entry that is refused can be written later; a sealed segment cannot be opened again.
//
// b is a whole batch, in a buffer that raft-wal has added up and looks at no more: its commit frame is marked in place.
func (s *segmentFile) WriteAt(b []byte, at int64) (int, error) {
	end := at + int64(len(b))
	if end > segmentSize {
		if err := s.spares.ensure(); err != nil {
			return 0, fmt.Errorf("seal segment of the log: %w", err)
		}
	}
	if s.marks != nil {
		s.marks.put(b, at)
	}
	if tried := s.tried; tried > end { // a longer batch was refused here: what is left of it is none of the log
		if _, err := s.WritableFile.WriteAt(make([]byte, tried-end), end); err != nil {
			return 0, fmt.Errorf("clear what was refused: %w", err)
		}
	}
	s.tried = max(s.tried, end)
	return s.WritableFile.WriteAt(b, at)
}

// Sync implements types.WritableFile.
func (s *segmentFile) Sync() error {
	if err := s.WritableFile.Sync(); err != nil {
		return err
	}
	s.tried = 0
	return nil
}

// trim gives back what a segment has left when the log's end was cut in it: nothing more is written to it. last is the last entry
// that is kept. A log whose end is replaced often would fill the disk otherwise.
func trim(dir string, last uint64, m *marks) error {
	segments, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil {
		return err
	}
	var cut string // names sort by first entry
	for _, path := range segments {
		var first uint64
		if _, err := fmt.Sscanf(filepath.Base(path), "%020d-", &first); err == nil && first <= last {
			cut = path
		}
	}
	if cut == "" {
		return nil
	}
	b, err := os.ReadFile(cut)
	if err != nil {
		return err
	}
	if end, _ := wholeBatches(b, m.of(cut)); end < len(b) && end > 0 {
		return os.Truncate(cut, int64(end))
	}
	return nil
}
