package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// diskSize is that of a disk of its own: room for the log's segments, a snapshot, and nothing else.
const diskSize = 384 << 20

func (n *Node) data() string { return filepath.Join(n.dir, "data") }

// OwnDisk gives the node a disk of its own that can be filled and slowed down. Call it before anything of the product runs on the box.
func (n *Node) OwnDisk() error {
	if err := n.Box.MountDisk(n.data(), diskSize); err != nil {
		return err
	}
	var err error
	n.syncs, err = n.Box.HoldSyncs()
	return err
}

var errNoDisk = errors.New("the node has no disk of its own")

// FillDisk leaves so many bytes of the node's own disk.
func (n *Node) FillDisk(leave int64) error {
	if n.syncs == nil {
		return errNoDisk
	}
	return n.Box.FillDisk(n.data(), leave)
}

// FreeDisk undoes FillDisk.
func (n *Node) FreeDisk() error { return n.Box.FreeDisk(n.data()) }

// SlowDisk makes every fsync on the box take at least that long; 0 ends it. It returns how many have been held up so far.
func (n *Node) SlowDisk(d time.Duration) (held uint64, err error) {
	if n.syncs == nil {
		return 0, errNoDisk
	}
	n.syncs.Delay(d)
	return n.syncs.Held(), nil
}

// Wipe empties the data directory, as that of a new box, or as a careless rm -rf under a running one.
func (n *Node) Wipe() error {
	err := n.Box.Do(func() error {
		entries, err := os.ReadDir(n.data())
		if err != nil {
			return err
		}
		var errs []error
		for _, e := range entries {
			errs = append(errs, os.RemoveAll(filepath.Join(n.data(), e.Name())))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return fmt.Errorf("empty the disk of %s: %w", n.Name, err)
	}
	return nil
}

// Damage overwrites bytes in the middle of what is written in every file that matches a pattern below the data directory. Nothing of the
// product may run.
func (n *Node) Damage(pattern string) error {
	err := n.Box.Do(func() error {
		names, err := filepath.Glob(filepath.Join(n.data(), pattern))
		if err != nil || len(names) == 0 {
			return errors.Join(err, fs.ErrNotExist)
		}
		var errs []error
		for _, name := range names {
			errs = append(errs, damage(name))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return fmt.Errorf("damage %s on %s: %w", pattern, n.Name, err)
	}
	return nil
}

// metaPages of a bbolt file are the only ones with a sum: damaged, they say so by themselves.
const metaPages = 2 * 4096

// damage overwrites 512 bytes in the middle of a file, sparing what was preallocated and never written; of a bbolt file, whose middle may be
// out of use, every page but the first two.
func damage(name string) error {
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	written := len(strings.TrimRight(string(content), "\x00"))
	from, to := written/2, min(written/2+512, written)
	if strings.HasSuffix(name, ".db") {
		from, to = metaPages, len(content)
	}
	if from >= to {
		return fmt.Errorf("%s: nothing is written in it", name)
	}
	for i := from; i < to; i++ {
		content[i] ^= 0xa5
	}
	return os.WriteFile(name, content, 0o600)
}

// ExpectEnd says that serve may end by itself from now on; Panicked tells whether it did so in disorder.
func (n *Node) ExpectEnd() { n.expectEnd() }

// Panicked returns what a panic of serve or guard said, if there was one.
func (n *Node) Panicked() error {
	if l := lastLine(n.Log); strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ") {
		return errors.New(l)
	}
	return nil
}

// StartRefused starts serve, which is to refuse and end, and returns the last line that it said.
func (n *Node) StartRefused(ctx context.Context) (said string, err error) {
	if err = n.start(ctx, true); err == nil {
		return "", fmt.Errorf("serve on %s runs", n.Name)
	}
	n.mu.Lock()
	ended := n.ended
	n.mu.Unlock()
	select {
	case <-ended:
		return lastLine(n.Log), nil
	default:
		return "", err
	}
}
