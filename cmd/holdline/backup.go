package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) backupCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a snapshot of the replicated state",
		Long: `Writes the replicated state (nodes, VIPs, domains, users, pools, routes, settings, keys, registrations, calls) as this node has
it to FILE, whole or not at all; "-" is standard output. The file holds the cluster's keys: keep it as safe as the boxes.`,
		Example: "  holdline backup /root/holdline-$(date +%F).backup",
		Args:    needs("FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, func(ctx context.Context, cl *api.Client) error {
				if args[0] == "-" {
					return cl.Backup(ctx, a.out)
				}
				n, err := wholeFile(args[0], func(w io.Writer) error { return cl.Backup(ctx, w) })
				if err != nil {
					return err
				}
				return a.say("%s written, %d bytes", args[0], n)
			})
		},
	}
}

// wholeFile writes a file, readable by its owner alone, whole or not at all.
func wholeFile(path string, write func(io.Writer) error) (size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err // not the temporary name, which says nothing to anybody
	}
	if err != nil {
		return 0, fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := write(f); err != nil {
		return 0, errors.Join(err, f.Close())
	}
	if size, err = f.Seek(0, io.SeekCurrent); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return 0, fmt.Errorf("writing %s: %w", path, err)
	}
	return size, nil
}
