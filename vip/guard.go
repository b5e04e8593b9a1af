package vip

import (
	"context"
	"errors"
	"log/slog"
)

// Options are what a guard needs to start. Everything else comes from the core (Config).
type Options struct {
	RunDir  string       // guard.sock, guard.shm, guard.lock
	DataDir string       // guard.json
	Logger  *slog.Logger // nil: discard
}

// RunGuard is the guard process: it serves the core on guard.sock until ctx ends, then gives away its groups and
// returns. It changes the scheduling and memory locking of the whole process, so it is a process of its own.
func RunGuard(ctx context.Context, o Options) error { return errors.New("not built yet") }
