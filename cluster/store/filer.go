package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// tidyFiler makes segments, and leaves nothing of one that could not be made: on a full disk raft-wal leaves the file behind, tries to
// make it again when there is room, and fails for ever since it is there.
type tidyFiler struct {
	*segment.Filer
	dir string
}

func newFiler(dir string) tidyFiler { return tidyFiler{segment.NewFiler(dir, walfs.New()), dir} }

// Create implements types.SegmentFiler. Its number is a new one: a file that has it is what a failure has left.
func (f tidyFiler) Create(info types.SegmentInfo) (types.SegmentWriter, error) {
	w, err := f.Filer.Create(info)
	if err == nil {
		return w, nil
	}
	if left := os.Remove(filepath.Join(f.dir, segment.FileName(info))); left != nil && !errors.Is(left, fs.ErrNotExist) {
		return nil, errors.Join(err, left)
	}
	if errors.Is(err, fs.ErrExist) {
		return f.Filer.Create(info)
	}
	return nil, err
}
