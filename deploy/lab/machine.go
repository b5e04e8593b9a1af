package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"holdline/deploy/lab/userns"
)

// fsyncs is how many are timed.
const fsyncs = 50

// thisMachine measures what a reader needs to judge the figures by.
func thisMachine(o Options, dir string) (Machine, error) {
	m, err := phonesMachine()
	if err != nil {
		return m, err
	}
	m.UserNS, m.TempDir, m.Binary = userns.Inside(), dir, o.Binary
	return m, m.timeFsync(dir)
}

// phonesMachine is what matters of a machine that has phones alone.
func phonesMachine() (Machine, error) {
	m := Machine{Cores: runtime.NumCPU()}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return m, fmt.Errorf("ask for the kernel's version: %w", err)
	}
	m.Kernel = unix.ByteSliceToString(u.Release[:])
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return m, fmt.Errorf("read the load average: %w", err)
	}
	if _, err := fmt.Sscan(string(load), &m.Load); err != nil {
		return m, fmt.Errorf("read the load average %q: %w", load, err)
	}
	return m, nil
}

func (m *Machine) timeFsync(dir string) error {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return fmt.Errorf("time fsync: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var took []time.Duration
	block := make([]byte, 4096)
	for range fsyncs {
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			return fmt.Errorf("time fsync: %w", err)
		}
		if err := f.Sync(); err != nil {
			return fmt.Errorf("time fsync: %w", err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	m.FsyncP50MS, m.FsyncMaxMS = milliseconds(took[len(took)/2]), milliseconds(took[len(took)-1])
	return nil
}

// milliseconds with three decimals.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
