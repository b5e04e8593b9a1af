package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/pprof/profile"
	"golang.org/x/sync/errgroup"
)

// profileCases gathers where nodes spend their time under each of the cases, once, and writes it to path for the compiler (-pgo).
func (b *bench) profileCases(ctx context.Context, path string, list []benchCase) error {
	b.profile = true
	for _, c := range list {
		if c.capacity {
			continue
		}
		if _, err := b.round(ctx, c, c.ours, b.binary, false); err != nil {
			return fmt.Errorf("case %s (logs are in %s): %w", c, b.dir, err)
		}
	}
	all, err := profile.Merge(b.profiles)
	if err != nil {
		return fmt.Errorf("merge profiles: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := errors.Join(all.Write(f), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// cpuProfiles has all nodes tell where they spend so much time from now on.
func (h *holdline) cpuProfiles(ctx context.Context, d time.Duration) ([]*profile.Profile, error) {
	list := make([]*profile.Profile, len(h.sockets))
	g, ctx := errgroup.WithContext(ctx)
	for i, socket := range h.sockets {
		g.Go(func() error {
			text, err := h.read(ctx, socket, fmt.Sprintf("/debug/pprof/profile?seconds=%.0f", d.Seconds()))
			if err != nil {
				return err
			}
			list[i], err = profile.ParseData([]byte(text))
			return err
		})
	}
	return list, g.Wait()
}
