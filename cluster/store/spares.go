package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft-wal/types"
	"golang.org/x/sys/unix"
)

const (
	sparesKept  = 2
	sparePrefix = "spare-"
	spareRetry  = time.Second
)

// spares are segments laid out beforehand: the log's ballast. A full disk takes the log's next two segments from them, so it
// goes on while an operator makes room; and what a cut of its end gives back (trim) makes the next one.
type spares struct {
	dir string
	fs  types.VFS

	making sync.Mutex // one file at a time is made
	mu     sync.Mutex // guards what follows
	ready  []string   // paths
	full   bool       // a spare is missing, or there would be no room for one

	wake, stop chan struct{}
	done       sync.WaitGroup
}

// openSpares finds the spares in dir and keeps their number until close.
func openSpares(dir string, fs types.VFS) (*spares, error) {
	s := &spares{dir: dir, fs: fs, wake: make(chan struct{}, 1), stop: make(chan struct{})}
	found, err := filepath.Glob(filepath.Join(dir, sparePrefix+"*"))
	if err != nil {
		return nil, err
	}
	for _, path := range found {
		if info, err := os.Stat(path); err == nil && info.Size() == segmentSize && len(s.ready) < sparesKept {
			s.ready = append(s.ready, path)
			continue
		}
		if err := os.Remove(path); err != nil { // not finished when the node went
			return nil, fmt.Errorf("remove spare segment: %w", err)
		}
	}
	s.done.Go(s.keep)
	return s, nil
}

func (s *spares) close() {
	close(s.stop)
	s.done.Wait()
}

// keep makes spares as long as some are missing, and looks whether the disk is full.
func (s *spares) keep() {
	tick := time.NewTicker(spareRetry)
	defer tick.Stop()
	for {
		err := s.fill(sparesKept)
		full := err != nil || s.noRoom()
		s.mu.Lock()
		s.full = full
		s.mu.Unlock()
		select {
		case <-s.wake:
		case <-tick.C:
		case <-s.stop:
			return
		}
	}
}

func (s *spares) noRoom() bool {
	var st unix.Statfs_t
	return unix.Statfs(s.dir, &st) == nil && st.Bavail*uint64(st.Bsize) < segmentSize
}

func (s *spares) refill() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// fill makes spares until there are so many.
func (s *spares) fill(want int) error {
	s.making.Lock()
	defer s.making.Unlock()
	for {
		s.mu.Lock()
		have := len(s.ready)
		path := s.unusedLocked()
		s.mu.Unlock()
		if have >= want {
			return nil
		}
		f, err := s.fs.Create(s.dir, filepath.Base(path), segmentSize)
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			return errors.Join(fmt.Errorf("lay out a spare segment: %w", err), os.RemoveAll(path))
		}
		s.mu.Lock()
		s.ready = append(s.ready, path)
		s.mu.Unlock()
	}
}

// unusedLocked returns a path that no spare has.
func (s *spares) unusedLocked() string {
	for i := 0; ; i++ {
		if path := filepath.Join(s.dir, fmt.Sprint(sparePrefix, i)); !slices.Contains(s.ready, path) {
			return path
		}
	}
}

// ensure returns nil when the next segment is there.
func (s *spares) ensure() error { return s.fill(1) }

// take makes a spare the file of that path, if there is one.
func (s *spares) take(path string) bool {
	s.mu.Lock()
	var spare string
	if n := len(s.ready); n > 0 {
		spare, s.ready = s.ready[n-1], s.ready[:n-1]
	}
	s.mu.Unlock()
	defer s.refill()
	return spare != "" && os.Rename(spare, path) == nil && syncDir(s.dir) == nil
}

// syncDir makes a new name last: raft-wal does so only for files it has made itself.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// nearlyFull says whether the log has to live on its spares.
func (s *spares) nearlyFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full
}
