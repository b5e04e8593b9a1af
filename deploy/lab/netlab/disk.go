package netlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// fillName is the file that takes what is left of a disk.
const fillName = "somebody-elses-file"

// MountDisk gives the box a disk of its own, of that many bytes, at dir: a memory file system that only what Start starts from now on
// sees. It is gone with the box. Call it before anything is started.
func (s *Space) MountDisk(dir string, bytes int64) error {
	err := s.Do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("new mount namespace: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("keep its mounts to itself: %w", err)
		}
		return unix.Mount("lab", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytes))
	})
	if err != nil {
		return fmt.Errorf("give %s a disk at %s: %w", s.Name, dir, err)
	}
	return nil
}

// FillDisk takes what is left of the disk at dir, but for so many bytes.
func (s *Space) FillDisk(dir string, leave int64) error {
	err := s.Do(func() error {
		f, err := os.OpenFile(filepath.Join(dir, fillName), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			return err
		}
		have, err := f.Seek(0, 2)
		if err != nil {
			return err
		}
		if more := int64(st.Bavail)*st.Bsize - leave; more > 0 {
			if err := unix.Fallocate(int(f.Fd()), 0, have, more); err != nil && !errors.Is(err, unix.ENOSPC) {
				return err
			}
		}
		return f.Close()
	})
	if err != nil {
		return fmt.Errorf("fill the disk of %s: %w", s.Name, err)
	}
	return nil
}

// FreeDisk undoes FillDisk.
func (s *Space) FreeDisk(dir string) error {
	err := s.Do(func() error { return os.Remove(filepath.Join(dir, fillName)) })
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("free the disk of %s: %w", s.Name, err)
	}
	return nil
}
