package netlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process is a process that lives in a Space.
type Process struct {
	PID  int
	Args []string
}

// Processes lists what runs in the namespace, whoever started it: a daemon's children too, and those it left behind.
func (s *Space) Processes() ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes of %s: %w", s.Name, err)
	}
	var found []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		var st unix.Stat_t
		// A process may end while it is looked at, and others' may not be looked at: neither is ours.
		if err := unix.Stat(filepath.Join(dir, "ns/net"), &st); err != nil || st.Ino != s.inode {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue // ended meanwhile; a zombie has no namespace any more
		}
		// Empty while the kernel is still laying out a program that was just started.
		found = append(found, Process{PID: pid, Args: strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")})
	}
	return found, nil
}

// Signal sends a signal to every process that lives in the namespace.
func (s *Space) Signal(sig unix.Signal) error {
	procs, err := s.Processes()
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range procs {
		if err := unix.Kill(p.PID, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("signal %v to process %d in %s: %w", sig, p.PID, s.Name, err))
		}
	}
	return errors.Join(errs...)
}
