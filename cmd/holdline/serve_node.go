package main

import (
	"context"
	"path/filepath"

	"holdline/cluster"
)

// openNode opens this box's place in its cluster, or an unconfigured node that waits for init or join.
func openNode(ctx context.Context, o serveOptions) (node, error) {
	n, err := cluster.Open(ctx, cluster.Options{
		DataDir:   o.DataDir,
		RunDir:    filepath.Dir(o.Socket),
		GuardUnit: o.guardUnit,
		Version:   version,
		Logger:    o.log,
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}
