package store

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// Probe measures the disk under dir: n small writes, each synced. It returns the 99th percentile.
func Probe(dir string, n int) (p99 time.Duration, err error) {
	f, err := os.CreateTemp(dir, "fsync-probe-*")
	if err != nil {
		return 0, fmt.Errorf("probe disk: %w", err)
	}
	defer func() {
		_ = f.Close()
		if e := os.Remove(f.Name()); e != nil && err == nil {
			err = fmt.Errorf("probe disk: %w", e)
		}
	}()
	block := make([]byte, 4096)
	took := make([]time.Duration, 0, n)
	for range n {
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, fmt.Errorf("probe disk: %w", err)
		}
		if err := f.Sync(); err != nil {
			return 0, fmt.Errorf("probe disk: %w", err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[n*99/100], nil
}
