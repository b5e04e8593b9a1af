package cluster

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"holdline/cluster/api"
)

// A snapshot that the disk does not give back as it was written serves nobody: neither this node at its next start, which goes back to an older one if its log reaches
// so far, nor a follower that is to be sent it. The state itself is in memory. So another one is taken, and after that the unreadable one is out
// of raft's way: left there it may be the newest for as long as the log has not passed it.

// badSnapshots are those that could not be read since this process started.
type badSnapshots struct {
	mu      sync.Mutex
	waiting map[string]bool // for another one to take their place
	last    string          // the latest of all, in words; empty: there was none
}

func (b *badSnapshots) note(id string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting = map[string]bool{}
	}
	b.waiting[id] = true
	b.last = fmt.Sprintf("snapshot %s could not be read at %s: %v", id, time.Now().Format(time.DateTime), err)
}

// ids are those that wait.
func (b *badSnapshots) ids() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.waiting))
}

func (b *badSnapshots) forget(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.waiting, id)
}

// fault is the latest in words, and whether it still waits; "": there was none.
func (b *badSnapshots) fault() (text string, waits bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last, len(b.waiting) > 0
}

// Open implements raft.SnapshotStore. It reads the whole snapshot once, for its sum.
func (s snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, from, err := s.FileSnapshotStore.Open(id)
	if err != nil && s.bad != nil && !s.replaced(id, err) {
		s.bad.note(id, err)
	}
	return meta, from, err
}

// reapTime is how long raft may take to remove a snapshot. A large file takes a busy disk that long.
const reapTime = time.Second

// replaced says whether a snapshot failed to open because raft is removing it, a newer one having come. It removes the files before the directory, so where one is
// missing it is waited for reapTime whether that goes too.
func (s snapshotStore) replaced(id string, err error) bool {
	for until := time.Now().Add(reapTime); ; time.Sleep(reapTime / 50) {
		if _, gone := os.Stat(filepath.Join(s.dir, id)); errors.Is(gone, fs.ErrNotExist) {
			return true
		}
		if !errors.Is(err, fs.ErrNotExist) || time.Now().After(until) {
			return false
		}
	}
}

// setAside takes snapshots out of raft's way in whose place another one has been taken. A name that ends so is a snapshot that was cut off, to raft and to
// removeCutOff.
func (e *engine) setAside(bad []string) {
	for _, id := range bad {
		path := filepath.Join(e.node.dir.file(dirSnapshots), id)
		if err := os.Rename(path, path+".tmp"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.logger.Warn("unreadable snapshot not set aside", "snapshot", id, "err", err)
			continue
		}
		e.badSnapshots.forget(id)
		e.logger.Warn("a snapshot could not be read: another one has taken its place", "snapshot", id)
	}
}

// doctorSnapshots reads all snapshots on this node's disk.
func (e *engine) doctorSnapshots() []api.Check {
	c := api.Check{Name: "snapshots", Result: api.CheckOK}
	count, err := e.readSnapshots()
	fault, waits := e.badSnapshots.fault()
	switch {
	case err != nil:
		c.Result, c.Detail, c.Advice = api.CheckFail, err.Error(), "check the data directory of "+e.Name
	case fault != "" && waits:
		c.Result, c.Detail = api.CheckFail, fault
		c.Advice = fmt.Sprintf("another one is taken within %v, if the disk takes it; check the disk of %s", boundsInterval, e.Name)
	case fault != "":
		c.Result, c.Detail = api.CheckWarn, fault
		c.Advice = "another one has taken its place; check the disk of " + e.Name + ", for other files on it may be damaged as well"
	case count == 0:
		c.Detail = "none yet: the log is short"
	default:
		c.Detail = fmt.Sprintf("%d, readable", count)
	}
	return []api.Check{c}
}

// readSnapshots reads them all, and notes which cannot be read.
func (e *engine) readSnapshots() (count int, err error) {
	store, err := e.openSnapshots()
	if err != nil {
		return 0, err
	}
	entries, err := os.ReadDir(e.node.dir.file(dirSnapshots))
	if err != nil {
		return 0, fmt.Errorf("list snapshots: %w", err)
	}
	for _, entry := range entries {
		if !entry.IsDir() || strings.HasSuffix(entry.Name(), ".tmp") {
			continue
		}
		if _, from, err := store.Open(entry.Name()); err == nil { // else it is noted
			count++
			_ = from.Close()
		}
	}
	return count, nil
}
