package main

import (
	"context"
	"errors"
)

// openNode opens this box's place in its cluster, or an unconfigured node that waits for init or join.
func openNode(context.Context, serveOptions) (node, error) {
	return nil, errors.New("not built yet")
}
